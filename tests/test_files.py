"""Files of a run: in UTF-8 in every locale, and readable by whom the umask lets."""

import ast
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import ROOT, exit_code, tiny

from evo_c2f.files import publish, replacing, write_text
from supernet import checkpoint

SOURCES = [*(ROOT / "evo_c2f").rglob("*.py"), *(ROOT / "supernet").rglob("*.py"), ROOT / "cli.py"]
OTHER_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # ASCII, as far as Python is told


def opens_text_as_the_locale_has_it(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    words = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if "encoding" in words or name == "read_text" and len(call.args) == 1:
        return False
    if name == "open" and call.args and ast.unparse(call.func) not in ("Image.open", "RunFolder.open", "cls.open"):
        return "b" not in ast.unparse(call.args[-1])
    return name in ("read_text", "write_text") and ast.unparse(call.func) != "write_text" or "text" in words


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_file_is_opened_with_its_encoding(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    assert [ast.unparse(call) for call in calls if opens_text_as_the_locale_has_it(call)] == []


def test_what_is_no_character_is_escaped(tmp_path: Path) -> None:
    write_text(tmp_path / "card.md", os.fsdecode(b"r\xe9") + " é日")
    assert (tmp_path / "card.md").read_text(encoding="utf-8") == "r\\udce9 é日"


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_who_may_read_a_file_is_as_the_umask_says_whatever_wrote_it(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        checkpoint.save(tmp_path / "weights.safetensors", {"a": torch.ones(2)}, {})
        write_text(tmp_path / "text.md", "words")
        with replacing(tmp_path / "closed.bin") as partial:
            os.close(os.open(partial, os.O_CREAT, 0o600))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("weights.safetensors", "text.md", "closed.bin"), 0o666 & ~umask)


@pytest.fixture(scope="module")
def trained(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A supernet that was trained in folders with names of many characters."""
    folder = tmp_path_factory.mktemp("runs")
    data, run = shutil.copytree(photographs, folder / "Bilder ü日"), folder / "Lauf é日"
    assert exit_code("train-supernet", "--run", run, "--data", data, "--threads", 1, *tiny()) == 0
    return run


def test_every_file_of_a_run_is_open_to_the_same_accounts(trained: Path) -> None:
    assert len({path.stat().st_mode for path in trained.rglob("*") if path.is_file()}) == 1


def test_a_page_is_written_and_said_in_utf_8_in_another_locale(trained: Path) -> None:
    line = [sys.executable, str(ROOT / "cli.py"), "report", "--threads", "1", "--run", str(trained)]
    done = subprocess.run(line, capture_output=True, env={**os.environ, **OTHER_LOCALE}, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr.decode().startswith(f"{trained / 'report.html'}: the run as a page")
    data = (trained / "report.html").read_text(encoding="utf-8").partition('"folder":')[2]
    assert json.loads(data[: data.index("}")]) == str(trained)


def test_a_library_in_another_locale_writes_text_in_utf_8(tmp_path: Path) -> None:
    code = "import pathlib, sys; from evo_c2f import files; files.write_text(pathlib.Path(sys.argv[1]), '\\xe9')"
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "é"], env={**os.environ, **OTHER_LOCALE}, cwd=ROOT, check=True
    )
    assert (tmp_path / "é").read_bytes() == "é".encode()


def test_a_terminal_that_cannot_show_a_character_gets_its_number() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(
        [sys.executable, "-c", "from evo_c2f.commands.main import speak_utf8; speak_utf8(); print('é日')"],
        capture_output=True,
        env=environment,
        cwd=ROOT,
    )
    assert (done.stdout, done.stderr) == (b"\xe9\\u65e5\n", b"")


@pytest.mark.parametrize("there", [False, True])
def test_a_file_is_published_where_the_drive_has_no_hard_links(
    tmp_path: Path, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    (tmp_path / "mine").write_text("mine")
    if there:
        (tmp_path / "file").write_text("another's")
    publish(tmp_path / "mine", tmp_path / "file")
    assert (tmp_path / "file").read_text() == ("another's" if there else "mine")
