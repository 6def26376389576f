"""CONTRIBUTING.md: its map is that of the folders, and each place where a newcomer would edit is where it says."""

import ast
import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import test_plugins
from command_line import ROOT, TINY_PAIRS, command, exit_code, settings
from test_imports import BOTH_FOLDERS, NUMPY_FOLDERS, TORCH_FOLDERS

import cli
from evo_c2f.page import html
from evo_c2f.runs import recipe
from supernet import plugins

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
LINK = r"\[[^]]+\]\(([^)]+)\)"
ROW = re.compile(rf"^\| ([^|]+?) \| {LINK} \| `(\w+)` \| (.*?) ?\|$", re.M)
# what -> (file, the name in it, what is said of plugins)
PLACES = {what: tuple(rest) for what, *rest in ROW.findall(TEXT)}

PAIRS = '''
"""Noise, and its negative."""

from pathlib import Path

import numpy as np
from PIL import Image

from supernet import plugins


@plugins.pairs("negatives")
def negatives():
    folder, rng = Path(__file__).with_name("negatives"), np.random.default_rng(0)
    for split, n in (("train", 4), ("val", 6)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            noise = rng.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(np.hstack([noise, 255 - noise])).save(folder / split / f"{i}.png")
    return folder
'''
# Those of tests/test_plugins.py are used there and in tests/teachers, in a search.
OTHERS = (
    *(test_plugins.OPERATOR, test_plugins.OBJECTIVE, test_plugins.DATASET),
    *(test_plugins.DEGRADATION, test_plugins.TEACHER),
)
FROM_OUTSIDE = (*OTHERS, PAIRS)


def folders() -> list[tuple[str, str]]:
    """(package, folder), in the order of the plan."""
    found = [("evo_c2f", folder) for folder in (*NUMPY_FOLDERS, *BOTH_FOLDERS) if folder]
    return [*found, *(("supernet", folder) for folder in TORCH_FOLDERS if folder)]


def docstring_of(package: str, folder: str) -> str:
    tree = ast.parse((ROOT / package / folder.replace(".", "/") / "__init__.py").read_text())
    return ast.get_docstring(tree) or ""


def thing(what: str) -> Any:
    """What the file of the table holds under the name of the table; of a script, the function's text."""
    file, name, _ = PLACES[what]
    path = Path(file)
    if path.suffix == ".js":
        text = (ROOT / path).read_text(encoding="utf-8")
        return text[text.index(f"function {name}(") :].partition("\n}\n")[0]
    module = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    targets = [t for node in module.body for t in getattr(node, "targets", [getattr(node, "target", None)])]
    assert name in [target.id for target in targets if isinstance(target, ast.Name)], f"{file} defines no {name}"
    return getattr(importlib.import_module(".".join(path.with_suffix("").parts)), name)


# -- the map ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("package", "folder"), folders())
def test_a_folder_says_in_one_sentence_what_it_holds(package: str, folder: str) -> None:
    assert re.fullmatch(r"[A-Z][^.?!]+\.", docstring_of(package, folder))


def test_the_map_gives_each_folder_in_order_with_its_own_sentence() -> None:
    told = re.findall(r"`([\w/]+)`: ([^.]+\.)", " ".join(TEXT.partition("## Where to edit")[0].split()))
    sentences = [(folder.replace(".", "/"), docstring_of(package, folder)) for package, folder in folders()]
    assert told == [(folder, sentence[0].lower() + sentence[1:]) for folder, sentence in sentences]


def test_its_links_lead_to_what_is_there() -> None:
    links = [link for link in re.findall(LINK, TEXT) if not link.startswith("https://")]
    assert len(links) > len(PLACES) and [link for link in links if not (ROOT / link).exists()] == []


# -- the five places -------------------------------------------------------------------------------


def test_the_table_has_five_places() -> None:
    assert list(PLACES) == ["an operator", "a metric", "a data format", "a command", "a figure of the page"]


def test_operators_and_metrics_are_those_that_recipes_name() -> None:
    loaded = [recipe.load(name) for name in recipe.names()]
    assert {name for r in loaded for name in r.space.operators} <= set(thing("an operator"))
    named = {name.partition("_n2")[0] for r in loaded for name in (*r.search.objectives, *r.search.rescore)}
    assert {"psnr_y", "macs"} < named <= set(thing("a metric"))


def test_the_formats_are_those_that_the_page_on_data_names() -> None:
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"Files that end in (.*?) if Pillow supports it", text.replace("\n", " "))
    assert {".avif", *thing("a data format")} == {
        f".{word}" for word in set(re.findall(r"\w+", sentence)) - {"and", "or"}
    }


def test_a_command_needs_no_other_file_than_that_of_its_group() -> None:
    listed = [command.name for command in thing("a command")]
    (panel,) = [panel for panel in cli.cli.panels if panel.commands[0] == listed[0]]  # type: ignore[attr-defined]
    assert panel.commands == listed and set(listed) < set(cli.cli.commands)


def test_the_page_draws_the_figure() -> None:
    assert thing("a figure of the page").count("Plotly.react(") == 1
    name = PLACES["a figure of the page"][1]
    called = re.findall(rf"\b{name}\b", html.joined(html.SCRIPTS))
    assert len(called) == 2  # where it stands, and where all plots are drawn


# -- from outside ----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", [what for what, (_, _, told) in PLACES.items() if told])
def test_each_way_from_outside_is_tried_in_less_than_thirty_lines(what: str) -> None:
    ways = re.findall(r"`(\w+)`", PLACES[what][2])
    for way in ways:
        assert hasattr(plugins, way)
        tried = [text for text in FROM_OUTSIDE if f"@plugins.{way}(" in text]
        assert tried and all(len(text.strip().splitlines()) < 30 for text in tried), way


def test_no_way_from_outside_is_left_out() -> None:
    told = {way for _, _, told in PLACES.values() for way in re.findall(r"`(\w+)`", told)}
    functions = inspect.getmembers(plugins, inspect.isfunction)
    own = {name for name, made in functions if made.__module__ == plugins.__name__ and not name.startswith("_")}
    assert told == own - {"load"}


def test_a_training_takes_pairs_from_outside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "negative.py").write_text(PAIRS)
    changes = settings(*TINY_PAIRS, "training.rounds=2", "data.folder=negatives")
    words = ("train-supernet", "--recipe", "openmoji", "--run", tmp_path / "run", "--threads", 1, *changes)
    done = command(*words, "--plugin", tmp_path / "negative.py")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "supernet" / "joint.safetensors").is_file()
    used = json.loads((tmp_path / "run" / "data.json").read_text())
    assert [len(used[use]) for use in ("train", "search", "full")] == [4, 4, 6]
    assert exit_code("train-supernet", "--run", tmp_path / "run") == 2  # without the plugin
    assert "error: negatives is no folder" in capsys.readouterr().err
