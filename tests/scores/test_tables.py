"""What the terminal shows: figures are whole at any width."""

import io
import re

import pytest
from command_line import ROOT, exit_code
from rich.console import Console

from evo_c2f.commands.progress import reporting
from evo_c2f.scores.tables import print_front

METRICS = {"lpips": 0.12064, "macs": 13.88e6, "params": 133.3e3, "size_mb": 0.53325, "lpips_full": 0.13514}
ROW = {"id": "e0abb32ecf", **METRICS, **{f"path_{i}": "skip" if i % 3 else "2" for i in range(12)}, "operator_0": "x"}


def shown(width: int) -> str:
    console = Console(width=width, file=io.StringIO())
    print_front(console, [ROW])
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_front_cuts_no_figure_and_names_the_columns_that_it_leaves_out(width: int) -> None:
    text = shown(width)
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    kept = re.findall(r"[a-z_]+", text.splitlines()[1])
    left_out = re.findall(r"[a-z_]+", text.partition("no room for ")[2].partition(":")[0])
    assert sorted([*kept, *left_out]) == sorted(["id", *METRICS, "path"])


def test_at_a_full_width_every_column_is_there_and_at_80_what_the_whole_images_tell_better_goes_first() -> None:
    assert "no room" not in shown(120) and "0.12064" in shown(120)
    assert "no room for lpips:" in shown(80) and "0.13514" in shown(80) and "533.25" not in shown(80)


def test_a_path_of_many_cells_is_folded_and_whole() -> None:
    console = Console(width=40, file=io.StringIO())
    print_front(console, [{"id": "e0abb32ecf", "macs": 1e9, **{f"path_{i}": str(1 + i % 3) for i in range(64)}}])
    found = re.findall(r"│ [^│]* │ ([123]+)", console.file.getvalue())  # type: ignore[attr-defined]
    assert "".join(found) == "".join(str(1 + i % 3) for i in range(64))


@pytest.mark.parametrize("width", [60, 80])
def test_progress_cuts_no_figure(width: int) -> None:
    note = "generation 12, best lpips 0.39123, macs 1.2345e+08, hypervolume 0.6234"
    console = Console(width=width, file=io.StringIO(), force_terminal=True)
    with reporting(console, "evolving operator", 1440) as reporter:
        reporter.update(123, note)
        plain = Console(width=width, file=io.StringIO())
        plain.print(reporter.show.__self__.get_renderable())  # type: ignore[attr-defined]
    text = plain.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text and note in " ".join(text.split()) and "evolving operator" in text and "123/1440" in text


@pytest.mark.parametrize("run", ["openmoji", "sr-x4"])
@pytest.mark.parametrize("width", [60, 80])
def test_the_command_shows_a_front_without_a_cut(
    run: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert exit_code("front", "--run", ROOT / "results" / run) == 0
    text = capsys.readouterr().out
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    assert "_full" in text.splitlines()[1] and "no room for" in text
