"""The notebook searches by the API and goes from scores to a command; it is committed without what it showed."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "results" / "analysis.ipynb"


def test_the_notebook_searches_and_comes_to_a_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sr-x4").symlink_to(ROOT / "results" / "sr-x4")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert (tmp_path / "small" / "fronts" / "channel.csv").is_file()
    said = notebook.cells[-1].outputs[0].text
    assert said.splitlines()[1].startswith("python cli.py finetune --run results/sr-x4 --pick ")
    assert any("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))


def test_the_notebook_is_committed_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
