import json
import re
import subprocess
import sys

import numpy as np
import pytest
from command_line import ROOT

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.files import replacing, write_text
from evo_c2f.runs import recipe
from evo_c2f.runs.find import resolve
from evo_c2f.runs.run import RunFolder, read_log
from evo_c2f.runs.stage import read_survivors
from evo_c2f.scores import analysis


@pytest.fixture(scope="session")
def quick():
    return recipe.load("quick")


@pytest.fixture
def run(tmp_path, quick):
    """A run that has begun."""
    run = RunFolder.begin(tmp_path / "results" / "first", quick)
    run.keep_recipe()
    return run


# -- begin and open --------------------------------------------------------------------------------


def test_a_run_is_opened_with_the_recipe_it_began_with(run, quick):
    assert RunFolder.open(run.folder) == run and RunFolder.open(run.folder).recipe == quick


def test_a_run_that_begins_writes_nothing_until_its_recipe_has_proved_to_work(tmp_path, quick):
    RunFolder.begin(tmp_path / "run", quick)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("override", ["search.population=8", "name=other", "seed=0"])
def test_a_run_is_taken_up_by_a_recipe_that_trains_the_same(run, override):
    same = recipe.load("quick", (override,))
    taken_up = RunFolder.begin(run.folder, same)
    taken_up.keep_recipe()
    assert RunFolder.open(run.folder).recipe == same


@pytest.mark.parametrize("override", ["seed=1", "training.rounds=7", "space.widths.2=[16, 24]", "task.scale=2"])
def test_another_recipe_is_refused_by_the_setting_that_differs(run, override):
    before = (run.folder / "recipe.yaml").read_text()
    key = override.split("=")[0]
    with pytest.raises(
        InputError, match=rf"first holds another run \({key} is .* there, .* here\); choose another --run"
    ):
        RunFolder.begin(run.folder, recipe.load("quick", (override,)))
    assert (run.folder / "recipe.yaml").read_text() == before


def test_a_folder_without_a_run_names_the_command(tmp_path):
    command = f"'python cli.py train-supernet --run {tmp_path}'"
    with pytest.raises(InputError, match=f"{re.escape(str(tmp_path))} holds no run; {re.escape(command)} makes one"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"name: [", b"\xff\xfe\x00", b"name: mine\n"])
@pytest.mark.parametrize("take_up", [RunFolder.open, lambda folder: RunFolder.begin(folder, recipe.load("quick"))])
def test_a_damaged_recipe_is_named_and_left_as_it_is(run, content, take_up):
    path = run.folder / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"recipe\.yaml is damaged .*; restore it, or use another --run"):
        take_up(run.folder)
    assert path.read_bytes() == content


# -- what a stage needs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trainings", "stage", "checkpoint"),
    [
        ("[joint]", "path", "joint"),
        ("[joint]", "channel", "joint"),
        ("[joint, operator, channel]", "path", "joint"),
        ("[joint, operator, channel]", "operator", "operator"),
        ("[joint, operator, channel]", "channel", "channel"),
        ("[joint, operator]", "channel", "operator"),
        ("[joint, channel]", "operator", "joint"),
        ("[joint, operator, channel]", "joint", "joint"),
        ("[path, operator]", "path", "path"),
        ("[path, operator]", "channel", "operator"),
        ("[path, operator, channel]", "channel", "channel"),
    ],
)
def test_a_stage_is_measured_with_the_latest_training_up_to_it(tmp_path, trainings, stage, checkpoint):
    run = RunFolder(tmp_path, recipe.load("quick", (f"training.stages={trainings}",)))
    how = "" if checkpoint in ("joint", "path") else f" --stage {checkpoint}"
    command = f"run 'python cli.py train-supernet --run {tmp_path}{how}' first"
    with pytest.raises(InputError, match=f"{checkpoint}.safetensors is missing; {re.escape(command)}"):
        run.weights_for(stage)
    write_text(run.checkpoint(checkpoint), "weights")
    assert run.weights_for(stage) == tmp_path / "supernet" / f"{checkpoint}.safetensors"


def test_the_latest_weights_are_those_of_the_last_training_that_is_done(tmp_path):
    run = RunFolder(tmp_path, recipe.load("quick", ("training.stages=[path, operator, channel]",)))
    with pytest.raises(InputError, match=r"path\.safetensors is missing; run 'python cli\.py train-supernet"):
        run.latest_weights()
    for training in ("path", "operator"):
        write_text(run.checkpoint(training), "weights")
        assert run.latest_weights() == run.checkpoint(training)


def test_a_run_that_trains_stage_by_stage_has_no_supernet_for_the_joint_search(tmp_path):
    run = RunFolder(tmp_path, recipe.load("quick", ("training.stages=[path, operator]",)))
    with pytest.raises(
        InputError, match=r"stage joint needs .* begin another run with --set training.stages=\[joint\]"
    ):
        run.weights_for("joint")


@pytest.mark.parametrize("stage", ["path", "joint"])
def test_a_first_stage_starts_from_no_front(run, stage):
    assert run.front_before(stage) is None and read_survivors(run, stage) is None


@pytest.mark.parametrize(("stage", "before"), [("operator", "path"), ("channel", "operator")])
def test_a_later_stage_names_the_one_it_starts_from(run, stage, before):
    command = f"run 'python cli.py evolve --stage {before} --run {run.folder}' first"
    for ask in (run.front_before, lambda stage: read_survivors(run, stage)):
        with pytest.raises(
            InputError, match=f"stage {stage} starts from the front of stage {before}.*{re.escape(command)}"
        ):
            ask(stage)
    write_text(run.front(before), "a front")
    assert run.front_before(stage) == run.folder / "fronts" / f"{before}.csv"


def test_a_later_stage_starts_from_the_survivors_and_the_reference(run):
    space = run.recipe.space
    genomes = np.unique(space.random(20, np.random.default_rng(0)), axis=0)[:6]
    frame = analysis.front_frame(space, genomes, {"psnr_y": np.arange(6.0)}, genomes[[1, 4]])
    analysis.write_front(frame, run.front("path"))
    assert (read_survivors(run, "operator") == [*genomes[[1, 4]], space.reference]).all()
    frame = analysis.front_frame(space, space.reference[None], {"psnr_y": np.zeros(1)}, space.reference[None])
    analysis.write_front(frame, run.front("path"))
    assert (read_survivors(run, "operator") == [space.reference]).all()


DAMAGES = {
    "no survivors": lambda frame: frame.assign(survivor=False),
    "no rows": lambda frame: frame.iloc[:0],
    "genomes too short": lambda frame: frame.assign(genome=frame["genome"].str[:-2]),
    "one genome too short": lambda frame: frame.assign(genome=[*frame["genome"][:-1], frame["genome"].iloc[-1][:-2]]),
    "genomes out of range": lambda frame: frame.assign(genome="ff" * 18),
    "no such column": lambda frame: frame.drop(columns="survivor"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_front_that_can_seed_nothing_is_named(run, damage):
    space = run.recipe.space
    genomes = np.unique(space.random(9, np.random.default_rng(0)), axis=0)
    frame = analysis.front_frame(space, genomes, {"psnr_y": np.arange(len(genomes)) * 1.0}, genomes)
    analysis.write_front(damage(frame), run.front("path"))
    with pytest.raises(DamagedFileError, match=r"path\.csv .*evolve that stage again"):
        read_survivors(run, "operator")


# -- files -----------------------------------------------------------------------------------------


def test_written_text_replaces_the_old_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a" / "b.json"
    for text in ("old", "new: ü"):
        write_text(path, text)
        assert path.read_text() == text and [p.name for p in path.parent.iterdir()] == ["b.json"]


def test_what_can_t_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "b.json"
    write_text(path, "old")
    with pytest.raises(OSError, match="no room"), replacing(path) as partial:
        partial.write_text("half of what is n")
        raise OSError("no room")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["b.json"]


def test_a_line_that_a_killed_writer_left_half_is_passed_over_and_then_replaced(run):
    run.log("trained", stage="path", seconds=1.0)
    with run.log_file.open("a") as file:
        file.write('{"time": 1, "event": "trai')
    assert run.seconds_of("trained") == 1
    run.log("trained", stage="operator", seconds=2.0)
    assert [line["stage"] for line in read_log(run.log_file)] == ["path", "operator"]


def test_several_processes_log_without_loss(run):
    code = "import sys; from pathlib import Path; from evo_c2f.runs import recipe\n"
    code += "from evo_c2f.runs.run import RunFolder\n"
    code += "run = RunFolder(Path(sys.argv[1]), recipe.load('quick'))\n"
    code += "for index in range(200): run.log('round', index=index, words='x' * 99)"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(run.folder)], cwd=ROOT) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert sorted(line["index"] for line in read_log(run.log_file)) == sorted([*range(200)] * 3)


@pytest.mark.parametrize("line", ['{"time": 1, "event": "trai', "[]", "{}", "\xff"])
def test_a_log_with_a_damaged_line_is_named(run, line):
    run.log_file.write_text(f'{line}\n{{"event": "trained"}}\n', encoding="latin-1")
    with pytest.raises(DamagedFileError, match="log.jsonl is damaged"):
        read_log(run.log_file)


def test_the_log_is_one_line_of_json_an_event(run):
    run.log("round", index=1, loss=0.5)
    run.log("trained", stage="joint")
    lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    assert [{k: v for k, v in line.items() if k != "time"} for line in lines] == [
        {"event": "round", "index": 1, "loss": 0.5},
        {"event": "trained", "stage": "joint"},
    ]
    assert 0 < lines[0]["time"] <= lines[1]["time"]


def test_the_ledgers_of_all_trainings_are_kept_side_by_side(run):
    run.write_ledger("joint", {"path": [3, 3]})
    run.write_ledger("operator", {"operator": [1]})
    run.write_ledger("joint", {"path": [4, 4]})
    assert json.loads(run.ledger.read_text()) == {"joint": {"path": [4, 4]}, "operator": {"operator": [1]}}


def test_the_seconds_of_the_trainings_are_those_of_the_weights_that_are_there(tmp_path):
    run = RunFolder(tmp_path, recipe.load("quick", ("training.stages=[joint, operator]",)))
    assert run.seconds_of("trained") == 0
    for stage, seconds in (("joint", 5.0), ("operator", 2.0), ("joint", 3.0), ("fair-0", 50.0)):
        run.log("trained", stage=stage, seconds=seconds)
    run.log("evolved", stage="path", seconds=100.0, measured=3)
    assert run.seconds_of("trained") == 5.0


def test_the_seconds_of_the_searches_are_those_of_every_sitting_that_measured(tmp_path, quick):
    run = RunFolder(tmp_path, quick)
    assert run.seconds_of("evolved") == 0
    run.log("evolved", stage="joint", seconds=70.0, measured=9)
    assert run.seconds_of("evolved") == 70  # a run that is searched jointly
    for stage, seconds, measured in (("path", 5.0, 4), ("operator", 2.0, 4), ("path", 3.0, 2), ("path", 0.5, 0)):
        run.log("evolved", stage=stage, seconds=seconds, measured=measured)
    assert run.seconds_of("evolved") == 10.0


def test_a_damaged_ledger_does_not_lose_a_training(tmp_path, quick):
    run = RunFolder(tmp_path, quick)
    run.ledger.write_text("{ no")
    run.write_ledger("joint", {"rounds": 3})
    assert json.loads(run.ledger.read_text()) == {"joint": {"rounds": 3}}


def test_data_may_lie_in_a_folder_of_any_name(tmp_path):
    changed = resolve("sr-x4", "quick", None, (), tmp_path / "\U0001f600 \u00e9", None)
    assert changed.data.folder == str(tmp_path / "\U0001f600 \u00e9")
