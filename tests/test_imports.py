"""The plan of imports: which folder may import which, how large modules and functions are; read from syntax trees."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(path for name in ("evo_c2f", "supernet") for path in (ROOT / name).rglob("*.py"))

# In order: a folder imports from itself and those before it. "" is what lies beside the folders.
NUMPY_FOLDERS = [
    "",
    "space",
    "objectives",
    "scores",
    "workers",
    "engine",
    "sections",
    "runs",
    "studies",
    "tables",
    "contest",
    "page",
]
WORKFLOWS = ["workflows", "workflows.studies"]  # the only ones that know both halves
BOTH_FOLDERS = [*WORKFLOWS, "commands"]
TORCH_FOLDERS = [
    "",
    "network",
    "layouts",
    "pictures",
    "batches",
    "data",
    "metrics",
    "rounds",
    "training",
    "models",
    "formats",
    "latency",
    "teachers",
    "drawing",
    "jobs",
    "unpaired",
]
# The torch side knows what a network is, and no search.
KNOWN_TO_TORCH = {"evo_c2f.errors", "evo_c2f.files", "evo_c2f.json_text", "evo_c2f.space"}
# What a user imports from the top, and what adds to many folders from outside.
FRONT_DOORS = {"evo_c2f", "evo_c2f.api", "evo_c2f.coarse_to_fine", "supernet", "supernet.plugins", "supernet.spandrel"}

MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_MODULES, MOST_LINES_OF_CLI = 300, 60, 8, 60


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name_of(path) for path in MODULES}


def is_for_types_alone(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports_of(tree):
    """Every module that the tree imports when it runs: of 'from a import b', 'a.b' where that is one of ours."""
    skipped = {id(inner) for node in ast.walk(tree) if is_for_types_alone(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in NAMES else node.module for name in full)


def imported_by(path):
    return set(imports_of(ast.parse(path.read_text())))


def packages(names):
    return {name.partition(".")[0] for name in names}


def folder_of(module):
    """(package, folder) of a module of ours."""
    package, *rest = module.split(".")
    is_folder = (ROOT / package).joinpath(*rest).is_dir()
    return package, ".".join(rest if is_folder else rest[:-1])


def may_import(importer, imported):
    package, folder = folder_of(importer)
    other, other_folder = folder_of(imported)
    if package == "supernet":
        if other == "supernet":
            return TORCH_FOLDERS.index(other_folder) <= TORCH_FOLDERS.index(folder)
        return any(imported == known or imported.startswith(f"{known}.") for known in KNOWN_TO_TORCH)
    folders = [*NUMPY_FOLDERS, *BOTH_FOLDERS]
    if other == "supernet":
        return folder in WORKFLOWS or (folder == "commands" and imported == "supernet.plugins")
    return folders.index(other_folder) <= folders.index(folder)


def test_no_import_goes_against_the_direction():
    against = [
        f"{name_of(path)} imports {imported}"
        for path in MODULES
        for imported in sorted(imported_by(path) & NAMES)
        if name_of(path) not in FRONT_DOORS and not may_import(name_of(path), imported)
    ]
    assert against == []


def test_no_modules_import_each_other_in_a_circle():
    graph = {name_of(path): imported_by(path) & NAMES for path in MODULES if path.name != "__init__.py"}
    for _ in range(len(graph)):
        ends = [name for name, imported in graph.items() if not imported & graph.keys()]
        for name in ends:
            del graph[name]
    assert graph == {}


def test_every_folder_is_in_the_plan_and_holds_few_modules():
    folders = {}
    for path in MODULES:
        if path.name != "__init__.py":
            folders.setdefault(folder_of(name_of(path)), []).append(path.stem)
    found = {name: [folder for package, folder in folders if package == name] for name in ("evo_c2f", "supernet")}
    assert set(found["evo_c2f"]) == {*NUMPY_FOLDERS, *BOTH_FOLDERS} and set(found["supernet"]) == set(TORCH_FOLDERS)
    print(*(f"{'/'.join(filter(None, folder))}: {', '.join(names)}" for folder, names in folders.items()), sep="\n")
    assert {folder: names for folder, names in folders.items() if len(names) > MOST_MODULES} == {}


def test_modules_and_functions_are_short():
    long = []
    for path in [*MODULES, ROOT / "cli.py"]:
        text = path.read_text()
        most = MOST_LINES_OF_CLI if path.name == "cli.py" else MOST_LINES
        if len(text.splitlines()) > most:
            long.append(f"{name_of(path)}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= MOST_LINES_OF_A_FUNCTION:
                long.append(f"{name_of(path)}.{node.name}: {node.end_lineno - node.lineno + 1} lines")
    assert long == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_who_knows_torch_and_who_knows_the_search(path):
    package, folder = folder_of(name_of(path))
    imported = packages(imported_by(path))
    assert "cli" not in imported and (path.stem != "api" or "supernet" not in imported)
    if package == "supernet":
        assert not imported & {"pymoo", "h5py", "pandas", "click", "rich", "pydantic"}
    elif folder in NUMPY_FOLDERS and path.parent != ROOT / "evo_c2f":
        assert not imported & {"torch", "torchvision", "torchmetrics", "lpips", "safetensors", "click", "rich_click"}
    elif folder == "commands" or path.stem == "api":
        assert not imported & {"torch", "pymoo", "h5py", "pandas", "numpy"}


@pytest.mark.parametrize(
    ("package", "homes"),
    [
        ("h5py", ["scores.layout", "scores.old_layout", "scores.probe", "scores.store"]),
        ("pandas", ["scores.analysis"]),
        ("lightning_fabric", ["ranks"]),
    ],
)
def test_a_package_is_known_to_few_modules(package, homes):
    known = [name_of(path).partition(".")[2] for path in MODULES if package in packages(imported_by(path))]
    assert known == homes


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ([name for name in sorted(NAMES) if name.startswith("evo_c2f") and folder_of(name)[1] in NUMPY_FOLDERS],
         ["torch", "torchvision", "supernet"]),
        (["cli"], ["torch", "supernet.models", "pandas", "pymoo", "matplotlib"]),
        (["evo_c2f"], ["torch", "pandas", "h5py", "pymoo"]),
        (["evo_c2f.engine.search", "evo_c2f.scores.store"], ["torch", "pandas"]),
        (["evo_c2f.workflows.studies.tables"], ["torch", "torchvision", "supernet", "optuna"]),
        (
            ["supernet.jobs.job", "supernet.jobs.finetune"],
            ["pydantic", "pymoo", "h5py", "evo_c2f.runs", "evo_c2f.sections"],
        ),
    ],
    ids=["the numpy folders", "the command line", "the package", "the search", "the study of tables", "the torch side"],
)  # fmt: skip
def test_a_fresh_process_loads_no_more_than_it_needs(modules, absent):
    code = f"import importlib, sys\nfor m in {modules}: importlib.import_module(m)\n"
    code += f"print([m for m in {absent} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("[]\n", "")
