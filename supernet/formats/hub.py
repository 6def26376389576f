"""A model as the folder that a model hub takes: a card, the files, sample pictures, and a script that runs it."""

import shutil
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from PIL import Image
from torch import Tensor

from evo_c2f.errors import InputError
from evo_c2f.files import replacing, write_text
from supernet.batches.ahead import CPU
from supernet.batches.fixed import Side, count_images, images_at
from supernet.data.images import to_pixels
from supernet.formats.export import export, metadata_of
from supernet.models.card import MARK, card, hub_header
from supernet.models.model import FILE, Model
from supernet.models.pictures import apply
from supernet.models.tiling import DEFAULT_TILE

CARD, ONNX, SCRIPT = "README.md", "model.onnx", "run.py"
TRIED = 256  # pixels a side of a sample that the file is tested on
RUN = '''\
"""Apply model.onnx to a picture: python run.py IN OUT. It needs onnxruntime, numpy and Pillow."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

source, target = sys.argv[1:]
image = ImageOps.exif_transpose(Image.open(source))
if image.mode[0] in "IF":  # which convert() would clip
    sys.exit(f"{source} has more than 8 bits a channel; convert it to 8 bits")
pixels = np.asarray(image.convert("RGB"), np.float32)[None].transpose(0, 3, 1, 2) / 255
(output,) = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx")).run(None, {"image": pixels})
Image.fromarray((output[0].clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)).save(target)
'''
USE = """\
## Samples

| input | output |
|---|---|
{rows}

## Run it

`python run.py IN OUT` applies `model.onnx`; it needs onnxruntime, numpy and Pillow. `evo_c2f.load_model(FOLDER)` reads
`model.safetensors`, and its `network` is a module of PyTorch."""


def write_hub(
    model: Model,
    file: Path,
    folder: Path,
    samples: Sequence[Tensor],
    overwrite: bool,
    warn: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Write the folder. file: the model's own; samples: inputs (1, 3, h, w) in 0..1, to show and to test the file on.

    InputError, with nothing written, if one of its files exists and `overwrite` is not set.
    """
    pairs = [sample_names(n) for n in range(1, 1 + len(samples))]
    names = [CARD, ONNX, FILE, SCRIPT, *(name for pair in pairs for name in pair)]
    taken = [name for name in names if (folder / name).exists()]
    if taken and not overwrite:
        raise InputError(f"{folder / taken[0]} is there already; name another folder, or say --overwrite")
    tried = [sample[..., :TRIED, :TRIED] for sample in samples]
    export(model.network, folder / ONNX, "onnx", metadata_of(model), tried)
    with replacing(folder / FILE) as partial:
        shutil.copyfile(file, partial)
    if overwrite:
        remove_samples(folder, 1 + len(samples))
    paths = [(folder / before, folder / after) for before, after in pairs]
    for (path, _), sample in zip(paths, samples, strict=True):
        with replacing(path) as partial:
            Image.fromarray(to_pixels(sample[0])).save(partial)
    for _ in apply(model.network, paths, DEFAULT_TILE, CPU, warn):  # type: ignore[arg-type]
        pass
    write_text(folder / SCRIPT, RUN)
    rows = "\n".join(f"| ![input]({before}) | ![output]({after}) |" for before, after in pairs)
    words = card(model, ONNX, USE.format(rows=rows)).removeprefix(MARK)
    write_text(folder / CARD, hub_header(model, folder.name) + words)


def sample_names(n: int) -> tuple[str, str]:
    """Of the n-th input and its output, within the folder."""
    return f"samples/{n}.png", f"samples/{n}-output.png"


def remove_samples(folder: Path, first: int) -> None:
    """Remove the pairs that a folder with more samples had from this number on: they would be published too."""
    for n in count(first):
        files = [folder / name for name in sample_names(n)]
        if not all(file.is_file() for file in files):
            return
        for file in files:
            file.unlink()


def first_inputs(pairs: Sequence[tuple[Tensor, Tensor]], n: int = 3) -> list[Tensor]:
    """The first n inputs (1, 3, h, w) of batches (source, target)."""
    return [source.cpu()[None] for source, _ in images_at(pairs, range(min(n, count_images(Side(pairs, 0)))))]
