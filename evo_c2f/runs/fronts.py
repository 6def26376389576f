"""A run's front: its stage, its metrics, its best row and its knee.

All commands and the page use this module, so the printed front is the one that is picked from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evo_c2f.errors import InputError
from evo_c2f.objectives import pareto
from evo_c2f.objectives.metric import FULL, Limit, Metric, is_quality, metric, minimised, on_whole_images
from evo_c2f.runs.run import LEAD, RunFolder, read_log
from evo_c2f.scores import analysis
from evo_c2f.scores.analysis import Frame
from evo_c2f.space import STAGES, Genomes, Stage

REFERENCE = "reference"  # the stage, in the scores, of the widest subnet, which every search measures first


@dataclass(frozen=True)
class Front:
    """A stage's front, one row a subnet, ordered by the first objective, best first.

    objectives: those of the whole images, if the front was scored on them.
    """

    stage: Stage
    frame: Frame
    objectives: tuple[Metric, ...]

    @property
    def knee(self) -> int:
        """The row beyond which more cost buys little, measured on the images that candidates are compared on.

        Not on the whole images: in translation they are `test/`, on which nothing is chosen (docs/decisions/0005).
        """
        names = [o.name.removesuffix(FULL) for o in self.objectives]
        return pareto.knee(minimised(self.frame[names].to_numpy(dtype=float), self.objectives))


def latest(run: RunFolder, stage: Stage | None = None) -> Front:
    """The front of the given stage, or of the last searched one. InputError, with the command, if there is none."""
    searched = [s for s in run.searched() if stage in (None, s)]
    if not searched:
        first = stage or STAGES[0]
        raise InputError(f"no front yet; run '{LEAD} evolve --stage {first} --run {run.folder}' first")
    found: Stage = searched[-1]  # type: ignore[assignment]
    path = run.front(found)
    return ordered(found, analysis.read_front(path), objectives_of(run, found))


def ordered(stage: Stage, frame: Frame, objectives: tuple[Metric, ...]) -> Front:
    """The rows of a front, best first. InputError if an objective is missing."""
    whole = on_whole_images(objectives)
    objectives = whole if {o.name for o in whole} <= set(frame.columns) else objectives
    for o in objectives:
        if o.name not in frame.columns:
            raise InputError(f"the front of stage {stage} does not tell {o.name}; evolve that stage again")
    return Front(stage, analysis.best_first(frame, objectives), objectives)


def so_far(stage: Stage, frame: Frame, objectives: tuple[Metric, ...]) -> Front:
    """The Pareto front of the rows that a stage has scored. InputError if an objective is missing."""
    return Front(stage, analysis.front(frame, [o.name for o in objectives]), objectives)


def objectives_of(run: RunFolder, stage: Stage) -> tuple[Metric, ...]:
    """The objectives of the stage's last search; `evolve` may have used others than the recipe."""
    lines = [line for line in read_log(run.log_file) if line["event"] == "evolved" and line["stage"] == stage]
    told = lines[-1].get("objectives") if lines else None
    return tuple(map(metric, told)) if told else run.recipe.search.metrics()


def pick(run: RunFolder, limits: Sequence[Limit], which: str) -> tuple[Stage, Genomes]:
    """(the stage that scored it, genome (n_genes,)) of one subnet within the limits.

    which: 'knee' of the latest front, or the beginning of the id of any measured subnet.
    InputError if no subnet matches.
    """
    if which == "knee":
        front = latest(run)
        where = f"the front of stage {front.stage} in {run.folder}"
        front = replace(front, frame=within(front.frame, limits, where))
        return front.stage, analysis.genomes_of(front.frame.iloc[[front.knee]])[0]
    frame = newest(analysis.load_scores(run.folder, objectives=None))
    frame = frame[frame["id"].str.startswith(which)]
    if len(frame) != 1:
        raise InputError(
            f"{len(frame)} subnets of {run.folder} have an id that begins with {which!r}; give best, knee or an id"
        )
    frame = within(frame, limits, f"that id in {run.folder}")
    return frame["weights"].iloc[0], analysis.genomes_of(frame)[0]


def offered(frames: Sequence[Frame], limits: Sequence[Limit]) -> set[str]:
    """The ids that `pick` accepts. Each frame holds scores with the same weights, oldest first."""
    if not frames:
        return set()
    frame = newest(analysis.joined(frames))
    return set(frame["id"][is_within(frame, limits)])


def newest(frame: Frame) -> Frame:
    """The newest score of each subnet that has any quality; `weights`: a stage whose weights the scores must have.

    frame: as returned by `load_scores`.
    """
    rows = with_weights(frame).drop_duplicates("id", keep="last")
    qualities = [name for name in rows if is_quality(str(name))]
    return rows[rows[qualities].notna().any(axis=1)] if qualities else rows  # a plugin's are unknown without it


def with_weights(frame: Frame) -> Frame:
    """The frame with `weights`: the stage of each row, or of the other rows of its context for the reference."""
    stages = frame["stage"].where(frame["stage"] != REFERENCE)
    return frame.assign(weights=stages.fillna(stages.groupby(frame["context"]).transform("last")).fillna(STAGES[0]))


def candidates(
    run: RunFolder, objective: Metric, limits: Sequence[Limit], n: int, credit: float | None = None
) -> list[tuple[Stage, Genomes]]:
    """(stage, genome (n_genes,)) of up to n measured subnets within the limits, of all depths and operators.

    credit: for MACs; None: the run's own. InputError if there are none.
    """
    frame = analysis.load_scores(run.folder, objectives=None)
    if objective.name not in frame:
        way_out = f"evolve with --objective {objective.name}"
        raise InputError(f"{objective.name} was never measured in {run.folder}; {way_out}")
    frame = with_weights(frame).dropna(subset=[objective.name])
    frame = within(frame.assign(stage=frame["weights"]), limits, f"the scores in {run.folder}")
    credit = run.recipe.search.macs_credit if credit is None else credit
    chosen = analysis.varied(frame, run.recipe.space, objective, n, credit)
    if chosen.empty:
        raise InputError(f"no stage of {run.folder} has a subnet within the limits; allow more")
    return list(zip(chosen["stage"], analysis.genomes_of(chosen), strict=True))


def within(frame: Frame, limits: Sequence[Limit], where: str) -> Frame:
    """The rows that meet the limits. where: a description of the rows. InputError if there is none."""
    for limit in limits:
        if limit.metric.name not in frame:
            raise InputError(f"{limit.metric.name} was never measured for {where}; limit another metric")
    kept = frame[is_within(frame, limits)]
    if kept.empty:
        words = " and ".join(map(str, limits)) or "finite scores"
        raise InputError(f"no subnet of {where} has {words}; allow more")
    return kept


def is_within(frame: Frame, limits: Sequence[Limit]) -> NDArray[np.bool_]:
    """Which rows meet the limits; rows without a limited metric don't."""
    kept = np.ones(len(frame), dtype=bool)
    for limit in limits:
        known = frame[limit.metric.name] if limit.metric.name in frame else np.full(len(frame), np.nan)
        kept &= limit.violation(np.asarray(known, dtype=float)) <= 0
    return kept
