from pathlib import Path

import pytest
import torch
from PIL import Image
from supernet_fixtures import random_pixels

from supernet.metrics.tasks import Translation
from supernet.models.judgement import judge, read_judged
from supernet.models.model import Model


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
