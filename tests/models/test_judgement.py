from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from supernet_fixtures import random_pixels

from supernet.metrics.tasks import SuperResolution, Translation
from supernet.models.judgement import costs_of, judge, read_judged
from supernet.models.model import Model, header
from supernet.network.cost import network_costs
from supernet.network.plain import PlainUpscaler
from supernet.pictures.opening import ON_WHITE


@pytest.mark.parametrize(("second", "names"), [("a.bmp", ["a.bmp", "a.png"]), ("b.bmp", ["a", "b"])])
def test_each_file_has_a_row_and_a_weight_of_its_own(tmp_path: Path, second: str, names: list[str]):
    (tmp_path / "test").mkdir()
    for seed, name in enumerate(("a.png", second)):
        Image.fromarray(random_pixels(16, 32, seed)).save(tmp_path / "test" / name)
    model = Model(lambda x: x * 0.5, Translation(), {})
    images = read_judged(model, tmp_path, "test", "AtoB", None)
    found = judge(model, images, ["psnr_y"], torch.device("cpu"))
    rows = [row["psnr_y"] for row in found["images"].values()]
    assert [*found["images"]] == names and rows[0] != rows[1]
    assert found["mean"]["psnr_y"] == pytest.approx(sum(rows) / 2)


def test_a_plain_network_takes_inputs_that_cover_the_output_as_subnets_do() -> None:
    network = PlainUpscaler(4, 1, 3)
    found = costs_of(Model(network, SuperResolution(3), header(network)), (7, 9))
    assert found["macs"] == network_costs(network, (3, 3))["macs"]


def test_pictures_of_one_channel_are_judged_with_all_their_bits(tmp_path: Path) -> None:
    high = np.random.default_rng(0).integers(0, 65536, (24, 32), dtype=np.uint16)
    for folder, pixels in (("HR", high), ("LR_bicubic/X2", high[::2, ::2])):
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / folder / "a.png")
    model = Model(lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3), SuperResolution(2, 1), {})
    images = read_judged(model, tmp_path, "test", "AtoB", None)
    ((source, target),) = images.batches
    assert images.batches.shapes == [(source.shape, target.shape)] == [((1, 1, 12, 16), (1, 1, 24, 32))]
    assert np.array_equal((target[0, 0] * 65535).round(), high)
    assert judge(model, images, ["psnr"], torch.device("cpu"))["mean"]["psnr"] > 5


def test_what_is_not_used_of_judged_pairs_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    for seed, name in enumerate(("a.png", "b.png")):
        clear = np.dstack([random_pixels(16, 32, seed), np.full((16, 32), 9, np.uint8)])
        Image.fromarray(clear if name == "a.png" else clear[..., :3]).save(tmp_path / "test" / name)
    said: list[str] = []
    read_judged(Model(lambda x: x, Translation(), {}), tmp_path, "test", "AtoB", None, said.append)
    assert said == [f"not used as in the file (1), {ON_WHITE}: test/a.png"]
