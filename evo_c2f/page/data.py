"""The content of a run's page, as one JSON-ready dict, read only from the run's files."""

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import yaml

from evo_c2f.errors import DamagedFileError
from evo_c2f.objectives.metric import FULL
from evo_c2f.page import scores
from evo_c2f.page.scores import Measured
from evo_c2f.runs import fronts
from evo_c2f.runs.fronts import Front
from evo_c2f.runs.run import LEAD, RunFolder, judged_teacher, read_log
from evo_c2f.scores.tables import in_short
from evo_c2f.space import DEALT, STAGES, SearchSpace, Stage, inner_width
from evo_c2f.versions import versions

SUPERNET = ("joint", "path", "operator", "channel")  # its trainings, as the log names them
Beside = Sequence[tuple[str, Mapping[str, float]]]  # a network's name, and its metrics
MOST_CURVES = 12  # of networks trained alone
FOR_NOTHING = "baseline"  # what the run has not said the name of


def page_data(run: RunFolder) -> dict[str, Any]:
    """All content of the page. DamagedFileError if a file of the run can't be read."""
    stages, log, samples = scores.measured(run), read_log(run.log_file), read_samples(run)
    found, latest = scores.fronts_of(run, stages), scores.latest(run, stages)
    rows, front = scores.rows_of(stages, found), found.get(latest) if latest else None
    objectives = fronts.objectives_of(run, latest) if latest else run.recipe.search.metrics()
    baseline_name = samples.get("baseline") or _setting(log).get("baseline") or FOR_NOTHING
    teacher = judged_teacher(log, run.recipe.teacher.digest) or {"name": "", "metrics": {}}
    names = list(dict.fromkeys([*rows["columns"]["metrics"], *(o.name for o in objectives)]))
    if latest:
        beside = [(baseline_name, stages[latest].baseline), (teacher["name"], teacher["metrics"])]
        sentence = found_so_far(run, latest, stages[latest], front, rows["n_subnets"], beside)
    else:
        sentence = trained_so_far(run, log)
    return {
        "title": run.recipe.name,
        "task": run.recipe.task.name,
        "sentence": sentence,
        "objectives": [o.name for o in objectives],
        "metrics": {name: scores.described(name) for name in names},
        "space": described_space(run.recipe.space, getattr(run.recipe.task, "scale", 1)),
        "contexts": [described_context(m) for m in scores.different(stages)],
        "baseline_name": baseline_name,
        "teacher": teacher,
        "rows": rows,
        "shown_first": rows["fronts"][latest][front.knee] if front and len(front.frame) else None,
        "pickable": pickable(run, stages, rows),
        "command": f"{LEAD} finetune --run {shlex.quote(str(run.folder))}",
        "growth": scores.growth(run, stages),
        "effects": scores.effects(stages),
        "ledgers": read_ledgers(run),
        "dealt": DEALT,
        "trainings": trainings(log),
        "samples": samples,
        "recipe": yaml.safe_dump(run.recipe.model_dump(mode="json"), sort_keys=False, default_flow_style=None),
        "facts": facts(run, stages, log),
    }


def described_space(space: SearchSpace, scale: int) -> dict[str, Any]:
    """The choices of the genes, and the inner width in channels for each level, trunk width and ratio.

    spans: how many pixels of the output a position of each level spans along a side, at the task's scale.
    """
    first_step = 3 if scale == 3 else 2  # docs/decisions/0019
    return {
        "n_cells": space.n_cells,
        "levels": space.levels,
        "spans": [first_step * 2 ** (level - 1) if level else 1 for level in space.levels],
        "operators": list(space.operators),
        "ratios": list(space.inner_ratios),
        "widths": [list(space.widths[level]) for level in space.levels],
        "inner": [
            [[inner_width(w, r) for r in space.inner_ratios] for w in space.widths[level]] for level in space.levels
        ],
    }


def described_context(m: Measured) -> dict[str, Any]:
    """The name of the weights, and the baselines of their subnets."""
    return {"key": m.scores.context, "baseline": m.baseline}


def trained_so_far(run: RunFolder, log: list[dict[str, Any]]) -> str:
    """How far a run is that nothing was searched in, as a sentence."""
    first, total = run.recipe.training.stages[0], run.recipe.training.rounds
    rounds = [line["index"] for line in log if line["event"] == "round" and line["stage"] == first]
    return f"Nothing was searched yet; the supernet has had {max(rounds, default=0):,} of {total:,} rounds."


def found_so_far(
    run: RunFolder, stage: Stage, measured: Measured, front: Front | None, n_subnets: int, beside: Beside
) -> str:
    """What the run found, as a sentence: the front of the stage that is searched, or was searched last.

    beside: what the front's best is compared with.
    """
    amount = f"{n_subnets:,} of {_large(run.recipe.space.n_subnets)} possible subnets were scored"
    if front is None or front.frame.empty:
        return f"{amount}; none of the {stage} stage keeps to the limits yet."
    best = [_best(o.name, o.sign * min(o.sign * front.frame[o.name]), measured, beside) for o in front.objectives]
    return f"{amount}; the {stage} stage's front holds {len(front.frame)}: {'; '.join(best)}."


def _best(name: str, value: float, m: Measured, beside: Beside) -> str:
    words = scores.described(name)
    whole = " on whole images" if name.endswith(FULL) else ""
    told = partial(_with_unit, unit=words["unit"])
    label = words["label"].partition(", whole")[0]
    label = label if label[:2].isupper() else label.lower()
    if words["kind"] != "quality":
        widest = (m.widest() or {}).get(name)
        return f"smallest {label} {told(value)}" + (f" (widest subnet {told(widest)})" if widest else "")
    others = ", ".join(f"{other} {told(metrics[name])}" for other, metrics in beside if name in metrics)
    return f"best {label}{whole} {told(value)}" + (f" ({others})" if others else "")


def _with_unit(value: float, unit: str) -> str:
    digits = f"{value:.2f}" if unit == "dB" else in_short(float(f"{value:.3g}"))
    return f"{digits} {unit}".strip() if unit not in ("MACs", "parameters") else digits


def _large(n: int) -> str:
    if n < 10**7:
        return f"{n:,}"
    digits, _, power = f"{n:.1e}".partition("e+")
    return f"{digits} × 10" + str(int(power)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def pickable(run: RunFolder, stages: Mapping[str, Measured], rows: Mapping[str, Any]) -> dict[str, Any]:
    """Rows that `finetune --pick` refuses, because their subnet's newest score failed or breaks a limit; and the
    limits.
    """
    contexts, limits = scores.different(stages), run.recipe.search.limits()
    oldest_first = sorted(contexts, key=lambda m: m.scores.rows["time"][0])
    offered = fronts.offered([m.frame for m in oldest_first], limits)
    refused = [i for i, name in enumerate(rows["columns"]["id"]) if name not in offered]
    return {"refused": refused, "limits": " and ".join(map(str, limits))}


def trainings(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The loss of each training by round, the supernet's first; of a repeated training, the last run."""
    curves: dict[str, dict[int, float]] = {}
    for line in log:
        if line["event"] == "round":
            points = curves.setdefault(str(line["stage"]), {})
            if points and line["index"] <= min(points):
                points.clear()
            points[line["index"]] = line["loss"]
    alone = [name for name in curves if name not in SUPERNET][-MOST_CURVES:]
    return [
        {"name": name, "supernet": name in SUPERNET, "x": [*curves[name]], "y": [*curves[name].values()]}
        for name in [*(n for n in SUPERNET if n in curves), *alone]
    ]


def read_ledgers(run: RunFolder) -> dict[str, Any]:
    """Training -> the updates of every choice; empty if there are none yet."""
    try:
        found: dict[str, Any] = json.loads(run.ledger.read_text(encoding="utf-8")) if run.ledger.is_file() else {}
        return found
    except ValueError as error:
        raise DamagedFileError(f"{run.ledger} is damaged ({error}); restore it, or train again") from None


def read_samples(run: RunFolder) -> dict[str, Any]:
    """The pictures that `report` made: titles, and images by subnet and weights; empty if there are none.

    Unreadable content is left out, since the page is useful without pictures.
    """
    try:
        found = json.loads(run.samples.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def _setting(log: list[dict[str, Any]]) -> dict[str, Any]:
    """The machine and the packages of the last part of the run that noted them."""
    return next((line for line in reversed(log) if line["event"] == "setting"), {})


def facts(run: RunFolder, stages: Mapping[str, Measured], log: list[dict[str, Any]]) -> dict[str, Any]:
    """The basis of the run: cost in minutes, device, protocol, seeds, versions."""
    seconds = Counter[tuple[str, str]]()
    for line in log:
        if line["event"] == "trained":  # tells the seconds of all its sittings
            seconds[line["event"], line["stage"]] = line["seconds"]
        elif line["event"] in ("evolved", "interrupted") and line.get("measured") != 0:  # else it was a replay
            seconds["evolved", line["stage"]] += line["seconds"]
    order = [*SUPERNET[:1], *STAGES]
    cost = [
        {"what": what, "stage": stage, "minutes": round(seconds[event, stage] / 60, 2)}
        for event, what in (("trained", "training"), ("evolved", "search"))
        for stage in dict.fromkeys([*order, "joint"])
        if (event, stage) in seconds
    ]
    setting, protocols = _setting(log), [m.scores.protocol for m in scores.different(stages)]
    return {
        "cost": cost,
        "seed": run.recipe.seed,
        "protocol": protocols[-1] if protocols else "",
        "versions": setting.get("versions"),
        "device": setting.get("device") or (protocols[-1].rpartition("; ")[2] if protocols else ""),
        "made_with": versions(),
        "folder": str(run.folder),
    }
