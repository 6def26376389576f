"""Files and command lines that nobody wrote: an error in a sentence, or what was written; never a traceback.

10,000 of each kind: python -m pytest -m campaign tests/test_fuzz.py. Without that some of each are tried.
"""

import random
import resource
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import cli
from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.runs import recipe
from evo_c2f.scores import store
from supernet import checkpoint
from supernet.data.aligned import check_sizes
from supernet.models.pictures import apply, plan, read_picture
from supernet.pictures.decoding import RGB, read
from supernet.pictures.opening import EIGHT_BITS, ON_WHITE

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
                psnr, why = (float(i), "") if i % 5 else (float("nan"), "longer than 5 s")
                writer.append(genome[None], [{"psnr_y": psnr, "macs": 2.0 * i}], "path", 1, [0.5], [why])

    def content(path: Path) -> list[object]:
        return [
            (
                s.context,
                s.space,
                s.notes,
                s.failures,
                s.rows.tobytes(),
                [(n, m.tobytes()) for n, m in s.metrics.items()],
            )
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


# -- pictures with EXIF, a profile and containers that no camera wrote -------------------------------------


class Same(torch.nn.Module):
    """The image itself: what `apply` costs beside a network."""

    scale, block, grain, reach, input_channels = 1, 1, 1, 0, 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


TAGS = (0x0112, 0x011A, 0x011B, 0x0128, 0x010E, 0x010F, 0x0100, 0x0111, 0x8769, 0x8825, 0xA005, 0x927C, 0x9286, 0x02BC)


def made_up_exif(chance: random.Random) -> bytes:
    """A header, perhaps, and entries of any type, number and value, among them orientations and further directories."""
    order = chance.choice("<>")
    entries = []
    for _ in range(chance.randint(0, 6)):
        tag = chance.choice([*TAGS, 0x0112, chance.randrange(1 << 16)])
        count = chance.choice([0, 1, 1, 2, 5, 1 << 16, (1 << 32) - 1])
        value = chance.choice([struct.pack(order + "HH", chance.randint(0, 9), 0), chance.randbytes(4)])
        entries.append(
            struct.pack(order + "HHI", tag, chance.choice([1, 2, 3, 4, 5, 7, 9, 10, 12, 13, 99]), count) + value
        )
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", chance.choice([8, 8, 8, 8, 0, 1 << 31]))
    body = (
        struct.pack(order + "H", len(entries) + chance.choice([0, 0, 0, 3])) + b"".join(entries) + chance.randbytes(40)
    )
    return b"Exif\0\0" + chance.choice([head, head, head, chance.randbytes(8)]) + body[: chance.choice([9999, 30])]


def with_other_bytes(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, most of them where headers are."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) if chance.random() < 0.5 else min(len(data), 400))
        changed[at] = chance.choice([0, 1, 0x7F, 0xFF, chance.randrange(256), changed[at] ^ 1 << chance.randrange(8)])
    return bytes(changed)


def fates_of(path: Path, out: Path) -> str:
    """What became of one picture in every command. All must agree, and nothing may be lost without a word."""
    said: list[str] = []
    try:
        pixels, losses = read(path, RGB)
    except ValueError as error:
        assert str(error)
        pixels, losses = None, ()
    try:
        size = check_sizes([path])[path]
        assert pixels is None or pixels.shape[:2] == (size[0], 2 * size[1])
    except InputError as error:
        assert path.name in str(error) and (pixels is None or pixels.shape[1] % 2)
    written = list(apply(Same(), plan(path, out, overwrite=True), 256, torch.device("cpu"), said.append))
    assert all(path.name in sentence for sentence in said)
    if not written:
        assert len(said) == 1 and "left out" in said[0]
        return "left out"
    assert pixels is not None and read_picture(written[0]).colour.shape == pixels.shape
    assert len(said) >= len([loss for loss in losses if loss not in (ON_WHITE, EIGHT_BITS)])
    return "used in part" if said else "used"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_any_headers_are_a_picture_used_or_named(times, tmp_path, suffix, monkeypatch, record_property):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1 << 19)  # a header may claim any size: memory stays bounded
    path, chance, found = tmp_path / f"picture.{suffix}", random.Random(suffix), Counter[str]()
    pixels = np.random.default_rng(0).integers(0, 255, (20, 24, 3), dtype=np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    begun = time.monotonic()
    for number in range(times // 4):
        image = Image.fromarray(pixels).convert(
            chance.choice(["RGB", "RGB", "L", *(["RGBA"] if suffix != "jpg" else [])])
        )
        icc = chance.choice([profile, with_other_bytes(profile, chance), chance.randbytes(200)])
        pages = {"save_all": True, "append_images": [image]} if suffix != "jpg" and chance.random() < 0.2 else {}
        if suffix == "tif":  # whose tags are its EXIF: only its bytes can be changed
            image.save(path, icc_profile=icc, **pages)
        else:
            image.save(path, exif=made_up_exif(chance), icc_profile=icc, **pages)
        if number % 2 or suffix == "tif":
            path.write_bytes(with_other_bytes(path.read_bytes(), chance))
        try:
            found[fates_of(path, tmp_path / "out")] += 1
        except BaseException:
            (tmp_path / f"culprit.{suffix}").write_bytes(path.read_bytes())
            raise
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{suffix}: {dict(found)}, {time.monotonic() - begun:.0f} s, peak {peak:.0f} MiB")
    assert found.total() == times // 4 and min(found["used"], found["left out"]) > 0
    assert peak < 2048


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
