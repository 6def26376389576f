"""`verify` finds each kind of damage, and none where there is none."""

import shutil
from pathlib import Path

import pytest
from command_line import EVALUATIONS, exit_code, tiny


@pytest.fixture(scope="module")
def whole(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole small search."""
    run = tmp_path_factory.mktemp("runs") / "quick"
    assert exit_code("search", "--run", run, "--data", photographs, "--threads", 1, *EVALUATIONS, *tiny()) == 0
    return run


def test_a_whole_run_has_no_fault(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("verify", whole) == 0
    assert capsys.readouterr().out.endswith("0 of them are not whole\n")


@pytest.mark.parametrize(
    "name",
    ["recipe.yaml", "scores.h5", "supernet/joint.safetensors", "fronts/path.csv", "fronts/path.png", "ledger.json",
     "log.jsonl"],
)  # fmt: skip
def test_half_a_file_is_named(whole: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: len(content) // 2] + (b"\n" if name == "log.jsonl" else b""))
    assert exit_code("verify", run) == 1
    said = capsys.readouterr().out
    assert f"{run / name} " in said and said.endswith(", 1 of them are not whole\n")


def test_what_a_killed_process_left_is_named(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    (run / "fronts" / ".path.partial.csv").write_text("id,")
    assert exit_code("verify", run, "--json") == 1
    assert "was left by a process that was killed; remove it" in capsys.readouterr().out


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    assert exit_code("verify", tmp_path / "none") == 2
    (tmp_path / "a.txt").touch()
    assert exit_code("verify", tmp_path) == 2  # a folder, but no run's
