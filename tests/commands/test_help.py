"""What the command line says of itself, and what the package says of itself."""

import os
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from command_line import exit_code

import cli
import evo_c2f

ROOT = Path(__file__).parents[2]


def test_every_command_stands_in_a_group_of_its_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--help") == 0
    said = capsys.readouterr().out
    panels = re.findall(r"╭─ (.*?) ─", said)
    assert panels[0] == "Options" and len(panels) > 4 and "Commands" not in panels
    listed = re.findall(r"^│ ([a-z][a-z-]+)  ", said, re.M)
    assert sorted(listed) == sorted(cli.cli.commands)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"evo-c2f, version {evo_c2f.__version__}\n"
    assert f"version: {evo_c2f.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_a_shell_completes_commands_and_options() -> None:
    code = "import sys, cli; sys.argv[0] = 'evo-c2f'; cli.main()"
    for words, wanted in (("tr", {"train-supernet", "train-teacher"}), ("search --al", {"--algorithm"})):
        asked = {"_EVO_C2F_COMPLETE": "bash_complete", "COMP_WORDS": f"evo-c2f {words}"}
        asked["COMP_CWORD"] = str(len(words.split()))
        environment = {**os.environ, **asked, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert {line.partition(",")[2] for line in done.stdout.splitlines()} == wanted


def test_the_wheel_holds_every_package_and_its_files() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    roots = ("evo_c2f", "supernet")
    modules = [path for root in roots for path in (ROOT / root).rglob("*.py")]
    assert all((path.parent / "__init__.py").is_file() for path in modules)
    packages = {".".join(path.relative_to(ROOT).parent.parts) for path in modules}
    included = settings["packages"]["find"]["include"]
    assert {name for name in packages if any(fnmatch(name, pattern) for pattern in included)} == packages
    data = {ROOT / name.replace(".", "/") / p for name, ps in settings["package-data"].items() for p in ps}
    others = {p for r in roots for p in (ROOT / r).rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
    assert others == {found for pattern in data for found in pattern.parent.glob(pattern.name)}


def test_what_is_pinned_can_be_had_from_a_public_registry() -> None:
    """A local version, such as torch's CPU build, lies on few machines; the release's number fits it too."""
    pinned = [line.partition("==")[2] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    assert len(pinned) > 100 and not [version for version in pinned if "+" in version]
