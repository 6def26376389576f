"""The studies: does the supernet rank like training alone, which training ranks best, and which search pays?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evo_c2f.engine.problem import Costs
from evo_c2f.engine.search import fix_box
from evo_c2f.errors import InputError
from evo_c2f.objectives.metric import Metric, credited, metric, minimised
from evo_c2f.scores import analysis
from evo_c2f.scores.layout import Context
from evo_c2f.scores.store import ScoreStore
from evo_c2f.space import Genomes, SearchSpace
from evo_c2f.studies import ranking
from evo_c2f.studies.ranking import Values
from evo_c2f.studies.strategies import Arena, Strategy
from evo_c2f.workers.evaluator import Evaluator
from evo_c2f.workers.processes import Here, Measure, Task, Workers

DRAW, BOOTSTRAP, SEARCH = 3, 4, 6  # streams of the seed
HELD_OUT = 0.6
ROOM = 100  # subnets in a space for each that is searched for: in a smaller one some searches find nothing new

PLAIN = {"sampler": "fair", "divide_gradients": False}
# Ways to train a supernet: the recipe's, with PLAIN and then these changes. Each costs as many MACs as the first.
TRAININGS: dict[str, dict[str, Any]] = {
    "fair": {},
    "fair, divided": {"divide_gradients": True},
    "fair, widest": {"sampler": "fair_widest"},
    "uniform": {"sampler": "uniform"},
    "sandwich": {"sampler": "sandwich"},
}
RIVAL = "joint"  # whose final hypervolume is the goal of the other searches


@dataclass(frozen=True)
class Instrument:
    """A measure, its metrics, the context of its scores, and the baseline's qualities."""

    measure: Measure
    names: tuple[str, ...]
    context: Context
    baseline: Mapping[str, float]


@dataclass(frozen=True)
class Laboratory:
    """The measures that the supernet's side provides to a study.

    alone: seed -> trains each architecture from scratch. shared: (training, seed) -> the supernet with this training,
    and its rounds, seconds and MACs. quality: the compared metric on the search's images; `*_full` exists too.
    own: the recipe's training, None if TRAININGS lacks it. workers: measure, and train alone.
    """

    space: SearchSpace
    costs: Costs
    quality: str
    seed: int
    own: str | None
    alone: Callable[[int], Instrument]
    shared: Callable[[str, int], tuple[Instrument, dict[str, float]]]
    workers: Callable[[Task], Workers] = Here


@dataclass(frozen=True)
class Sample:
    """The architectures of a study, by ascending MACs: genomes (n, n_genes), MACs (n,), and which are held out."""

    genomes: Genomes
    macs: Values
    held_out: NDArray[np.bool_]
    again: NDArray[np.int64]  # which are trained a second time

    @classmethod
    def draw(cls, lab: Laboratory, n: int, n_again: int, on_paths_of: Genomes | None = None) -> "Sample":
        """Only MACs and the seed decide, among all paths or those of some genomes (k, n_genes).

        n_again: how many of the held-out ones are trained twice. InputError if it is more than are held out, or if the
        space has fewer than n.
        """
        rng = np.random.default_rng([lab.seed, DRAW])
        genomes, macs = ranking.draw(lab.space, n, lab.costs, rng, on_paths_of)
        mask = ranking.held_out(n, HELD_OUT, rng)
        places = np.flatnonzero(mask)
        if n_again > len(places):
            raise InputError(f"only {len(places)} of {n} networks are held out to be trained twice; take --again fewer")
        return cls(genomes, macs, mask, places[np.linspace(0, len(places) - 1, n_again).round().astype(int)])


@contextmanager
def measuring(
    space: SearchSpace, path: Path, tool: Instrument, hire: Callable[[Task], Workers] = Here
) -> Iterator[Evaluator]:
    """An evaluator that scores subnets by the instrument. Scores in the store at `path` are not measured again."""
    workers = hire(Task(tool.measure, tool.names))
    with ScoreStore(path, tool.context) as store, closing(workers):
        yield Evaluator(space, store, workers, retry_failed=True)


def scores(
    evaluator: Evaluator, genomes: Genomes, stage: str, after_each: Callable[[], None] = lambda: None
) -> dict[str, Values]:
    """Each quality of the genomes, (n,), as a gain: higher is better. Scores in the evaluator's store are not measured
    again. InputError if a network has none: an order without it would be another sample's.
    """
    names, values = evaluator.names, evaluator(genomes, stage, 0, after_each)
    if failed := np.count_nonzero(~np.isfinite(values).all(axis=1)):
        why = evaluator.reason(genomes) or "its output was not finite; a lower learning rate may help"
        raise InputError(
            f"{failed} of {len(genomes)} networks could not be scored ({why}); the same command tries them again"
        )
    return dict(zip(names, gains(values, names).T, strict=True))


def gains(values: Values, names: Sequence[str]) -> Values:
    """Metrics (n, len(names)) with signs such that higher is better."""
    return -minimised(values, tuple(metric(name) for name in names))


def train_alone(lab: Laboratory, sample: Sample, path: Path, after_each: Callable[[], None]) -> analysis.Frame:
    """One row an architecture: id, MACs, whether it is held out, its quality after training alone, and after a second
    training.
    """
    with measuring(lab.space, path, lab.alone(0), lab.workers) as evaluator:
        first = scores(evaluator, sample.genomes, "alone", after_each)
    second = dict[str, Values]()
    if len(sample.again):
        with measuring(lab.space, path, lab.alone(1), lab.workers) as evaluator:
            second = scores(evaluator, sample.genomes[sample.again], "again", after_each)
    columns = {"macs": sample.macs, "held_out": sample.held_out}
    columns |= {f"alone_{name}": values for name, values in first.items()}
    for name, values in second.items():
        columns[f"again_{name}"] = np.full(len(sample.genomes), np.nan)
        columns[f"again_{name}"][sample.again] = values
    return analysis.sample_frame(lab.space, sample.genomes, columns)


def agreement(
    lab: Laboratory, frame: analysis.Frame, score: Values
) -> Iterator[tuple[str, NDArray[np.int64], ranking.Ranking]]:
    """How well a score (n,) orders the architectures of each part, 'choices' and 'held out', given by their rows."""
    truth, macs = frame[f"alone_{lab.quality}_full"].to_numpy(), frame["macs"].to_numpy()
    for part, at in parts(frame):
        yield part, at, ranking.compare(score[at], truth[at], macs[at], chances(lab))


def parts(frame: analysis.Frame) -> list[tuple[str, NDArray[np.int64]]]:
    """The row numbers of 'choices' and of 'held out'."""
    return [("choices", np.flatnonzero(~frame["held_out"])), ("held out", np.flatnonzero(frame["held_out"]))]


def chances(lab: Laboratory) -> np.random.Generator:
    """A bootstrap's random generator; the same for each bootstrap."""
    return np.random.default_rng([lab.seed, BOOTSTRAP])


def check(
    lab: Laboratory, frame: analysis.Frame, genomes: Genomes, measure: Measure, credit: float
) -> dict[str, float]:
    """Tau, with its interval, of a measure's order of the frame's architectures, credit included; and that of MACs."""
    rows = measure([lab.space.decode(genome) for genome in genomes])
    truth, macs = frame[f"alone_{lab.quality}_full"].to_numpy(), frame["macs"].to_numpy()
    measured = credited(metric(lab.quality), np.array([row[lab.quality] for row in rows]), macs, credit)
    score = gains(measured[:, None], [lab.quality])[:, 0]
    low, high = ranking.interval(score, truth, chances(lab))
    known = {"n": len(rows), "tau": float(ranking.tau(score, truth)), "low": low, "high": high}
    return {**known, "macs": float(ranking.tau(macs, truth))}


def own_training(lab: Laboratory) -> str:
    """The name of the recipe's training. InputError if a study can't train by it."""
    if lab.own is None:
        known = ", ".join(f"'{name}'" for name in TRAININGS)
        raise InputError(
            f"a study trains supernets in one of these ways: {known}; the recipe's training.sampler with its "
            "training.divide_gradients is none of them: --set one of them, or name one with --training"
        )
    return lab.own


def ceiling(lab: Laboratory, frame: analysis.Frame) -> float:
    """Tau between two trainings alone of the same architectures: no score can be expected to agree better."""
    columns = [f"{time}_{lab.quality}_full" for time in ("alone", "again")]
    first, second = frame.dropna(subset=columns)[columns].to_numpy().T
    return float(ranking.tau(first, second))


def study_trainings(
    lab: Laboratory,
    frame: analysis.Frame,
    genomes: Genomes,
    planned: Sequence[tuple[str, int]],
    path: Path,
) -> list[dict[str, Any]]:
    """One row a score and a part of the sample: its tau, and the lead of the recipe's own training with the same seed.
    The means over the seeds follow. planned: trainings and seeds; MACs, as a score, come first. Adds each score to the
    frame as a column.
    """
    costs: dict[tuple[str, int | None], Mapping[str, float]] = {("macs", None): {}}
    for name, number in planned:
        tool, costs[name, number] = lab.shared(name, number)
        with measuring(lab.space, path, tool) as evaluator:
            frame[f"{name} {number}"] = scores(evaluator, genomes, name)[lab.quality]
    rows: list[dict[str, Any]] = []
    truth = frame[f"alone_{lab.quality}_full"].to_numpy()
    for (name, seed), about in costs.items():
        score = frame[name if seed is None else f"{name} {seed}"].to_numpy()
        for part, at, found in agreement(lab, frame, score):
            rows.append({"score": name, "seed": seed, "part": part, **found.columns(), **about})
            if name != lab.own and (lab.own, seed or 0) in costs:
                ours = frame[f"{lab.own} {seed or 0}"].to_numpy()
                rows[-1] |= ranking.lead(ours[None, at], score[None, at], truth[at], chances(lab))
    return rows + means(lab, frame, planned)


def means(lab: Laboratory, frame: analysis.Frame, planned: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    """One row a training with several seeds and a part of the sample: its mean tau, and our lead."""
    truth, columns = frame[f"alone_{lab.quality}_full"].to_numpy(), dict[str, list[str]]()
    for name, number in planned:
        columns.setdefault(name, []).append(f"{name} {number}")
    scores = {name: frame[mine].to_numpy().T for name, mine in columns.items() if len(mine) > 1}
    rows: list[dict[str, Any]] = []
    for name, score in scores.items():
        for part, at in parts(frame):
            rows.append({"score": name, "seed": "all", "part": part, "n": len(at)})
            rows[-1] |= ranking.mean_tau(score[:, at], truth[at], chances(lab))
            if name != lab.own and lab.own in scores:
                rows[-1] |= ranking.lead(scores[lab.own][:, at], score[:, at], truth[at], chances(lab))
    return rows


@dataclass(frozen=True)
class Contest:
    """Search strategies for one trained supernet, with the numbers of seeds, subnets, and subnets in a generation."""

    strategies: Mapping[str, Strategy]
    seeds: int
    evaluations: int
    population: int


def study_search(
    lab: Laboratory, objectives: tuple[Metric, ...], path: Path, contest: Contest, after_each: Callable[[], None]
) -> analysis.Frame:
    """The hypervolume after each distinct subnet: columns strategy, seed, evaluations, hypervolume.

    All strategies use the same scores, stored at `path`, in one box.
    InputError if the space is small.
    """
    if lab.space.n_subnets < ROOM * contest.evaluations:
        raise InputError(
            f"the space holds {lab.space.n_subnets:,} subnets: too few to search for {contest.evaluations}"
        )
    tool, _ = lab.shared(own_training(lab), 0)
    curves: dict[tuple[str, int], Values] = {}
    with measuring(lab.space, path, tool, lab.workers) as evaluator:
        box, _ = fix_box(evaluator, objectives, tool.baseline)
        arena = Arena(lab.space, evaluator, box, lab.costs, contest.evaluations, contest.population)
        for name, strategy in contest.strategies.items():
            for seed in range(contest.seeds):
                curves[name, seed] = arena.curve(strategy, np.random.default_rng([lab.seed, SEARCH, seed]))
                after_each()
    return analysis.curves_frame(curves)


def search_table(frame: analysis.Frame, rival: str) -> list[dict[str, Any]]:
    """One row a strategy: its final hypervolume, and the evaluations until it reached the rival's median final one.

    NaN: half of the seeds or more never reached it.
    """
    goal = final_of(frame[frame["strategy"] == rival]).median()
    rows = []
    for name, mine in frame.groupby("strategy", sort=False):
        final = final_of(mine)
        reached = mine[mine["hypervolume"] >= goal].groupby("seed")["evaluations"].min()
        needed = reached.reindex(final.index).fillna(np.inf).median()
        quartiles = {f"final_q{100 * q:.0f}": float(final.quantile(q)) for q in (0.25, 0.75)}
        rows.append(
            {
                "strategy": name,
                "seeds": len(final),
                "final_median": float(final.median()),
                **quartiles,
                "seeds_that_reach": len(reached),
                "evaluations_to_reach": float(needed) if np.isfinite(needed) else float("nan"),
            }
        )
    return rows


def final_of(frame: analysis.Frame) -> "analysis.Series":
    """The last hypervolume of each seed."""
    return frame.groupby("seed")["hypervolume"].last()
