"""Models side by side, one row each: qualities on benchmarks, costs, and training."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from evo_c2f.errors import InputError
from supernet.data.benchmarks import read_benchmark
from supernet.metrics import qualities
from supernet.metrics.tasks import SuperResolution
from supernet.models.judgement import costs_of, judge, read_judged
from supernet.models.model import Model, read_model

NAMES = ("psnr_y", "ssim_y", "psnr_rgb", "lpips")


def names_with(first: str) -> tuple[str, ...]:
    """These qualities and the first one; a benchmark has too few images for Frechet distances."""
    return NAMES if qualities.is_frechet(first) else tuple(dict.fromkeys([*NAMES, first]))


def check(benchmarks: Sequence[Path], scale: int, warn: Callable[[str], None] = lambda sentence: None) -> None:
    """InputError if a model can't be read or judged, or if two would have the same name in a table.

    warn: gets a message about their files' losses.
    """
    titles = [folder.resolve().name for folder in benchmarks]
    for title, folder in zip(titles, benchmarks, strict=True):
        if titles.count(title) > 1:
            raise InputError(f"two benchmarks are called {title}, which a table can't tell apart; rename a folder")
        images, batches = read_benchmark(folder, scale, warn)
        side = min(min(high[2:]) for _, high in batches.shapes)
        for name in NAMES:
            qualities.check(name, SuperResolution(scale), len(images), side)


def side_by_side(
    models: Mapping[str, Path],
    benchmarks: Sequence[Path],
    output_size: tuple[int, int],
    device: torch.device,
    names: Sequence[str] = NAMES,
) -> list[dict[str, Any]]:
    """One row a model: costs for an output of (height, width), training, `<benchmark> <metric>` of each benchmark,
    for the qualities of these names.

    InputError if a model or a benchmark is missing, or belongs to another task.
    """
    rows = []
    for name, path in models.items():
        model = read_model(path)
        row: dict[str, Any] = {"model": name} | costs_of(model, output_size) | training_of(model)
        for folder in benchmarks:
            mean = judge(model, read_judged(model, folder, "test", "AtoB", None), names, device)["mean"]
            row |= {f"{folder.resolve().name} {metric}": value for metric, value in mean.items()}
        rows.append(row)
    return rows


def training_of(model: Model) -> dict[str, Any]:
    """The training as stored in a fine-tuned model's file: its start, losses, images and seconds."""
    about, metadata = model.metadata.get("about", {}), model.metadata
    known = {name: about[name] for name in ("subnet", "start", "losses", "images") if name in about}
    return known | {"seconds": round(metadata["seconds"])} if "seconds" in metadata else known
