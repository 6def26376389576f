"""A model's card: its description, training, costs and use, from the metadata in its file."""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from evo_c2f.files import write_text
from supernet.metrics.tasks import is_of_rgb
from supernet.models.judgement import costs_of
from supernet.models.model import Model

MARK = "<!-- written by evo_c2f; remove this line to keep your own words -->"
SIZES = {True: (720, 1280), False: (256, 256)}  # of which MACs are stated, where it enlarges and where not

ONNX_OF_ARRAYS = """\
import numpy as np, onnxruntime

pixels = np.load("in.npy").astype(np.float32)[None].transpose(0, 3, 1, 2)  # (height, width, channels) in 0..1
(output,) = onnxruntime.InferenceSession("{file}").run(None, {{"image": pixels}})
np.save("out.npy", output[0].clip(0, 1).transpose(1, 2, 0))
"""
ONNX = """\
import numpy as np, onnxruntime
from PIL import Image

image = Image.open("in.png")
if image.mode[0] in "IF":  # which convert() would clip
    raise SystemExit("in.png has more than 8 bits a channel; convert it to 8 bits")
pixels = np.asarray(image.convert("RGB"), np.float32)[None].transpose(0, 3, 1, 2) / 255
(output,) = onnxruntime.InferenceSession("{file}").run(None, {{"image": pixels}})
Image.fromarray((output[0].clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)).save("out.png")
"""

LICENCES = {
    "embedded": "the photographs that come with scikit-image and scikit-learn; these packages name the licence of each",
    "openmoji": "OpenMoji, which is under CC BY-SA 4.0",
}
# The licence of what is trained on them, and their names on hubs.
ON_HUBS = {"embedded": ("unknown", "scikit-image"), "openmoji": ("cc-by-sa-4.0", "openmoji")}


@dataclass(frozen=True)
class Written:
    """How the ONNX file differs from what a plain `export` writes.

    options: of `export`; size: the only (height, width) of its input; None: any; lost: what its 8 bits lose of the
    first quality, in words; '': it has 32.
    """

    options: str = ""
    size: tuple[int, int] | None = None
    lost: str = ""


def data_name(folder: str | None) -> str:
    """The training images' name in a model's file, without the machine's paths."""
    return folder if folder in LICENCES else f"{Path(folder).name}/" if folder else ""


def card(model: Model, name: str, use: str = "", written: Written = Written()) -> str:
    """The card as Markdown; name: of the ONNX file that it explains; use: a part that says how to run it."""
    about, metadata = model.metadata.get("about", {}), model.metadata
    kind = "A subnet" if "architecture" in metadata else "A network designed by hand"
    size = "of {} x {} pixels (height x width) alone".format(*written.size) if written.size else "any size"
    held_out = "held-out images, in 32 bits" if written.lost else "held-out images"
    parts = [
        MARK,
        f"# {title(model, Path(name).stem)}",
        f"{kind}: {channels_in_words(model)} in 0..1, {size}, {in_and_out(model.scale)}.",
    ]
    height, width = SIZES[model.scale > 1]
    found = costs_of(model, (height, width))
    rows = {
        "parameters": f"{found['params']:,.0f}",
        "size, 32-bit weights": f"{found['size_mb']:.3g} MB",
        f"MACs for {width}x{height}": f"{found['macs'] / 1e9:.3g} G",
        **{f"{metric}, {held_out}": f"{value:.5g}" for metric, value in metadata.get("metrics", {}).items()},
        **({"lost in the 8 bits of this file, held-out images": written.lost} if written.lost else {}),
    }
    parts.append("\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())]))
    made = [f"- {key}: {words}" for key, words in history(metadata, about).items()]
    parts.append("\n".join(["## How it was made", "", *(made or ["Its file doesn't say."])]))
    script = (ONNX if is_of_rgb(model.task) else ONNX_OF_ARRAYS).format(file=name)
    made_by = f"`python cli.py export{written.options}` writes `{name}`; then, in its folder:"
    parts.append(use or f"## Run it\n\n{made_by}\n\n```python\n{script}```")
    data = about.get("data")
    words = LICENCES.get(data, f"the images in `{data}`, whose licence this project can't know" if data else "")
    licence = f"It was trained on {words}." if words else "Its file doesn't say what it was trained on."
    parts.append(f"## Licence\n\n{licence} What may be done with the model follows from these images' licence.")
    return "\n\n".join(parts) + "\n"


def title(model: Model, name: str) -> str:
    """Such as 'x4 super-resolution, 0a1b'; name: for a network that is no subnet."""
    task = f"x{model.scale} {model.task.name}" if model.scale > 1 else model.task.name
    return f"{task}, {model.metadata.get('about', {}).get('subnet', name)}"


def hub_header(model: Model, name: str) -> str:
    """The metadata that a model hub reads at a card's beginning, in YAML between two rules.

    The figures are those in the model's file. A licence or data set that this project can't know is not named.
    """
    data = model.metadata.get("about", {}).get("data")
    licence, dataset = ON_HUBS.get(data, ("unknown", None))
    figures = {key: value for key, value in model.metadata.get("metrics", {}).items() if isfinite(value)}
    kinds = {key: key.partition("_")[0] for key in figures}  # psnr_y is a psnr
    results = {
        "task": {"type": "image-to-image", "name": model.task.name},
        "dataset": {"type": dataset or "held-out", "name": f"held-out images of {data or 'its run'}"},
        "metrics": [{"type": kinds[key], "name": key, "value": value} for key, value in figures.items()],
    }
    header = {
        "license": licence,
        "library_name": "evo_c2f",
        "pipeline_tag": "image-to-image",
        "tags": [model.task.name, "neural-architecture-search", "onnx"],
        "datasets": dataset and [dataset],
        "metrics": list(dict.fromkeys(kinds.values())),
        "model-index": figures and [{"name": title(model, name), "results": [results]}],
    }
    return f"---\n{yaml.safe_dump({key: value for key, value in header.items() if value}, sort_keys=False)}---\n"


def channels_in_words(model: Model) -> str:
    """Of its input, and of its output if they are others."""
    frame = model.task.frame
    names = [{1: "grey", 3: "RGB"}.get(n, f"{n} channels") for n in (frame.input_channels, frame.output_channels)]
    return " to ".join(dict.fromkeys(names))


def in_and_out(scale: int) -> str:
    return f"the output's sides are {scale} times the input's" if scale > 1 else "the output is as large as the input"


def history(metadata: dict[str, Any], about: dict[str, Any]) -> dict[str, str]:
    """The training in words, as far as the file records it."""
    known = {
        "recipe": about.get("recipe"),
        "subnet": about.get("subnet"),
        "weights began": {"scratch": "from scratch", "inherited": "as the supernet's"}.get(about.get("start", "")),
        "losses": about.get("losses"),
        "training images seen, with repetition": about.get("images", metadata.get("images")),
        "seconds of training": round(metadata["seconds"]) if "seconds" in metadata else None,
    }
    return {key: str(value) for key, value in known.items() if value is not None}


def write_card(model: Model, path: Path, name: str, written: Written = Written()) -> bool:
    """Write the card, unless the path holds something else; whether it was written."""
    if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        return False
    write_text(path, card(model, name, written=written))
    return True
