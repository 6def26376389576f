"""Turns one subnet into a model: trains it alone, judges it on held-out images, and stores it with its history."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from supernet import checkpoint
from supernet.jobs.alone import Plan, TrainingAlone
from supernet.jobs.job import Job, OnRound, OnSetback
from supernet.models import model
from supernet.models.card import write_card
from supernet.network.generator import Supernet

if TYPE_CHECKING:
    from evo_c2f.sections.training import FinetuneSection, LossesSection, TrainingSection

BEGUN = "finetune.json"  # beside the model: what its training was begun with


def plan_of(how: FinetuneSection, losses: LossesSection, supernet: Supernet | None) -> Plan:
    """The phases in rounds; a phase without losses uses `losses`.

    supernet: its widest subnet may guide.
    """
    sides = [(round(phase.until * how.rounds), phase.side) for phase in how.phases]
    return Plan(how.batch, sides, how.schedule(losses), supernet)


def difference(name: str, before: Any, now: Any) -> str:
    """The first setting that differs, in words; '' if none does. One that an older version did not have was off."""
    if isinstance(before, dict) and isinstance(now, dict):
        inside = [(key, before.get(key), now.get(key)) for key in {**before, **now}]
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        inside = [(index, *values) for index, values in enumerate(zip(before, now, strict=True))]
    else:
        alike = before == now or (before is None and not now)
        return "" if alike else f"{name} is {before} there, {now} here"
    return next(filter(None, (difference(f"{name}.{key}", *values) for key, *values in inside)), "")


def other_setting(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first setting of a model that differs, in words; '' if none does.

    An older model may not tell of it. The data's folder may be called otherwise; its content is checked.
    """
    known = [(name, before.get(name, value), value) for name, value in now.items() if name != "data"]
    return next(filter(None, (difference(*each) for each in known)), "")


def refuse_another(folder: Path, *abouts: Mapping[str, Any]) -> None:
    """InputError if the folder holds a model, or was started as one, that is none of these."""
    begun = folder / BEGUN
    if not begun.is_file():
        return
    try:
        before = json.loads(begun.read_text(encoding="utf-8"))
    except ValueError:
        raise DamagedFileError(f"{begun} is damaged; remove {folder} and fine-tune again") from None
    others = [other_setting(before, about) for about in abouts]
    if all(others):
        raise InputError(
            f"{folder} holds another model ({others[0]}); remove that folder, or use the settings that it was made "
            "with; what 'finetune' is told to make may also take another --name"
        )


@dataclass(frozen=True)
class Finetuning:
    """The target folder of a model, and its training."""

    job: Job
    folder: Path
    training: TrainingSection  # with the rounds and rates of the fine-tuning
    plan: Plan
    about: dict[str, Any]  # subnet, start, settings: the same for the same model
    whole: bool = True  # judged on the images of the final front; else on the search's, where a choice depends on it

    def begin(self) -> Path:
        """The model's file. InputError if the folder holds another model, or was started as one."""
        refuse_another(self.folder, self.about)
        if not (self.folder / BEGUN).is_file():
            write_text(self.folder / BEGUN, to_json(self.about, indent=1) + "\n")
        return self.folder / model.FILE

    def run(self, network: nn.Module, names: Sequence[str], on_round: OnRound, on_setback: OnSetback) -> dict[str, Any]:
        """Train the model unless that is done. Returns its file's content: `metrics` on the held-out images, `seconds`,
        `about`. Metrics that its file lacks are measured.
        """
        ranks = self.job.ranks
        self.plan.check(self.job.data)
        if self.whole:
            self.job.check_full(names)
        target = ranks.from_first(self.begin)
        trained = self.folder / "trained.safetensors"  # not yet judged
        if ranks.from_first(lambda: not (target.is_file() or trained.is_file())):
            metadata = {**model.header(network), "about": self.about}
            alone = TrainingAlone(self.job, self.training, self.plan)
            alone.run(network, trained, metadata, on_round, on_setback)

        def judge() -> dict[str, Any]:
            tensors, metadata = checkpoint.load(target if target.is_file() else trained)
            known = metadata.setdefault("metrics", {})
            if missing := [name for name in names if name not in known]:
                network.load_state_dict(tensors)
                network.eval().to(self.job.device)
                known |= self.job.score(missing, full=self.whole).of(network)
                checkpoint.save(target, tensors, metadata)
                trained.unlink(missing_ok=True)
            write_card(model.read_model(target), target.with_suffix(".md"), target.with_suffix(".onnx").name)
            return metadata

        return ranks.from_first(judge)
