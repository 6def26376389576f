"""Tests which operators are worth their cost, and whether a supernet distinguishes them, on networks of one operator
each.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evo_c2f.scores import analysis
from evo_c2f.space import Genomes, SearchSpace
from evo_c2f.studies import ranking
from evo_c2f.studies.study import Instrument, Laboratory, chances, measuring, scores

# Operators whose shared scores spread over less than this share of what they do alone are not told apart. Measured in
# `quick`, 900 rounds alone: 0.20 with the joint weights (tau -0.14), 0.43 with those of the operator stage (tau 0.71).
UNSEEN = 0.25


def single_operator_networks(space: SearchSpace, n_costs: int) -> tuple[list[str], Genomes]:
    """The reference path with one operator in all cells, at the n_costs widest trunks.

    Operators (n,) and genomes (n, n_genes). Inner widths are full. A level with fewer widths keeps its narrowest.
    """
    names, genomes = [], []
    for gene, operator in enumerate(space.operators):
        for step in range(n_costs):
            genome = space.reference.copy()
            genome[space.blocks] = gene
            genome[space.trunks] = [max(len(space.widths[level]) - 1 - step, 0) for level in space.levels]
            names.append(operator)
            genomes.append(genome)
    kept, first = np.unique(space.canonical(np.array(genomes)), axis=0, return_index=True)
    order = np.argsort(first)
    return [names[i] for i in first[order]], kept[order]


def study_operators(
    lab: Laboratory,
    lengths: Sequence[tuple[int, Instrument]],
    shared: Instrument,
    n_costs: int,
    path: Path,
    after_each: Callable[[], None] = lambda: None,
) -> analysis.Frame:
    """One row a network: operator, MACs, its quality after each length of training alone, its shared score.

    lengths: (rounds, measure that trains alone for so long), ascending. All qualities are gains: higher is better.
    """
    operators, genomes = single_operator_networks(lab.space, n_costs)
    macs = [lab.costs(lab.space.decode(genome))["macs"] for genome in genomes]
    columns: dict[str, Any] = {"operator": operators, "macs": macs}
    for rounds, alone in lengths:
        with measuring(lab.space, path, alone, lab.workers) as evaluator:
            columns[f"alone_{rounds}"] = scores(evaluator, genomes, "alone", after_each)[lab.quality]
    with measuring(lab.space, path, shared) as evaluator:
        columns["shared"] = scores(evaluator, genomes, "operator")[lab.quality]
    return analysis.sample_frame(lab.space, genomes, columns)


def operators_table(lab: Laboratory, frame: analysis.Frame, rounds: Sequence[int]) -> list[dict[str, Any]]:
    """One row an operator, best first: means over its networks, and the rank error of shared scores.

    rank_error: rank by shared score minus rank by the longest training alone, as a share of all ranks; positive if the
    supernet rates the operator too high. low, high: its 95 % bootstrap interval over the operator's networks.
    dominated: for each of its networks, another operator has one that is better alone and costs no more.
    """
    last = f"alone_{rounds[-1]}"
    frame = frame.assign(rank_error=ranking.rank_error(frame["shared"].to_numpy(), frame[last].to_numpy()))
    rows = []
    for operator, mine in frame.groupby("operator", sort=False):
        others = frame[frame["operator"] != operator]
        beaten = [
            bool(((others[last] > gain) & (others["macs"] <= macs)).any())
            for gain, macs in zip(mine[last], mine["macs"], strict=True)
        ]
        means = {name: float(mine[name].mean()) for name in ("macs", *(f"alone_{n}" for n in rounds), "shared")}
        error = ranking.mean_error(mine["rank_error"].to_numpy(), chances(lab))
        rows.append({"operator": operator, "networks": len(mine), **means, **error, "dominated": all(beaten)})
    return sorted(rows, key=lambda row: -row[last])


def operators_summary(lab: Laboratory, frame: analysis.Frame, rounds: Sequence[int]) -> dict[str, float]:
    """Tau of shared scores, of MACs and of the shortest training against the longest; and `sight`.

    tau_near: the mean within thirds by MACs.
    """
    truth, shared = frame[f"alone_{rounds[-1]}"].to_numpy(), frame["shared"].to_numpy()
    found = ranking.compare(shared, truth, frame["macs"].to_numpy(), chances(lab))
    return {
        "networks": len(frame),
        "tau": found.tau,
        "low": found.low,
        "high": found.high,
        "tau_near": float(np.nanmean([band[0] for band in found.bands])),
        "tau_macs": float(ranking.tau(frame["macs"].to_numpy(), truth)),
        "tau_short": float(ranking.tau(frame[f"alone_{rounds[0]}"].to_numpy(), truth)),
        **sight(lab, frame, rounds[-1]),
    }


def sight(lab: Laboratory, frame: analysis.Frame, rounds: int) -> dict[str, float]:
    """Whether the supernet distinguishes operators; without the reference, which some samplers train most.

    tau_others: of shared scores against so many rounds alone. spread: the largest difference of shared scores between
    two operators at full width; spread_alone: the same for training alone.
    """
    others = frame[frame["operator"] != lab.space.reference_operator]
    shared, truth = others["shared"].to_numpy(), others[f"alone_{rounds}"].to_numpy()
    widest = others.groupby("operator").first()
    return {
        "tau_others": float(ranking.tau(shared, truth)),
        "spread": float(np.ptp(widest["shared"])),
        "spread_alone": float(np.ptp(widest[f"alone_{rounds}"])),
    }


def sees_operators(found: Mapping[str, float]) -> bool:
    """Whether, by `sight`'s result, the order agrees at all with training alone, and scores are not nearly equal."""
    return found["tau_others"] > 0 and found["spread"] > UNSEEN * found["spread_alone"]
