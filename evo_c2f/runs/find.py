"""A run by its folder or its recipe: found, or begun."""

import os
from collections.abc import Sequence
from pathlib import Path

from evo_c2f.json_text import to_yaml_value
from evo_c2f.runs import recipe as recipes
from evo_c2f.runs.recipe import Recipe
from evo_c2f.runs.run import RunFolder


def find_run(recipe: str, folder: Path | None, data: Path | None = None) -> RunFolder:
    """The run in the folder, or in that of the named recipe; its pictures in another folder if they were moved."""
    run = RunFolder.open(folder or Path("results") / (recipes.load(recipe).name if Path(recipe).suffix else recipe))
    return run if data is None else run.with_data(data)


def begin_run(
    recipe: str | None,
    default: str,
    folder: Path | None,
    changes: Sequence[str],
    data: Path | None,
    seed: int | None,
    teacher: tuple[str, str] | None = None,
) -> RunFolder:
    """A run by the recipe and what changes it: begun, or taken up where the folder holds the same recipe.

    teacher: its file, and the hash of its content.
    """
    settings = resolve(recipe, default, folder, changes, data, seed)
    settings = settings.with_teacher(*teacher) if teacher else settings
    settings.search.metrics()  # an unknown objective is refused now, not after hours of training
    return RunFolder.begin(folder or Path("results") / settings.name, settings)


def resolve(
    recipe: str | None, default: str, folder: Path | None, changes: Sequence[str], data: Path | None, seed: int | None
) -> Recipe:
    """The named recipe, or that of the run in the folder, or the default; changed by 'key=value', data and seed."""
    every = [*changes]
    if data is not None:
        every.append(f"data.folder={to_yaml_value(os.path.abspath(data))}")
    if seed is not None:
        every.append(f"seed={seed}")
    kept = folder / "recipe.yaml" if folder else None
    if kept and kept.is_file() and recipe is None:
        return recipes.checked(recipes.load_run(kept).model_dump(mode="json"), tuple(every), "--set")
    return recipes.load(recipe or default, tuple(every))
