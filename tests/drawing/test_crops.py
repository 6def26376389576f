import pytest
from supernet_fixtures import RESTORATION, SUPER_RESOLUTION, TRANSLATION, X3, random_images

from supernet.drawing.crops import parts_of
from supernet.network.generator import Frame


@pytest.mark.parametrize(
    ("frame", "shown"),
    [(SUPER_RESOLUTION, (96, 96)), (X3, (96, 96)), (RESTORATION, (96, 96)), (TRANSLATION, (120, 180))],
)
def test_a_photograph_is_shown_by_a_part_in_its_own_pixels_and_a_translated_image_whole(
    frame: Frame, shown: tuple[int, int]
) -> None:
    source = random_images(1, 3, 120, 180)
    target = random_images(1, 3, 120 * frame.scale, 180 * frame.scale)
    (part, *_) = parts_of([(source, target)], frame)
    assert part.target.shape == (3, *shown)
    assert (part.side[0] * frame.scale, part.side[1] * frame.scale) == shown
