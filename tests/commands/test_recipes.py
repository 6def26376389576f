"""`recipes`: those that come along, with a line each."""

import json
import subprocess
import sys

import pytest
import yaml
from command_line import ROOT, exit_code

from evo_c2f.runs import recipe

FOLDER = ROOT / "evo_c2f" / "runs" / "recipes"


def first_comments() -> dict[str, str]:
    """name -> the comment in the first line, of each file."""
    return {path.stem: path.read_text().splitlines()[0] for path in sorted(FOLDER.glob("*.yaml"))}


@pytest.mark.parametrize(("name", "line"), first_comments().items())
def test_a_recipe_begins_with_a_line_that_tells_its_content_and_its_time(name: str, line: str) -> None:
    assert line.startswith("# ") and line.endswith(".") and len(line) < 120
    assert "minutes on" in line or "not timed" in line
    assert ("--data DIR" in line) == (yaml.safe_load((FOLDER / f"{name}.yaml").read_text())["data"]["folder"] is None)


def test_they_are_listed_by_name_with_their_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("recipes") == 0
    listed = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert {name: about.strip() for name, about in listed.items()} == {
        name: line.removeprefix("# ") for name, line in first_comments().items()
    }
    assert exit_code("recipes", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == recipe.names() == sorted(listed)
    assert {row["name"]: row["about"] for row in rows} == {name: about.strip() for name, about in listed.items()}


def test_they_are_listed_without_torch() -> None:
    code = "import sys, cli\ntry: cli.main(['recipes'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('torch', 'pandas', 'pymoo', 'matplotlib') if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith("edges2shoes") and done.stderr == "[]\n"
