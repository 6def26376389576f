"""How the shared scores of a searched run order networks that are then trained alone.

    python benchmarks/shared_against_alone.py RUN paths --n 24 --out results/quick
    python benchmarks/shared_against_alone.py RUN subnets --n 60 --out results/quick
    python benchmarks/shared_against_alone.py RUN front --n 8 --out results/quick

paths: with the reference operator at full width. subnets: of the whole space. front: of the channel stage's. All are
spread evenly over the logarithm of their MACs. RUN/alone-KIND.h5 keeps what was trained; it is not trained again.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a file, as cli.py is

from evo_c2f.json_text import to_json
from evo_c2f.objectives import pareto
from evo_c2f.runs import recipe
from evo_c2f.runs.run import RunFolder
from evo_c2f.scores import analysis
from evo_c2f.space import Genomes, Stage
from evo_c2f.space.enumeration import reachable
from evo_c2f.studies import ranking, study
from evo_c2f.studies.study import Instrument, Laboratory
from evo_c2f.workers.machine import Machine
from evo_c2f.workers.processes import Processes
from evo_c2f.workflows.search import instruments
from evo_c2f.workflows.session import Session, make_job
from evo_c2f.workflows.studies.laboratory import laboratory

# What measured the first table of paths and operators; the recipe `quick` has no fine-tuning of its own.
HOW = ("optimizer=muon", "learning_rate=0.002", "final_rate=0.01", "ema=0.99")
CANDIDATES = 8  # paths that are drawn for each that is kept, so that another seed has others
WEIGHTS: dict[str, Stage] = {"paths": "path", "subnets": "path", "front": "channel"}


def macs_of(lab: Laboratory, genomes: Genomes) -> ranking.Values:
    return np.array([lab.costs(lab.space.decode(genome))["macs"] for genome in genomes])


def digits(lab: Laboratory, genome: Genomes) -> str:
    """A path, one digit a cell: 0 skips, else the level."""
    return "".join(map(str, genome[lab.space.paths]))


def networks(lab: Laboratory, run: RunFolder, kind: str, n: int, named: list[str], rng: np.random.Generator) -> Genomes:
    """Those to train, ascending by MACs. named: paths, in place of n drawn ones."""
    if kind == "subnets":
        return ranking.draw(lab.space, n, lab.costs, rng)[0]
    if kind == "front":
        found = analysis.genomes_of(analysis.read_front(run.folder / "fronts" / "channel.csv"))
    else:
        found = np.array(list(reachable(lab.space, "path", lab.space.reference[None])))
        if named:
            found = np.array([genome for genome in found if digits(lab, genome) in named])
            n = len(found)
        else:
            found = found[rng.permutation(len(found))[: CANDIDATES * n]]
    return found[ranking.evenly(macs_of(lab, found), n)]


def operator_errors(lab: Laboratory, genomes: Genomes, errors: ranking.Values) -> dict[str, float]:
    """The mean rank error of each operator: of all networks, by how many of their cells have it."""
    cells = [[cell.operator for cell in lab.space.decode(genome).cells] for genome in genomes]
    counts = {name: np.array([network.count(name) for network in cells]) for name in lab.space.operators}
    return {name: float(np.average(errors, weights=each)) for name, each in counts.items()}


def against_operators(run: RunFolder, frame: pd.DataFrame, rounds: int, bicubic: float) -> dict[str, float]:
    """Hypervolumes in dB x GMACs, below the dearest of both sets and above bicubic, of the front's members and of the
    networks of one operator at the two narrower trunks, which `study operators --costs 3` trained."""
    single = pd.read_csv(run.folder / "operators.csv").groupby("operator").tail(2)
    sets = {
        "front": frame[["alone", "macs"]].to_numpy(),
        "operators": single[[f"alone_{rounds}", "macs"]].to_numpy(),
    }
    corner = np.array([-bicubic, 1.001 * max(values[:, 1].max() for values in sets.values()) / 1e9])
    scale = np.array([-1, 1e-9])
    return {f"hypervolume_{name}": pareto.hypervolume(values * scale, corner) for name, values in sets.items()}


@click.command()
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("kind", type=click.Choice(list(WEIGHTS)))
@click.option("--n", default=24)
@click.option("--path", "named", multiple=True, help="In place of drawn ones: a digit a cell, 0 skips.")
@click.option("--seed", default=77, help="Of the draw.")
@click.option("--training-seed", default=0)
@click.option("--rounds", default=1500)
@click.option("--workers", default=2)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(folder: Path, kind: str, n: int, named: tuple[str, ...], seed: int, training_seed: int, rounds: int,
         workers: int, out: Path) -> None:  # fmt: skip
    """Train networks alone; write KIND.csv and KIND.json to --out."""
    run = RunFolder.open(folder)
    if kind == "front" and not (folder / "operators.csv").is_file():
        raise click.ClickException(f"first 'python cli.py study operators --run {folder} --costs 3'")
    settings = recipe.changed(run.recipe, (f"finetune.rounds={rounds}", *(f"finetune.{change}" for change in HOW)))
    machine = Machine("cpu", threads=1)
    session = Session(run, settings, make_job(settings, machine), machine)
    lab = laboratory(session, partial(Processes, workers, threads=1))
    rng = np.random.default_rng(seed)
    genomes = networks(lab, run, kind, n, list(named), rng)
    tools = instruments(session, WEIGHTS[kind])
    shared = Instrument(tools.search, tools.names, tools.context, tools.baseline)
    store = folder / f"alone-{kind}.h5"
    with (
        study.measuring(lab.space, store, lab.alone(training_seed), lab.workers) as evaluator,
        click.progressbar(length=len(genomes), file=sys.stderr) as bar,
    ):
        alone = study.scores(evaluator, genomes, "alone", partial(bar.update, 1))[lab.quality]
    with study.measuring(lab.space, store, shared) as evaluator:
        score, macs = study.scores(evaluator, genomes, kind)[lab.quality], macs_of(lab, genomes)
    frame = analysis.sample_frame(lab.space, genomes, {"macs": macs, "alone": alone, "shared": score})
    frame.insert(0, "path", [digits(lab, genome) for genome in genomes])
    found: dict[str, Any] = ranking.compare(score, alone, macs, rng).columns()
    found |= {"rounds": rounds, "tau_macs": float(ranking.tau(macs, alone))}
    if kind == "subnets":
        found["rank_errors"] = operator_errors(lab, genomes, ranking.rank_error(score, alone))
    if kind == "front":
        found |= against_operators(run, frame, rounds, tools.baseline[lab.quality])
    out.mkdir(parents=True, exist_ok=True)
    name = f"{kind}-named" if named else kind
    frame.to_csv(out / f"{name}.csv", index=False)
    (out / f"{name}.json").write_text(to_json(found, indent=1) + "\n", encoding="utf-8")
    print(to_json(found, indent=1))


if __name__ == "__main__":
    main()
