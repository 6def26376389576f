"""One stage of a run from start to end: seeds, search, final scores, front, picture."""

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from evo_c2f.engine.budget import Budget
from evo_c2f.engine.problem import Costs, Judge
from evo_c2f.engine.search import Progress, Scored, StageResult, best_front, evolve, fix_box
from evo_c2f.engine.stage_setup import StageSetup
from evo_c2f.engine.steady import Order
from evo_c2f.engine.variation import different
from evo_c2f.errors import DamagedFileError
from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.objectives.metric import on_whole_images
from evo_c2f.runs.recipe import evaluations, survivors
from evo_c2f.runs.run import RunFolder
from evo_c2f.scores import analysis
from evo_c2f.scores.layout import Context
from evo_c2f.scores.store import ScoreStore
from evo_c2f.space import STAGES, Genomes, Stage, genome_texts
from evo_c2f.workers.evaluator import Evaluator
from evo_c2f.workers.processes import Here, Measure, Task, Workers


@dataclass(frozen=True)
class Instruments:
    """The measures that the supernet's side provides to the search.

    search: the cheap measure of every candidate, with the metrics `names`; full: that of a final front, with
    `full_names`; int8: of the same in 8 bits, if wanted. baseline: the baseline's qualities, under both names.
    """

    search: Measure
    names: tuple[str, ...]
    full: Measure
    full_names: tuple[str, ...]
    baseline: Mapping[str, float]
    costs: Costs
    context: Context
    hire: Callable[[Task], Workers] = Here  # for the candidates; a final front is measured by this process
    int8: Measure | None = None
    int8_names: tuple[str, ...] = ()
    retry_failed: bool = False  # whether what failed before is measured again


@dataclass(frozen=True)
class Summary:
    """The result of a stage, for people and for JSON; `worst`: each quality's worst value among all its subnets."""

    stage: Stage
    front: list[dict[str, Any]]
    baseline: dict[str, float]
    worst: dict[str, float]
    asked: int
    measured: int
    hypervolume_before: float
    hypervolume: float
    seconds: float
    overhead: float


def read_survivors(run: RunFolder, stage: Stage) -> Genomes | None:
    """The genomes that the search or training of the stage starts from; None if it starts from none.

    The reference is always among them: it is the deepest, and shared weights rank deep networks too low
    (docs/decisions/0007).

    InputError if the previous front is missing, DamagedFileError if it is not of this space.
    """
    path = run.front_before(stage)
    if path is None:
        return None
    frame = analysis.read_front(path)
    genomes = analysis.genomes_of(frame[frame["survivor"]])
    space = run.recipe.space
    if genomes.shape[1:] != (space.n_genes,) or not space.is_valid(genomes).all():
        raise DamagedFileError(f"{path} holds genomes of another space; evolve that stage again")
    if not (genomes == space.reference).all(axis=1).any():
        genomes = np.concatenate([genomes, space.reference[None]])
    return genomes


def read_asked(run: RunFolder, stage: Stage, tools: Instruments) -> Genomes:
    """The genomes that the earlier searches of this stage's chain asked for, (n, n_genes).

    Not the whole store: it may hold other searches, and the result must not depend on them. None if they were measured
    with other weights, or lack a metric that is wanted now. DamagedFileError if unreadable.
    """
    space, before = run.recipe.space, run.front_before(stage)
    nothing = space.reference[None][:0]
    path = run.asked(before.stem) if before else None
    if path is None or not path.is_file():  # a search by an older version left none
        return nothing
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["context"] != tools.context.key or not set(tools.names) <= set(found["metrics"]):
            return nothing
        genomes = np.frombuffer(bytes.fromhex("".join(found["genomes"])), dtype=np.uint8).reshape(-1, space.n_genes)
        if not space.is_valid(genomes).all():
            raise ValueError("it holds genomes of another space")
        return genomes
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(f"{path} is damaged ({error}); evolve that stage again") from None


def write_asked(path: Path, tools: Instruments, genomes: Genomes) -> None:
    """Write the file that `read_asked` reads."""
    found = {"context": tools.context.key, "metrics": tools.names, "genomes": genome_texts(genomes)}
    write_text(path, to_json(found) + "\n")


def run_stage(
    run: RunFolder,
    stage: Stage,
    tools: Instruments,
    seed: int,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_front: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Search the stage and write its front, as CSV and as a picture, into the run.

    run: its recipe may differ from the stored one in its search settings.
    on_front: called with (done, total) after each measurement of the final front; an error that it raises stops it.
    InputError if no subnet meets the limits.
    """
    recipe, how, space = run.recipe, run.recipe.search, run.recipe.space
    objectives, limits = how.metrics(), how.limits()
    seeds = read_survivors(run, stage)
    seeds = space.reference[None] if seeds is None else seeds
    judge = Judge(space, stage, tools.names, objectives, limits, tools.costs, how.macs_credit)
    notes = {"baseline": dict(tools.baseline), "recipe": recipe.name}
    with (
        closing(tools.hire(Task(tools.search, tools.names, how.timeout))) as workers,
        ScoreStore(run.scores, tools.context, notes) as store,
    ):
        evaluator = Evaluator(space, store, workers, tools.retry_failed)
        box, widest = fix_box(evaluator, objectives, tools.baseline)
        known = different(np.concatenate([space.reference[None], read_asked(run, stage, tools)]))
        earlier = Scored(known, np.array([evaluator.values(genome) for genome in known]))
        rng = np.random.default_rng([seed, 2, (*STAGES, "joint").index(stage)])
        budget = Budget(evaluations(recipe, stage), how.population, how.algorithm, how.screen, survivors(recipe, stage))
        search = (tools.context, seed, how.population, how.algorithm, seeds.tobytes(), objectives, limits)
        order = Order(run.order(stage), (*search, judge.credit), budget.evaluations) if how.steady_state else None
        setup = StageSetup(stage, seeds, evaluator, judge, budget)
        result = evolve(setup, box, earlier, rng, on_progress, order)
        frame = _front_frame(setup, result, tools, on_front)
    from evo_c2f.runs.plots import draw_front  # matplotlib takes a second to load, and training needs none

    write_asked(run.asked(stage), tools, different(np.concatenate([known, result.genomes])))
    analysis.write_front(frame, run.front(stage))
    everything = analysis.load_scores(run.scores, objectives=None)
    everything = everything[everything["context"] == tools.context.key]
    title = f"{recipe.name}: after the {stage} stage"
    draw_front(everything, frame, objectives, tools.baseline, widest, title, run.front(stage, "png"))
    return Summary(
        stage,
        analysis.records(frame.drop(columns=["genome", "survivor"])),
        dict(tools.baseline),
        {
            o.name: float(o.sign * np.nanmax(o.sign * column))
            for o, column in zip(objectives, judge.values(result.metrics).T, strict=True)
            if o.kind == "quality"
        },
        len(result.genomes),
        result.n_measured,
        *result.hypervolumes,
        result.seconds,
        result.overhead,
    )


def _front_frame(
    setup: StageSetup, result: StageResult, tools: Instruments, on_front: Callable[[int, int], None]
) -> analysis.Frame:
    """The stage's front, one row a subnet; the last stage's is scored again on the whole images."""
    space, stage, judge, names = setup.space, setup.stage, setup.judge, tools.names
    genomes, metrics = result.genomes[result.front], result.metrics[result.front]
    if not space.still_open(stage).any():
        whole = Evaluator(space, setup.evaluator.store, Here(Task(tools.full, tools.full_names)), tools.retry_failed)
        names = names + tools.full_names
        metrics = np.concatenate([metrics, whole(genomes, stage, 0, counting(on_front, len(genomes)))], axis=1)
        objectives = on_whole_images(judge.objectives)
        final = Judge(space, stage, names, objectives, judge.limits, judge.cheapest.costs, judge.credit)
        kept = best_front(space, genomes, metrics, final, whole.reason)
        genomes, metrics = genomes[kept], metrics[kept]
        if tools.int8:
            workers = Here(Task(tools.int8, tools.int8_names))
            files = Evaluator(space, setup.evaluator.store, workers, tools.retry_failed)
            names = names + tools.int8_names
            metrics = np.concatenate([metrics, files(genomes, stage, 0, counting(on_front, len(genomes)))], axis=1)
    return analysis.front_frame(space, genomes, dict(zip(names, metrics.T, strict=True)), result.survivors)


def counting(on_step: Callable[[int, int], None], total: int) -> Callable[[], None]:
    """A function that calls on_step(1, total), on_step(2, total) and so on."""
    steps = count(1)
    return lambda: on_step(next(steps), total)
