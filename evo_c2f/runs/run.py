"""A run's folder: its files, its recipe and its log."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.runs import recipe as recipes
from evo_c2f.runs.recipe import Recipe
from evo_c2f.space import STAGES, Stage

LEAD = "python cli.py"
LONGEST_LINE = 1 << 20  # of the log
DATA_RECORD = "data.json"  # of the pictures that the run was begun with


@dataclass(frozen=True)
class RunFolder:
    """A run folder and the recipe that was resolved when it started."""

    folder: Path
    recipe: Recipe

    @classmethod
    def begin(cls, folder: Path, recipe: Recipe) -> "RunFolder":
        """A new run, or a resumed one if the folder holds the same recipe. InputError if it holds another.

        Nothing is written: `keep_recipe` does that once the recipe has proved to work. The data may have been moved if
        the run has a record of them, against which their content is checked.
        """
        if (folder / "recipe.yaml").exists():
            before = cls.open(folder).recipe
            if (folder / DATA_RECORD).is_file():
                before = before.with_data(recipe.data.folder)
            difference = before.first_difference(recipe)
            if difference:
                raise InputError(f"{folder} holds another run ({difference}); choose another --run")
        return cls(folder, recipe)

    def keep_recipe(self) -> None:
        """Write the resolved recipe. InputError if another run started here meanwhile."""
        RunFolder.begin(self.folder, self.recipe)
        write_text(self.folder / "recipe.yaml", self.recipe.to_yaml())

    @classmethod
    def open(cls, folder: Path) -> "RunFolder":
        """InputError if there is no run, DamagedFileError if its recipe can't be read."""
        path = folder / "recipe.yaml"
        if not path.is_file():
            raise InputError(
                f"{folder} holds no run; '{LEAD} train-supernet --run {folder}' makes one, --recipe NAME by that recipe"
            )
        return cls(folder, recipes.load_run(path))

    def with_data(self, data: Path) -> "RunFolder":
        """The run with its data in another folder. InputError if it has no record to check them against."""
        if not self.data_record.is_file():
            raise InputError(
                f"{self.folder} was begun by a version that kept no record of its pictures; they can be read from "
                f"{self.recipe.data.folder} alone, put them there"
            )
        return RunFolder(self.folder, self.recipe.with_data(os.path.abspath(data)))

    @property
    def data_record(self) -> Path:
        return self.folder / DATA_RECORD

    @property
    def data_index(self) -> Path:
        """What is known of the pictures' files."""
        return self.folder / "data-index.json"

    @property
    def scores(self) -> Path:
        return self.folder / "scores.h5"

    @property
    def log_file(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.json"

    @property
    def samples(self) -> Path:
        return self.folder / "samples.json"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    def checkpoint(self, training: str) -> Path:
        return self.folder / "supernet" / f"{training}.safetensors"

    def model(self, name: str) -> Path:
        return self.folder / "models" / f"{name}.safetensors"

    def front(self, stage: str, suffix: str = "csv") -> Path:
        return self.folder / "fronts" / f"{stage}.{suffix}"

    def asked(self, stage: str) -> Path:
        return self.folder / "fronts" / f"{stage}.json"

    def order(self, stage: str) -> Path:
        return self.folder / "fronts" / f"{stage}.order"

    def weights_for(self, stage: Stage) -> Path:
        """The checkpoint for measuring the stage. InputError, with the command, if it is missing."""
        trainings = self.recipe.training.stages
        usable = [t for t in trainings if t == "joint" or (stage in STAGES and STAGES.index(t) <= STAGES.index(stage))]
        if not usable:
            raise InputError(
                f"stage joint needs a supernet that is trained jointly, and {self.folder} trains stage by stage; "
                f"begin another run with --set training.stages=[joint]"
            )
        path = self.checkpoint(usable[-1])
        if not path.is_file():
            how = "" if usable[-1] == trainings[0] else f" --stage {usable[-1]}"
            raise InputError(f"{path} is missing; run '{LEAD} train-supernet --run {self.folder}{how}' first")
        return path

    def latest_weights(self) -> Path:
        """The checkpoint of the last finished training. InputError, with the command, if there is none."""
        done = [path for path in map(self.checkpoint, self.recipe.training.stages) if path.is_file()]
        return done[-1] if done else self.weights_for(STAGES[0])

    def front_before(self, stage: Stage) -> Path | None:
        """The front that seeds the stage (None: it needs none). InputError, with the command, if it is missing."""
        if stage not in STAGES[1:]:
            return None
        before = STAGES[STAGES.index(stage) - 1]
        path = self.front(before)
        if not path.is_file():
            raise InputError(
                f"stage {stage} starts from the front of stage {before}, which is missing; "
                f"run '{LEAD} evolve --stage {before} --run {self.folder}' first"
            )
        return path

    def searched(self) -> list[str]:
        """The stages that have a front, in the order of their last searches.

        The order comes from the log, since a copy of the run keeps it, unlike its files' times. Stages without a log
        line come first.
        """
        told = [line["stage"] for line in read_log(self.log_file) if line["event"] == "evolved"]
        order = [*(s for s in ("joint", *STAGES) if s not in told), *reversed(dict.fromkeys(reversed(told)))]
        return [stage for stage in order if self.front(stage).is_file()]

    def seconds_of(self, event: str) -> float:
        """The logged seconds of 'trained' or 'evolved' over the recipe's stages; what studies log is no part of them.

        A training's line tells the seconds of all its sittings, and the last line is of the weights that are there. A
        search's line tells those of one sitting alone, an 'interrupted' one those of a sitting that was stopped; a
        search that measured nothing was a replay, in no time.
        """
        if event == "trained":
            found = self.last(event)
            return float(sum(found[stage]["seconds"] for stage in self.recipe.training.stages if stage in found))
        lines = [line for line in read_log(self.log_file) if line["event"] in (event, "interrupted")]
        lines = [line for line in lines if line.get("measured") != 0]
        # A run may be searched jointly instead; beside the stages that is a comparison.
        own = [line for line in lines if line["stage"] in STAGES] or lines
        return float(sum(line["seconds"] for line in own))

    def last(self, event: str) -> dict[str, dict[str, Any]]:
        """The last log line of an event, for each stage."""
        return {line["stage"]: line for line in read_log(self.log_file) if line["event"] == event}

    def log(self, event: str, **fields: Any) -> None:
        """Append one line to log.jsonl; several processes of a study may do so at once."""
        line = to_json({"time": round(time.time(), 3), "event": event, **fields}) + "\n"
        with FileLock(self.folder / ".log.lock"), self.log_file.open("a+b") as file:
            file.truncate(_end_of_lines(file))
            file.write(line.encode())

    def write_ledger(self, training: str, ledger: dict[str, Any]) -> None:
        """Store the update counts of one training beside those of the others."""
        try:
            ledgers = json.loads(self.ledger.read_text(encoding="utf-8")) if self.ledger.exists() else {}
        except ValueError:  # damaged: those of other trainings are lost, not this one's weights
            ledgers = {}
        write_text(self.ledger, to_json({**ledgers, training: ledger}))


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, without a killed writer's half line. DamagedFileError if another line is damaged."""
    if not path.is_file():
        return []
    text, end, _ = path.read_bytes().rpartition(b"\n")
    try:
        lines = [json.loads(line) for line in (text + end).splitlines()]
        if all(isinstance(line, dict) and "event" in line for line in lines):
            return lines
        raise ValueError("a line is no event")
    except ValueError as error:
        raise DamagedFileError(f"{path} is damaged ({error}); move it away to begin a new log") from None


def judged_teacher(log: Sequence[Mapping[str, Any]], digest: str) -> dict[str, Any]:
    """`name` and `metrics` of the teacher with this digest, as a search logged them; empty if none did."""
    lines = [line for line in log if line["event"] == "teacher" and line["digest"] == digest]
    if not lines:
        return {}
    metrics = {name: value for name, value in lines[-1]["metrics"].items() if value is not None}
    return {"name": f"teacher {Path(lines[-1]['file']).name}", "metrics": metrics}


def _end_of_lines(file: BinaryIO) -> int:
    """Where the last whole line ends: what a killed writer left half is after it."""
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - LONGEST_LINE))
    return start + file.read().rfind(b"\n") + 1
