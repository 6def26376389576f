"""`verify` finds each kind of damage, and none where there is none."""

import json
import shutil
from pathlib import Path

import pytest
from command_line import EVALUATIONS, exit_code, tiny, without_power

from evo_c2f.engine.steady import Order
from supernet.models.model import header
from supernet.network.plain import PlainUpscaler
from supernet.spandrel import write_spandrel


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
    ["recipe.yaml", "scores.h5", "supernet/path.safetensors", "fronts/path.csv", "fronts/path.png", "ledger.json",
     "log.jsonl"],
)  # fmt: skip
def test_half_a_file_is_named(whole: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: len(content) // 2] + (b"\n" if name == "log.jsonl" else b""))
    assert exit_code("verify", run) == 1
    said = capsys.readouterr().out
    assert f"{run / name} " in said and said.endswith(", 1 of them are not whole\n")


def test_what_was_exported_for_spandrel_is_no_damaged_model(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, network = shutil.copytree(whole, tmp_path / "run"), PlainUpscaler()
    file = run / "model.spandrel.safetensors"
    write_spandrel(network, file, header(network))
    assert exit_code("verify", run) == 0
    file.write_bytes(file.read_bytes()[:-1])
    capsys.readouterr()
    assert exit_code("verify", run) == 1
    assert f"{file} is damaged" in capsys.readouterr().out


def test_what_a_killed_process_left_is_named(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    (run / "fronts" / ".path.partial.csv").write_text("id,")
    assert exit_code("verify", run, "--json") == 1
    assert "was left by a process that was killed; remove it" in capsys.readouterr().out


def test_what_cannot_be_read_is_named_and_not_counted_as_read(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exit_code("verify", whole)
    before = capsys.readouterr().out.splitlines()
    run = shutil.copytree(whole, tmp_path / "run")
    for name in ("junk.bin", "notes.yaml", "model.md", ".hidden"):
        (run / name).write_text("{ no: [")
    (run / "gone.png").symlink_to("nowhere")
    assert exit_code("verify", run) == 1
    said = capsys.readouterr().out.splitlines()
    names = [run / name for name in (".hidden", "junk.bin", "model.md", "notes.yaml", "report.html")]
    assert said[-2] == f"5 files were not checked: {', '.join(map(str, names))}"
    assert int(said[-1].split()[0]) == int(before[-1].split()[0]) + 1 and "gone.png is damaged" in said[0]
    assert exit_code("verify", run, "--json") == 1
    found = {Path(row["file"]): row for row in json.loads(capsys.readouterr().out)}
    assert [path for path, row in found.items() if not row["checked"]] == names


@pytest.mark.parametrize("text", ["garbage", "0" * 64 + "\nxy\n", "", "0" * 63 + "\n"])
def test_an_order_that_is_none_is_named(
    whole: Path, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    order = Order(run / "fronts" / "path.order", "a search", 9)
    for failed in (False, True):
        order.add(b"\x01\x02", failed=failed)
    assert exit_code("verify", run) == 0
    (run / "fronts" / "path.order").write_text(text)
    capsys.readouterr()
    assert exit_code("verify", run) == 1
    assert "path.order is damaged (it is no order of subnets); remove it" in capsys.readouterr().out


def test_a_file_that_may_not_be_read_is_not_called_damaged(whole: Path, tmp_path: Path) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    for name in ("scores.h5", "ledger.json", "supernet/path.safetensors", "fronts/path.csv"):
        (run / name).chmod(0)
    done = without_power("verify", run)
    assert done.returncode == 1 and "damaged" not in done.stdout, done.stderr
    assert done.stdout.count("by this account; ask its owner\n") == 4


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    assert exit_code("verify", tmp_path / "none") == 2
    (tmp_path / "a.txt").touch()
    assert exit_code("verify", tmp_path) == 2  # a folder, but no run's
