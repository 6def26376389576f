import hashlib
import math
from pathlib import Path

import pytest
import torch
from supernet_fixtures import random_images
from torch import Tensor, nn

from evo_c2f.errors import InputError
from evo_c2f.workflows.tools import what_fid_needs
from supernet import checkpoint
from supernet.metrics import frechet
from supernet.metrics.frechet import Frechet, VggMeans, inception, inception_file, refuse_few, statistics_file

CPU = torch.device("cpu")


class FourNumbers(nn.Module):
    """A feature space whose distances are known: the first pixels of the first channel."""

    num_features = 4

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, :4].float()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "cache"


def test_a_single_image_has_no_frechet_distance() -> None:
    with pytest.raises(InputError, match="fd_vgg_n1 compares sets of images, and there is only one"):
        refuse_few("fd_vgg_n1", 1)


def images_of(features: Tensor) -> Tensor:
    """(n, 4) in 0..1 -> images that have these features after rounding to 8 bits."""
    images = torch.zeros(len(features), 3, 4, 4)
    images[:, 0, 0, :4] = (features * 255).round() / 255
    return images


def distance(real: Tensor, fake: Tensor) -> float:
    metric = Frechet(f"fd_vgg_n{len(real)}", [images_of(real)], CPU, FourNumbers())
    metric.add(images_of(fake), images_of(real))
    return metric.value()


def test_equal_sets_have_no_distance():
    features = torch.rand(300, 4, generator=torch.Generator().manual_seed(1))
    assert distance(features, features) == pytest.approx(0, abs=1e-6)


def test_with_equal_covariances_it_is_the_squared_shift_of_the_mean():
    features = (torch.rand(300, 4, generator=torch.Generator().manual_seed(1)) * 100).round() / 255
    shift = torch.tensor([10, 20, 0, 40]) / 255
    assert distance(features, features + shift) == pytest.approx(shift.square().sum().item(), rel=1e-4)


def test_with_diagonal_covariances_it_is_the_difference_of_the_deviations():
    """Both sets at +-s along each axis: the variances are s^2 n / (n - 1), and nothing is correlated."""
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4).repeat(4, 1)
    a, b = torch.tensor([10.0, 20, 30, 40]) / 255, torch.tensor([40.0, 20, 10, 5]) / 255
    n = len(signs)
    expected = ((a - b).square() * n / (n - 1)).sum().item()
    assert distance(0.5 + signs * a, 0.5 + signs * b) == pytest.approx(expected, rel=2e-2)  # 8 bits


def test_it_agrees_with_torchmetrics_fed_by_hand():
    from torchmetrics.image.fid import FrechetInceptionDistance

    real, fake = (random_images(40, 3, 16, 16, seed=s) for s in (1, 2))
    direct = FrechetInceptionDistance(feature=VggMeans())
    for images, is_real in ((real, True), (fake, False)):
        direct.update((images * 255).round() / 255, real=is_real)
    metric = Frechet("fd_vgg_n40", list(real.split(16)), CPU)
    for batch in fake.split(10):
        metric.add(batch, batch)
    assert metric.value() == pytest.approx(direct.compute().item(), rel=1e-4)


def test_a_second_value_begins_anew_and_keeps_the_real_images():
    real, fake = (torch.rand(50, 4, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    metric = Frechet("fd_vgg_n50", [images_of(real)], CPU, FourNumbers())
    values = []
    for features in (fake, real, fake):
        metric.add(images_of(features), images_of(real))
        values.append(metric.value())
    assert values[0] == values[2] > 10 * values[1]


def test_one_output_that_is_not_finite_makes_it_nan_once():
    real = images_of(torch.rand(20, 4, generator=torch.Generator().manual_seed(1)))
    metric = Frechet("fd_vgg_n20", [real], CPU, FourNumbers())
    broken = real.clone()
    broken[3, 1, 1, 1] = torch.nan
    metric.add(broken, real)
    assert math.isnan(metric.value())
    metric.add(real, real)
    assert metric.value() == pytest.approx(0, abs=1e-6)


def test_the_real_statistics_are_computed_once_and_cached_with_their_protocol(monkeypatch):
    real = images_of(torch.rand(20, 4, generator=torch.Generator().manual_seed(1)))
    calls: list[int] = []

    class Counting(FourNumbers):
        def forward(self, images: Tensor) -> Tensor:
            calls.append(len(images))
            return super().forward(images)

    monkeypatch.setattr(frechet, "VggMeans", Counting)
    values = []
    for _ in range(2):
        metric = Frechet("fd_vgg_n20", [real], CPU)
        metric.add(real.flip(3), real)
        values.append(metric.value())
    assert calls == [20, 20, 20]  # the real images once, the generated ones twice
    assert values[0] == values[1]
    _, metadata = checkpoint.load(statistics_file("fd_vgg", [real]))
    assert "relu5_3" in metadata["protocol"]


def test_the_statistics_of_other_features_are_not_cached_as_the_protocol_s(cache: Path):
    real = images_of(torch.rand(20, 4, generator=torch.Generator().manual_seed(1)))
    Frechet("fd_vgg_n20", [real], CPU, FourNumbers())
    assert not cache.exists()


@pytest.fixture
def four_numbers(monkeypatch):
    """Quick features in the place of VGG's, which are cached as these are."""
    monkeypatch.setattr(frechet, "VggMeans", FourNumbers)


def distance_to_turned(real: Tensor) -> float:
    metric = Frechet(f"fd_vgg_n{len(real)}", [real], CPU)
    metric.add(real.flip(3), real)
    return metric.value()


@pytest.mark.usefixtures("four_numbers")
@pytest.mark.parametrize("content", [b"", b"garbage", None], ids=["nothing", "garbage", "other tensors"])
def test_a_damaged_statistics_file_is_made_anew(content: bytes | None, caplog):
    real = images_of(torch.rand(20, 4, generator=torch.Generator().manual_seed(1)))
    expected, path = distance_to_turned(real), statistics_file("fd_vgg", [real])
    if content is None:
        checkpoint.save(path, {"a": torch.ones(1)}, {})
    else:
        path.write_bytes(content)
    assert distance_to_turned(real) == expected
    assert caplog.messages == [f"{path} is damaged; the statistics of the real images are taken anew"]
    checkpoint.load(path)
    assert distance_to_turned(real) == expected and len(caplog.messages) == 1


@pytest.mark.usefixtures("four_numbers")
def test_without_a_cache_that_can_be_written_statistics_are_not_cached_and_a_sentence_says_so(
    tmp_path: Path, monkeypatch, caplog
):
    real = images_of(torch.rand(20, 4, generator=torch.Generator().manual_seed(1)))
    expected = distance_to_turned(real)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert distance_to_turned(real) == expected
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("the statistics of the real images are not cached (")


@pytest.mark.usefixtures("four_numbers")
def test_without_a_home_there_is_no_cache(monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    real = images_of(torch.rand(20, 4, generator=torch.Generator().manual_seed(1)))
    assert distance_to_turned(real) > 0


def test_other_images_or_another_protocol_have_statistics_of_their_own():
    real = random_images(3, 3, 8, 8)
    files = {
        statistics_file("fd_vgg", [real]),
        statistics_file("fid", [real]),
        statistics_file("fd_vgg", [real.flip(3)]),
    }
    assert len(files) == 3
    assert statistics_file("fd_vgg", [real]) in files


@pytest.mark.parametrize(
    ("name", "n", "refused"),
    [
        ("fd_vgg", 511, "fd_vgg needs at least 512 images.*name it fd_vgg_n511"),
        ("fd_vgg", 512, None),
        ("fid", 2047, "at least 2048.*fid_n2047"),
        ("fid", 2048, None),
        ("fid_n200", 200, None),
        ("fid_n200", 199, "fid_n200 is of 200 images, and there are 199; name it fid_n199"),
    ],
)
def test_fewer_images_than_dimensions_are_refused_unless_asked_for_by_number(name, n, refused):
    if refused is None:
        refuse_few(name, n)
    else:
        with pytest.raises(InputError, match=refused):
            refuse_few(name, n)


def test_absent_inception_weights_are_named():
    with pytest.raises(InputError, match=r"weights-inception-2015-12-05-6726825d\.pth, which FID needs, is absent"):
        inception_file()


@pytest.mark.parametrize("name", ["weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth"])
def test_inception_weights_are_taken_by_either_name_and_by_their_checksum_alone(name: str, monkeypatch):
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"other weights")
    with pytest.raises(InputError, match=f"{name} has sha256 .*, not 6726825d0af5f729.*; fetch it again"):
        inception_file()
    monkeypatch.setattr(frechet, "INCEPTION_SHA256", hashlib.sha256(b"other weights").hexdigest())
    assert inception_file() == path


def test_what_fid_needs_is_said_before_the_file_is_there(tmp_path: Path):
    needed = what_fid_needs()
    assert needed["place"] == str(tmp_path / "torch" / "hub" / "checkpoints")
    assert needed["sha256"] == frechet.INCEPTION_SHA256 and all(url in needed["file"] for url in frechet.INCEPTION)
    assert needed["found"].startswith("no: ") and "is absent" in needed["found"]


def test_the_whole_path_of_fid_with_random_inception_weights(tmp_path: Path):
    """The real weights can't be had without a download; random ones of their shapes take the same path."""
    from supernet.metrics.vision import make_torchvision_importable

    make_torchvision_importable()
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    torch.manual_seed(0)
    load = torch.load
    empty = tmp_path / "random.pth"
    monkey = pytest.MonkeyPatch()
    # The network of the right shapes, before any weights are loaded into it.
    monkey.setattr(torch, "load", lambda *a, **k: None)
    monkey.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
    shapes = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(empty)).state_dict()
    monkey.undo()
    assert torch.load is load
    torch.save(shapes, empty)
    features = inception(empty)
    real, fake = (random_images(6, 3, 32, 32, seed=s) for s in (1, 2))
    metric = Frechet("fid_n6", [real], CPU, features)
    metric.add(fake, real)
    found = metric.value()
    metric.add(real, real)
    assert found > metric.value() == pytest.approx(0, abs=1e-3)
    assert features((real * 255).to(torch.uint8)).shape == (6, 2048)
