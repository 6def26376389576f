"""Files and command lines that nobody wrote: an error in a sentence, or what was written; never a traceback.

10,000 of each kind: python -m pytest -m campaign tests/test_fuzz.py. Without that some of each are tried.
"""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cli
from evo_c2f import recipe, store
from evo_c2f.errors import DamagedFileError, InputError
from supernet import checkpoint
from supernet.pictures import read_picture

pytestmark = pytest.mark.campaign


@pytest.fixture(scope="module")
def times(request: pytest.FixtureRequest) -> int:
    return 10_000 if "campaign" in request.config.getoption("-m") else 100


def damaged(data: bytes, chance: random.Random) -> bytes:
    """With a bit turned, cut short, or with a part of it somewhere else."""
    how, at = chance.randrange(4), chance.randrange(len(data))
    if how == 0:
        return data[:at]
    if how == 1:
        part = data[at : at + chance.randint(1, 40)]
        place = chance.randrange(len(data))
        return data[:place] + part + data[place + chance.choice([0, len(part)]) :]
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def outcomes(path: Path, times: int, read: Callable[[Path], object]) -> Counter[str]:
    """How often the damaged file was refused, read as it was written, or read as something else."""
    written, expected = path.read_bytes(), read(path)
    chance, found = random.Random(0), Counter[str]()
    for _ in range(times):
        path.write_bytes(damaged(written, chance))
        try:
            found["the same" if read(path) == expected else "another"] += 1
        except (DamagedFileError, InputError):
            found["refused"] += 1
    return found


def test_no_damaged_store_is_read_as_another(times, tmp_path, tiny, context_of, monkeypatch):
    monkeypatch.setattr(store, "READ_ATTEMPTS", 1)  # nobody writes
    path, genomes = tmp_path / "scores.h5", np.unique(tiny.random(200, np.random.default_rng(0)), axis=0)
    for checkpoint_name in ("first", "second"):
        with store.ScoreStore(path, context_of(tiny, checkpoint_name), {"baseline": {"psnr_y": 24.0}}) as writer:
            for i, genome in enumerate(genomes[:20]):
                writer.append(genome[None], [{"psnr_y": float(i), "macs": 2.0 * i}], "path", 1, [0.5])

    def content(path: Path) -> list[object]:
        return [
            (s.context, s.space, s.notes, s.rows.tobytes(), {name: m.tobytes() for name, m in s.metrics.items()})
            for s in store.read_scores(path)
        ]

    found = outcomes(path, times, content)
    assert found["another"] == 0 and found["refused"] > times / 10, found


def test_no_damaged_weights_are_read_as_others(times, tmp_path):
    path = tmp_path / "joint.safetensors"
    checkpoint.save(path, {"a": torch.rand(3, 5), "b": torch.arange(7)}, {"stage": "joint", "index": 3})

    def content(path: Path) -> object:
        tensors, metadata = checkpoint.load(path)
        return {name: tensor.tolist() for name, tensor in tensors.items()}, metadata

    found = outcomes(path, times, content)
    assert found["another"] == 0 and found["refused"] > times / 2, found


def test_any_text_is_a_recipe_or_refused_in_a_sentence(times, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(recipe.load("quick").to_yaml())
    found = outcomes(path, times, lambda path: recipe.load(str(path)))
    assert found["refused"] > times / 4, found


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif"])
def test_any_bytes_are_a_picture_or_refused_in_a_sentence(times, tmp_path, suffix):
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 20, 3), dtype=np.uint8)).save(path)
    found = outcomes(path, times // 5, lambda path: read_picture(path).colour.tobytes())
    assert found["refused"] > times / 50, found


WORDS = """
train-supernet evolve search front finetune benchmark compare study verify evaluate apply export bench --stage path
operator --run --recipe quick --set --max --min --objective psnr_y size_mb=1 --seed --threads --device --json --pick
knee --data -1 0 1e999 nan training.rounds= =3 a.b.c=[ search.max.macs={} --help --debug -h -- '' \x00 é .. / ../x
"""


def test_any_words_end_in_a_sentence(times, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # there is no run here, and no photographs
    chance = random.Random(0)
    for _ in range(times):
        words = [*chance.choices(WORDS.split(), k=chance.randint(0, 7)), "--data", str(tmp_path / "none")]
        asked = (InputError,) if "--debug" in words else ()  # that is what --debug is for
        with pytest.raises((SystemExit, *asked)) as caught:
            cli.main(words)
        said = capsys.readouterr()
        if isinstance(caught.value, InputError):
            continue
        assert caught.value.code in (0, 2) and "Traceback" not in said.err + said.out, words
    assert not list(tmp_path.iterdir())
