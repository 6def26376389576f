"""The direction of imports: evo_c2f knows no torch, supernet knows little of evo_c2f, each library has its place."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGINE = sorted((ROOT / "evo_c2f").glob("*.py"))
TORCH_SIDE = sorted((ROOT / "supernet").rglob("*.py"))
SHARED = {"evo_c2f.space", "evo_c2f.trellis", "evo_c2f.errors"}


def imported(path: Path, *, at_load: bool = False) -> set[str]:
    """The modules a file imports, anywhere in it or only where loading it runs them."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if at_load else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by relative names"
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def packages(modules: set[str]) -> set[str]:
    return {module.split(".")[0] for module in modules}


@pytest.mark.parametrize("path", ENGINE, ids=lambda p: p.name)
def test_the_engine_imports_no_torch_and_no_supernet(path):
    assert not packages(imported(path)) & {"torch", "torchvision", "torchmetrics", "safetensors", "supernet"}


@pytest.mark.parametrize("path", TORCH_SIDE, ids=lambda p: p.name)
def test_the_supernet_knows_of_the_engine_only_what_is_shared(path):
    modules = imported(path)
    assert not packages(modules) & {"pymoo", "h5py", "pandas", "cli"}
    assert all(any(f"{m}.".startswith(f"{s}.") for s in SHARED) for m in modules if m.startswith("evo_c2f"))


@pytest.mark.parametrize(("library", "owner"), [("h5py", "store.py"), ("pandas", "analysis.py")])
def test_a_library_with_an_owner_is_imported_there_alone(library, owner):
    assert [p.name for p in ENGINE if library in packages(imported(p))] == [owner]


def test_the_command_line_loads_no_torch_before_a_command_runs():
    heavy = {"torch", "supernet", "pandas", "pymoo", "matplotlib"}
    assert not packages(imported(ROOT / "cli.py", at_load=True)) & heavy
    assert "torch" in packages(imported(ROOT / "cli.py"))


def test_the_whole_engine_runs_without_torch():
    names = [f"evo_c2f.{p.stem}" for p in ENGINE if p.stem != "__init__"]
    code = f"import sys, {', '.join(names)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
