"""A run's folder: beginning, taking up, refusing another recipe, and naming what is missing."""

import json

import pytest

from evo_c2f import recipe
from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.run import Run, write_text


@pytest.fixture
def run(tmp_path):
    begun = Run.begin(tmp_path / "r", recipe.load("quick"))
    begun.keep_recipe()
    return begun


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_beginning_writes_nothing_until_the_recipe_is_kept(tmp_path):
    begun = Run.begin(tmp_path / "r", recipe.load("quick"))
    assert not (tmp_path / "r").exists()
    begun.keep_recipe()
    assert Run.open(tmp_path / "r") == begun


def test_a_run_is_taken_up_by_its_own_recipe_and_refused_to_another(run):
    assert Run.begin(run.folder, recipe.load("quick")) == run
    with pytest.raises(InputError, match=r"holds another run \(seed is 0 there, 1 here\)"):
        Run.begin(run.folder, recipe.load("quick", ("seed=1",)))


def test_a_folder_without_a_run_names_the_command(tmp_path):
    with pytest.raises(InputError, match=f"train-supernet --run {tmp_path}"):
        Run.open(tmp_path)


def test_a_damaged_recipe_is_named(run):
    (run.folder / "recipe.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(DamagedFileError, match="recipe.yaml is damaged"):
        Run.open(run.folder)


def test_missing_weights_and_fronts_name_the_command_that_makes_them(run):
    with pytest.raises(InputError, match="train-supernet --run"):
        run.weights_for("path")
    assert run.front_before("path") is None and run.front_before("joint") is None
    with pytest.raises(InputError, match="evolve --stage path --run"):
        run.front_before("operator")
    with pytest.raises(InputError, match="evolve --stage operator --run"):
        run.front_before("channel")


def test_a_stage_uses_the_weights_trained_last_for_it(tmp_path):
    run = Run.begin(tmp_path, recipe.load("quick", ("training.stages=[joint, operator]",)))
    for training in ("joint", "operator"):
        touch(run.checkpoint(training))
    used = {stage: run.weights_for(stage).stem for stage in ("path", "operator", "channel", "joint")}
    assert used == {"path": "joint", "operator": "operator", "channel": "operator", "joint": "joint"}
    run.checkpoint("operator").unlink()
    with pytest.raises(InputError, match="train-supernet --run .* --stage operator"):
        run.weights_for("channel")


def test_the_ledgers_of_several_trainings_stand_side_by_side(run):
    run.write_ledger("joint", {"rounds": 1})
    run.write_ledger("operator", {"rounds": 2})
    run.write_ledger("joint", {"rounds": 3})
    assert json.loads(run.ledger.read_text()) == {"joint": {"rounds": 3}, "operator": {"rounds": 2}}


def test_the_log_grows_line_by_line(run):
    run.log("a", value=1)
    run.log("b")
    lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    assert [(line["event"], line.get("value")) for line in lines] == [("a", 1), ("b", None)]


def test_text_is_replaced_whole(tmp_path):
    write_text(tmp_path / "new" / "a.txt", "one")
    write_text(tmp_path / "new" / "a.txt", "two")
    assert {p.name: p.read_text() for p in (tmp_path / "new").iterdir()} == {"a.txt": "two"}
