"""What README and the docs tell people to type: each command is run, made tiny; those of results are understood."""

import re
import shlex
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import yaml
from command_line import COMPARED, ROOT, STUDIED, TINY_PAIRS, exit_code, settings, start, tiny
from PIL import Image
from small_tables import write_macro
from supernet_fixtures import write_enlarger

import cli
import evo_c2f
from evo_c2f.commands.options import DEFAULT_RECIPE, search_changes
from evo_c2f.runs import recipe
from evo_c2f.space import STAGES

FIRST = [ROOT / "README.md", ROOT / "docs" / "start.md"]  # the other pages go on with their runs
PAGES = [*FIRST, *sorted(set((ROOT / "docs").glob("*.md")) - set(FIRST))]
OTHERS = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
OTHERS += sorted((ROOT / "results").rglob("README.md"))
NAMES = {str(page.relative_to(ROOT)): page for page in [*PAGES, *OTHERS]}

# What is added to a command so that it ends in seconds.
SHORT = ("training.rounds=2", "training.stage_rounds=2", "search.population=4", "finetune.rounds=2")
PHOTOGRAPHS = (*tiny(*SHORT, "finetune.phases=[]"), "--data", "DIR")
TRANSLATION = (*settings(*TINY_PAIRS, *SHORT, "finetune.phases=[]"), "--data", "PAIRS")
MORE: dict[str, tuple[str, ...]] = {
    "search": ("--evaluations", "6"),
    "evolve": ("--evaluations", "6"),
    "data split": ("--test", "2"),
    "apply": ("--overwrite",),
    "finetune": ("--candidates", "2", "--trial-images", "2"),
    "bench": ("--rows", "1000", *settings("space.widths={2: [8, 16]}", "space.operators=[residual]")),
    "benchmark": ("--size", "2", "--trial-images", "2"),
    "compare": COMPARED,
    "train-teacher": ("--width", "4", "--images", "2"),
}
SHORTER = settings("search.evaluations.joint=12", "finetune.rounds=2")
STUDIES = {
    **dict.fromkeys(("ranking", "fairness"), (*STUDIED, *SHORTER)),
    **dict.fromkeys(("search", "winners"), ("--seeds", "1", *SHORTER)),
    **dict.fromkeys(("operators", "stages"), SHORTER),
}
BEGIN = ("search", "train-supernet", "train-teacher", "bench", "study", "data check")  # by a recipe of their own
# What its words become where they name what isn't here.
INSTEAD = {
    "RUN": "results/mine",
    "results/sr-x4": "results/mine",
    "compare --recipe openmoji": "compare --run results/pairs",
    "--check-ranking 16": "--check-ranking 8",
    "--devices 2": "",  # tests/test_ranks.py runs that, and a discriminator on two
    "--devices 8": "",
    "--stage all --run results/quick --workers ray": "--stage path --run results/quick --workers ray",
    "--size 64 EMOJIS": "--size 16 EMOJIS",
    "--ray-address ADDR": "",  # a cluster of this machine alone
}
ELSEWHERE = {"--no-deps"}  # of pip
OTHERS_PROGRAMS = ("ray ", "srun ", "scancel ", "torchrun ")


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.S | re.M)


def commands(page: Path) -> list[list[str]]:
    """The words after 'python cli.py' of each line in the page's blocks, and in its running text."""
    found, variables = [], {}
    for language, text in blocks(page):
        if language:
            continue
        for line in text.replace("\\\n", " ").splitlines():
            if assigned := re.fullmatch(r'(\w+)="(.*)"', line):
                variables[f"${assigned[1]}"] = assigned[2]
            for name, value in variables.items():
                line = re.sub(rf"^{re.escape(name)}\b", value, line)
            found.append(line)
    found += [span for span in spans(page) if re.match(r"python cli\.py |evo-c2f ", span)]
    lines = [shlex.split(line, comments=True) for line in found]
    return [words[2:] if words[0] == "python" else words[1:] for words in lines if is_ours(words)]


def spans(page: Path) -> list[str]:
    """What stands between backticks in the running text."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def is_ours(words: list[str]) -> bool:
    return words[:2] == ["python", "cli.py"] or words[:1] == ["evo-c2f"]


def understood(words: list[str]) -> tuple[str, dict[str, Any]]:
    """(command, its options) as click reads them. A wrong option, argument or setting raises."""
    command: click.Command = cli.cli
    context = command.make_context("evo-c2f", list(words))
    names: list[str] = []
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None and name is not None
        command, context = found, found.make_context(name, rest, parent=context)
        names.append(name)
    given = context.params
    if "set" in given and not (given.get("run") or Path("x")).suffix:
        named = given.get("recipe") or DEFAULT_RECIPE
        recipe.load(named, (*given["set"], *search_changes(given, STAGES)))
    return " ".join(names), given


UNFINISHED = {"...", "RECIPE", "--help"}  # what is no whole command, or ends before it is read
ALL = [(name, words) for name, page in NAMES.items() for words in commands(page) if not UNFINISHED & set(words)]


@pytest.mark.parametrize(("page", "words"), ALL, ids=[f"{page}: {' '.join(words)[:60]}" for page, words in ALL])
def test_every_command_is_understood(page: str, words: list[str]) -> None:
    words = [word.replace("FILE.yaml", str(ROOT / "evo_c2f/runs/recipes/quick.yaml")) for word in words]
    assert " ".join(words).startswith(understood(words)[0])


def test_what_torchrun_starts_is_understood() -> None:
    texts = [text.replace("\\\n", " ") for _, text in blocks(NAMES["docs/scaling.md"])]
    found = [line for text in texts for line in re.findall(r"torchrun .* cli\.py (.*)", text)]
    assert len(found) >= 2 and {understood(shlex.split(line))[0] for line in found} == {"train-supernet"}


def test_every_option_that_is_named_exists() -> None:
    def options(command: click.Command) -> set[str]:
        own = {name for parameter in command.params for name in parameter.opts}
        return own.union(*map(options, command.commands.values())) if isinstance(command, click.Group) else own

    known = options(cli.cli) | ELSEWHERE | {"--help"}
    for page in PAGES:
        ours = [span for span in spans(page) if not span.startswith(OTHERS_PROGRAMS)]
        named = {word for span in ours for word in re.findall(r"(?<!\S)--[a-z][a-z0-9-]+", span)}
        assert named <= known, (page, named - known)


def test_every_page_opens_with_a_command_and_links_to_what_is_there() -> None:
    for page in PAGES:
        text = page.read_text()
        assert blocks(page)[0][0] == "", page
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            assert link.startswith("https://") or (page.parent / link).exists(), (page, link)
    assert all(f"(docs/{page.name})" in PAGES[0].read_text() for page in PAGES[1:])


# -- run for real ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages call DIR, PAIRS, UNPAIRED, Set5, Set14, IN, inputs, targets, TABLES, big.onnx; all tiny."""
    folder = tmp_path_factory.mktemp("docs")
    write_enlarger(folder / "big.onnx")
    shutil.copytree(photographs, folder / "DIR")
    rng = np.random.default_rng(0)
    for split, n in (("train", 8), ("val", 2), ("test", 2)):
        for root, width in (("PAIRS", 64), ("inputs", 32), ("targets", 32)):
            (folder / root / split).mkdir(parents=True)
            for i in range(n):
                noise = rng.integers(0, 255, (32, width, 3), np.uint8)
                Image.fromarray(noise).save(folder / root / split / f"{i}.png")
    for split in ("train", "test"):
        for domain, root in (("A", "inputs"), ("B", "targets")):
            shutil.copytree(folder / root / split, folder / "UNPAIRED" / f"{split}{domain}")
    for name in ("Set5", "Set14"):
        (folder / name / "HR").mkdir(parents=True)
        (folder / name / "LR_bicubic" / "X4").mkdir(parents=True)
        with Image.open(photographs / "0.png") as image:
            image.crop((0, 0, 96, 96)).save(folder / name / "HR" / "a.png")
            image.crop((0, 0, 96, 96)).resize((24, 24)).save(folder / name / "LR_bicubic" / "X4" / "a.png")
    (folder / "TABLES").mkdir()
    for at in (folder, folder / "TABLES"):
        write_macro(at)
    (folder / "IN").mkdir()
    for i, path in enumerate(photographs.iterdir()):
        with Image.open(path) as image:
            image.crop((0, 0, 24, 24)).save(folder / "IN" / f"{i}.png")
    return folder


def made_tiny(name: str, given: dict[str, Any], words: list[str]) -> list[str]:
    """The command with settings that end in seconds, on what is here."""
    if given.get("what") == "tables":  # it takes no recipe
        return [*words, "--seeds", "1"]
    line = shlex.join(narrowed(words))
    for there, here in INSTEAD.items():
        line = re.sub(rf"(?<!\S){re.escape(there)}(?!\S)", here, line)
    words = [*shlex.split(line), *(STUDIES.get(given["what"], ()) if name == "study" else MORE.get(name, ()))]
    begun = given.get("run") and (given["run"] / "recipe.yaml").is_file()
    if name in BEGIN and not (begun and not given["recipe"]):
        more = TRANSLATION if given["recipe"] in ("openmoji", "edges2shoes", "edges2shoes-64") else PHOTOGRAPHS
        words += more[: -2 if {"IN", "UNPAIRED"} & {*words} or name == "data check" else None]
    return words if "--threads" in words or "device" not in given else [*words, "--threads", "1"]


def narrowed(words: list[str]) -> list[str]:
    """Without limits that were chosen for networks of a real size."""
    return [word for word in words if word not in ("--max", "--min") and not re.match(r"(size_mb|macs|psnr_y)=", word)]


def code_of(words: list[str]) -> int:
    """Run here, or in a process of its own where the command ends by Ctrl-C alone."""
    if "--serve" in words or words[0] == "demo":
        process = start(*words, "--port", "0")
        assert process.stderr and "http://127.0.0.1:" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        return process.wait(60)
    return exit_code(*words)


@pytest.mark.parametrize("page", [name for name, page in NAMES.items() if page in PAGES])
def test_a_page_can_be_followed(page: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evo_c2f.contest import race
    from evo_c2f.objectives.metric import METRICS
    from evo_c2f.studies import bench as workers
    from evo_c2f.studies import simulation
    from supernet.batches import degradation
    from supernet.data import photographs
    from supernet.jobs import bench
    from supernet.metrics import tasks
    from supernet.network import cost
    from supernet.network.operators import OPERATORS
    from supernet.teachers.found import PLUGGED

    monkeypatch.chdir(place)
    monkeypatch.setattr(race, "EVALUATIONS", 20)
    monkeypatch.setattr(simulation, "CROWDS", [("threads", 2, 8, 10), ("virtual", 4, 16, 10)])
    monkeypatch.setattr(simulation, "MEAN_SECONDS", 0.1)
    for name in ("COMPARED", "RANDOM_SUBNETS", "SPEED_ROUNDS", "STEPS"):
        monkeypatch.setattr(bench, name, 4)
    for name in ("BLOCK", "TURNS"):
        monkeypatch.setattr(workers, name, 2)
    tables: tuple[dict[str, Any], ...] = (OPERATORS, METRICS, tasks.OTHERS, cost.OTHERS, photographs.SOURCES, PLUGGED)
    tables += (degradation.OTHERS,)
    kept = [dict(table) for table in tables]
    names: dict[str, Any] = {}
    tiny_ones = dict(word.split("=", 1) for word in PHOTOGRAPHS if "=" in word)
    small = {key: yaml.safe_load(value) for key, value in tiny_ones.items()}
    small |= {f"search.evaluations.{stage}": 6 for stage in STAGES}
    monkeypatch.setattr(evo_c2f, "search", partial(evo_c2f.search, settings=small, machine=evo_c2f.Machine(threads=1)))
    try:
        for language, text in blocks(NAMES[page]):  # what they add to the package, the page's commands may use
            if language == "python" and "load_model" not in text:
                exec(text, names)
        for words in commands(NAMES[page]):
            if UNFINISHED & set(words):
                continue
            words = made_tiny(*understood(words), words)
            done = place / "done"
            if shlex.join(words) not in (done.read_text().splitlines() if done.exists() else []):
                assert code_of(words) == 0, words
                done.open("a").write(shlex.join(words) + "\n")
        for language, text in blocks(NAMES[page]):
            if language == "python" and "load_model" in text:
                exec(text, names)
    finally:
        for table, before in zip(tables, kept, strict=True):
            table.clear()
            table.update(before)
