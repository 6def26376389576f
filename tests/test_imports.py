"""Who may import whom, read from the syntax trees, and once for real."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGINE = sorted((ROOT / "evo_c2f").rglob("*.py"))
GENERATOR = sorted((ROOT / "supernet").rglob("*.py"))


def name_of(path):
    return str(path.relative_to(ROOT))


def imports_of(tree):
    """Every module that the tree imports, as dotted names: 'from a import b' gives 'a' and 'a.b'."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_by(path):
    return set(imports_of(ast.parse(path.read_text())))


def packages(names):
    return {name.partition(".")[0] for name in names}


def test_there_are_files_to_look_at():
    assert {"evo_c2f/space/search_space.py", "evo_c2f/scores/store.py", "evo_c2f/scores/analysis.py"} <= set(
        map(name_of, ENGINE)
    )
    assert {"supernet/network/generator.py", "supernet/data/photographs.py"} <= set(map(name_of, GENERATOR))
    assert imported_by(ROOT / "evo_c2f" / "__init__.py") > {
        "evo_c2f.scores.analysis",
        "evo_c2f.scores.analysis.load_scores",
    }


@pytest.mark.parametrize("path", ENGINE, ids=name_of)
def test_the_engine_knows_no_torch_and_no_supernet(path):
    torch_side = {"torch", "torchvision", "torchmetrics", "lpips", "safetensors", "supernet"}
    assert not packages(imported_by(path)) & (torch_side | {"cli"})


@pytest.mark.parametrize("path", GENERATOR, ids=name_of)
def test_the_supernet_knows_the_space_and_no_search(path):
    imported = imported_by(path)
    assert not packages(imported) & {"pymoo", "h5py", "pandas", "cli"}
    ours = {name for name in imported if packages([name]) == {"evo_c2f"}}
    known = {"evo_c2f.space", "evo_c2f.space.trellis", "evo_c2f.errors", "evo_c2f.files", "evo_c2f.json_text"}
    if path.name == "plugins.py":  # an objective has two sides: what it is called, and how it is taken
        known |= {"evo_c2f.objectives.metric"}
    assert {".".join(name.split(".")[:2]) for name in ours} <= known


@pytest.mark.parametrize(
    ("package", "homes"),
    [
        (
            "h5py",
            [
                "evo_c2f/scores/layout.py",
                "evo_c2f/scores/old_layout.py",
                "evo_c2f/scores/probe.py",
                "evo_c2f/scores/store.py",
            ],
        ),
        ("pandas", ["evo_c2f/scores/analysis.py"]),
        ("lightning_fabric", ["supernet/training/ranks.py"]),
    ],
)
def test_a_package_is_known_to_few_files(package, homes):
    everywhere = [*ENGINE, *GENERATOR, ROOT / "cli.py"]
    assert [name_of(path) for path in everywhere if package in packages(imported_by(path))] == homes


def test_the_command_line_imports_torch_inside_its_commands_alone():
    tree = ast.parse((ROOT / "cli.py").read_text())
    at_once = [  # what runs when the module is loaded: neither functions nor what is for the type checker
        node
        for node in tree.body
        if not isinstance(node, ast.FunctionDef)
        and not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node))
    ]
    imported = {name for node in at_once for name in imports_of(node)}
    assert "evo_c2f" in packages(imported)
    assert not packages(imported) & {"torch", "pandas", "pymoo", "matplotlib"}
    assert {name for name in imported if name.startswith("supernet")} == {"supernet", "evo_c2f.commands.models"}
    assert "torch" in packages(imports_of(tree))


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ([name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in ENGINE],
         ["torch", "torchvision", "supernet"]),
        (["cli"], ["torch", "supernet.models.model", "pandas", "pymoo", "matplotlib"]),
        (["evo_c2f"], ["torch", "pandas", "h5py", "pymoo"]),
        (["evo_c2f.engine.search", "evo_c2f.scores.store"], ["torch", "pandas"]),
    ],
    ids=["the whole engine", "the command line", "the package", "the search"],
)  # fmt: skip
def test_a_fresh_process_loads_no_more_than_it_needs(modules, absent):
    code = f"import importlib, sys\nfor m in {modules}: importlib.import_module(m)\n"
    code += f"print([m for m in {absent} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("[]\n", "")
