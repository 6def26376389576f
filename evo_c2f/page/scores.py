"""The scores of a run for its page: rows, fronts, the hypervolume's curve, and the effect of each choice."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.objectives.metric import FULL, INT8, METRICS, metric
from evo_c2f.runs import fronts
from evo_c2f.runs.fronts import Front
from evo_c2f.runs.run import RunFolder
from evo_c2f.scores import analysis
from evo_c2f.scores.analysis import Frame
from evo_c2f.scores.layout import Scores
from evo_c2f.scores.store import read_scores
from evo_c2f.space import STAGES, SearchSpace, Stage

MOST_ROWS = 10_000  # in the page's table
MOST_DOMINATED = 2_000  # of the points drawn
MOST_STEPS = 400  # of the hypervolume's curve, for each weights
ORDER: tuple[Stage, ...] = (*STAGES, "joint")
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Measured:
    """All scores with the same weights, in the order of measurement, and their metrics and objectives."""

    scores: Scores
    frame: Frame

    @property
    def metrics(self) -> list[str]:
        """In the order of METRICS, those of the search first, then those of the whole images."""
        known = list(METRICS)
        names = self.scores.metrics
        return sorted(names, key=lambda name: (name.endswith(FULL), _place(known, name.removesuffix(FULL))))

    @property
    def baseline(self) -> dict[str, float]:
        return self.scores.baseline

    def widest(self) -> dict[str, float] | None:
        """The metrics of the widest subnet; None if it was not measured yet."""
        rows = self.frame[self.frame["stage"] == "reference"]
        return None if rows.empty else {name: float(rows[name].iloc[0]) for name in self.scores.metrics}


def _place(known: Sequence[str], name: str) -> int:
    return known.index(name) if name in known else len(known)


def measured(run: RunFolder) -> dict[str, Measured]:
    """Stage -> the newest weights that scored it, in the order of the search; empty before there are scores.

    The widest subnet alone is stage 'reference'.
    """
    if not run.scores.is_file():
        return {}
    contexts = [Measured(s, analysis.frame_of(s)) for s in read_scores(run.scores) if len(s.rows)]
    found = {stage: m for m in contexts for stage in ORDER if (m.frame["stage"] == stage).any()}
    if not found and contexts:
        return {"reference": contexts[-1]}
    return {stage: found[stage] for stage in ORDER if stage in found}


def different(stages: Mapping[str, Measured]) -> list[Measured]:
    """The distinct items, in order."""
    return list({m.scores.context: m for m in stages.values()}.values())


def latest(run: RunFolder, stages: Mapping[str, Measured]) -> Stage | None:
    """The stage that is being searched (it has no front yet) or was searched last; None before there is one."""
    known = [stage for stage in ORDER if stage in stages]
    searched = [stage for stage in run.searched() if stage in known]
    return next((stage for stage in reversed(known) if stage not in searched), searched[-1] if searched else None)


def fronts_of(run: RunFolder, stages: Mapping[str, Measured]) -> dict[Stage, Front]:
    """Each stage's front as the stage wrote it; during a search, its present front."""
    found = {stage: _front_of(run, stage, stages[stage]) for stage in ORDER if stage in stages}
    return {stage: front for stage, front in found.items() if front}


def _front_of(run: RunFolder, stage: Stage, m: Measured) -> Front | None:
    """None if an objective was not measured."""
    objectives = fronts.objectives_of(run, stage)
    with suppress(DamagedFileError, InputError):
        written = analysis.read_front(run.front(stage)) if run.front(stage).is_file() else None
        if written is not None and set(written["id"]) <= set(m.frame["id"]):
            return fronts.ordered(stage, written, objectives)
    with suppress(InputError):
        within = fronts.is_within(m.frame, run.recipe.search.limits())
        return fronts.so_far(stage, m.frame[(m.frame["stage"] == stage) & within], objectives)
    return None


def rows_of(stages: Mapping[str, Measured], found: Mapping[Stage, Front]) -> dict[str, Any]:
    """The table's columns, the fronts as row numbers, the rows to draw, and the number of all rows."""
    contexts = different(stages)
    kept = _kept(contexts, {i for front in found.values() for i in front.frame["id"]})
    frames = [m.frame.iloc[rows] for m, rows in zip(contexts, kept, strict=True)]
    number = {  # of an id scored with certain weights
        (k, name): index
        for index, (k, name) in enumerate((k, name) for k, frame in enumerate(frames) for name in frame["id"])
    }
    of_stage = {stage: contexts.index(m) for stage, m in stages.items()}
    numbers = {s: [number[of_stage[s], i] for i in front.frame["id"]] for s, front in found.items()}
    # The stages that have a next one.
    written = {s: front.frame for s, front in found.items() if s in STAGES[:-1] and "survivor" in front.frame}
    columns = _columns(frames, list(dict.fromkeys(name for m in contexts for name in m.metrics)))
    always = {row for rows in numbers.values() for row in rows}
    always |= {row for row, stage in enumerate(columns["stage"]) if stage == "reference"}
    return {
        "columns": columns,
        "fronts": numbers,
        "survivors": {s: [number[of_stage[s], i] for i in rows["id"][rows["survivor"]]] for s, rows in written.items()},
        "drawn": sorted(always | set(_sample([i for i in range(len(number)) if i not in always], MOST_DOMINATED))),
        "n_scores": sum(len(m.frame) for m in contexts),
        "n_subnets": len({i for m in contexts for i in m.frame["id"]}),
    }


def _kept(contexts: Sequence[Measured], fronts: set[str]) -> list[Indices]:
    """Of each frame the rows that the page holds: all, or the fronts and the widest with a sample of the others."""
    total = sum(len(m.frame) for m in contexts)
    needed = [(m.frame["id"].isin(fronts) | (m.frame["stage"] == "reference")).to_numpy() for m in contexts]
    others = [(k, int(i)) for k, must in enumerate(needed) for i in np.flatnonzero(~must)]
    chosen = set(_sample(others, MOST_ROWS - (total - len(others)))) if total > MOST_ROWS else set(others)
    return [
        np.array([i for i, must_be in enumerate(must) if must_be or (k, i) in chosen], dtype=np.intp)
        for k, must in enumerate(needed)
    ]


def _sample(items: list[Any], n: int) -> list[Any]:
    """At most n of them, always the same ones of the same number."""
    if len(items) <= n:
        return items
    rng = np.random.default_rng(0)
    return [items[i] for i in np.sort(rng.choice(len(items), max(n, 0), replace=False))]


def _columns(frames: Sequence[Frame], metrics: Sequence[str]) -> dict[str, Any]:
    def column(name: str) -> list[Any]:
        return [value for frame in frames for value in frame[name].tolist()]

    def figures(name: str) -> list[float | None]:
        return [v for frame in frames for v in (numbers(frame[name]) if name in frame else [None] * len(frame))]

    return {
        "id": column("id"),
        "stage": column("stage"),
        "generation": column("generation"),
        "genome": column("genome"),
        "context": [k for k, frame in enumerate(frames) for _ in range(len(frame))],
        "metrics": {name: figures(name) for name in metrics},
    }


def numbers(values: Any) -> list[float | None]:
    """Numbers for JSON, to eight digits; None for values that are not finite."""
    return [float(f"{v:.8g}") if np.isfinite(v) else None for v in np.asarray(values, dtype=float).tolist()]


def growth(run: RunFolder, stages: Mapping[str, Measured]) -> dict[str, Any]:
    """The hypervolume after each subnet, one curve for each set of weights, and the subnets before each stage."""
    curves, borders, done = [], [], 0
    for m in different(stages):
        names = m.frame["stage"].tolist()
        for stage in ORDER:
            if stage in names and stages.get(stage) is m:
                borders.append({"stage": stage, "after": done + names.index(stage)})
        curve = _curve(run, m)
        if curve is not None:
            steps = _steps(curve)
            curves.append({"x": (steps + 1 + done).tolist(), "y": numbers(curve[steps])})
        done += len(m.frame)
    return {"curves": curves, "borders": borders, "n": done}


def _curve(run: RunFolder, m: Measured) -> NDArray[np.float64] | None:
    """None where the widest subnet, which fixes the box, or an objective was not measured."""
    objectives = run.recipe.search.metrics()
    names = [o.name for o in objectives]
    try:
        box = analysis.box_of(m.scores, objectives)
    except KeyError:
        return None
    if box is None or not set(names) <= set(m.scores.metrics):
        return None
    values = m.frame[names].copy()
    values.loc[~fronts.is_within(m.frame, run.recipe.search.limits())] = np.nan
    return np.asarray(analysis.hypervolume_curve(values, box), dtype=np.float64)


def _steps(curve: NDArray[np.float64]) -> Indices:
    """Where the curve changes, and its ends; at most MOST_STEPS of them."""
    steps = np.flatnonzero(np.r_[True, np.diff(curve) != 0])
    if len(steps) > MOST_STEPS:
        steps = steps[np.linspace(0, len(steps) - 1, MOST_STEPS).astype(int)]
    return np.unique(np.r_[steps, len(curve) - 1])


def effects(stages: Mapping[str, Measured]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Stage -> metric -> the effect of each choice of the genes that the stage searches, among its scored subnets."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for stage, m in stages.items():
        if stage not in ORDER:
            continue
        space = SearchSpace.from_dict(m.scores.space)
        genes = [n for n, free in zip(space.gene_names, space.free(stage), strict=True) if free]
        rows = m.frame[m.frame["stage"] == stage]
        names = [n for n in m.metrics if not n.endswith((FULL, INT8)) and rows[n].notna().any()]
        found[stage] = {name: _effects(rows[[*genes, name]], name) for name in names}
    return found


def _effects(frame: Frame, name: str) -> list[dict[str, Any]]:
    table = analysis.gene_effects(frame, name)
    columns = [table["gene"].tolist(), table["choice"].astype(str).tolist(), numbers(table["mean"])]
    columns += [numbers(table["effect"]), table["count"].tolist()]
    return [
        dict(zip(("gene", "choice", "mean", "effect", "n"), row, strict=True)) for row in zip(*columns, strict=True)
    ]


def described(name: str) -> dict[str, str]:
    """A metric in words: label, unit, which way is better, kind."""
    try:
        known = metric(name)
    except InputError:
        return {"label": name, "unit": "", "better": "lower", "kind": "cost"}
    label, _, rest = known.label.partition(" (")
    unit = rest.rstrip(")") if rest.rstrip(")") in ("dB", "MB", "ms") else ""
    label = label if unit or not rest else known.label
    unit = unit or {"macs": "MACs", "params": "parameters"}.get(name, "")
    of = (", 8 bits" if INT8 in name else "") + (", whole images" if name.endswith(FULL) else "")
    return {"label": label[:1].upper() + label[1:] + of, "unit": unit, "better": known.better, "kind": known.kind}
