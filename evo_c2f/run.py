"""A run's folder: where everything is, which recipe it holds, and its log."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evo_c2f import recipe as recipes
from evo_c2f.errors import InputError
from evo_c2f.recipe import Recipe
from evo_c2f.space import STAGES, Stage

LEAD = "python cli.py"


def write_text(path: Path, text: str) -> None:
    """Under a temporary name first: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)


@dataclass(frozen=True)
class Run:
    """A run folder and the recipe that was resolved when it began."""

    folder: Path
    recipe: Recipe

    @classmethod
    def begin(cls, folder: Path, recipe: Recipe) -> "Run":
        """A run that is new, or taken up because the folder holds the same recipe. InputError if it holds another.

        Nothing is written: `keep_recipe` does that once the recipe has proved to work.
        """
        if (folder / "recipe.yaml").exists():
            difference = cls.open(folder).recipe.first_difference(recipe)
            if difference:
                raise InputError(f"{folder} holds another run ({difference}); choose another --run")
        return cls(folder, recipe)

    def keep_recipe(self) -> None:
        """Write the recipe as resolved."""
        write_text(self.folder / "recipe.yaml", self.recipe.to_yaml())

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """InputError if there is no run, DamagedFileError if its recipe can't be read."""
        path = folder / "recipe.yaml"
        if not path.is_file():
            raise InputError(f"{folder} holds no run; '{LEAD} train-supernet --run {folder}' makes one")
        return cls(folder, recipes.load_run(path))

    @property
    def scores(self) -> Path:
        return self.folder / "scores.h5"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.json"

    def checkpoint(self, training: str) -> Path:
        return self.folder / "supernet" / f"{training}.safetensors"

    def model(self, name: str) -> Path:
        return self.folder / "models" / f"{name}.safetensors"

    def front(self, stage: str, suffix: str = "csv") -> Path:
        return self.folder / "fronts" / f"{stage}.{suffix}"

    def weights_for(self, stage: Stage) -> Path:
        """The checkpoint that the stage is measured with. InputError, with the command, if it is missing."""
        trainings = self.recipe.training.stages
        usable = [t for t in trainings if t == "joint" or (stage in STAGES and STAGES.index(t) <= STAGES.index(stage))]
        path = self.checkpoint(usable[-1])
        if not path.is_file():
            how = "" if usable[-1] == "joint" else f" --stage {usable[-1]}"
            raise InputError(f"{path} is missing; run '{LEAD} train-supernet --run {self.folder}{how}' first")
        return path

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

    def seconds_of(self, event: str) -> float:
        """What the log gives to an event, over all stages; of a stage that was done again, the last time."""
        return float(sum(line["seconds"] for line in self.last(event).values()))

    def last(self, event: str) -> dict[str, dict[str, Any]]:
        """The last line that the log has of an event, for each stage."""
        path = self.folder / "log.jsonl"
        lines = map(json.loads, path.read_text().splitlines()) if path.is_file() else ()
        return {line["stage"]: line for line in lines if line["event"] == event}

    def log(self, event: str, **fields: Any) -> None:
        """Append one line to log.jsonl."""
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps({"time": round(time.time(), 3), "event": event, **fields}) + "\n")

    def write_ledger(self, training: str, ledger: dict[str, Any]) -> None:
        """Keep the update counts of one training beside those of the others."""
        ledgers = json.loads(self.ledger.read_text()) if self.ledger.exists() else {}
        write_text(self.ledger, json.dumps({**ledgers, training: ledger}))
