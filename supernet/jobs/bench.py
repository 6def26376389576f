"""Costs on this machine, as ratios from alternating runs, so that a drifting machine cancels out."""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor, nn

from evo_c2f.space import Architecture
from supernet.jobs.job import Job
from supernet.metrics.latency import latency_ms, measure_table
from supernet.network.generator import Supernet
from supernet.rounds.fairness import FairRounds
from supernet.rounds.students import SharedSubnets
from supernet.timing import seconds, timed
from supernet.training.criterion import Criterion, L1Alone, Terms
from supernet.training.loop import Crew, fair_gradients
from supernet.training.optimizer import OPTIMIZERS, is_matrix, make_optimizer, step_used

RANDOM_SUBNETS = 20
BLOCKS, STEPS = 5, 8


def bench(job: Job, names: list[str], output_size: tuple[int, int], say: Callable[[str], None]) -> dict[str, Any]:
    """Step rates inside the supernet against plain modules, and the cost of a round and of an evaluation."""
    low, high = (t.to(job.device, memory_format=torch.channels_last) for t in job.data.training((job.seed,))[0])
    supernet = job.supernet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    space = job.space
    results: dict[str, Any] = {"device": str(job.device), "threads": torch.get_num_threads()}

    widest = space.decode(space.reference)
    results["widest_rate_ratio"] = step_ratio(job, supernet, widest, low, high)
    say(f"step rate of the widest subnet in the supernet / as a plain module: {results['widest_rate_ratio']:.3f}")
    subnets = [space.decode(g) for g in space.random(RANDOM_SUBNETS, np.random.default_rng(job.seed))]
    ratios = [step_ratio(job, supernet, subnet, low, high) for subnet in subnets]
    results["random_rate_ratios"] = ratios
    say(f"the same of {RANDOM_SUBNETS} random subnets: median {median(ratios):.3f}, lowest {min(ratios):.3f}")

    rounds = FairRounds(space, "joint", None, np.random.default_rng(job.seed))
    students, criterion = SharedSubnets(supernet, rounds), Criterion(Terms(L1Alone()))
    optimizer = torch.optim.Adam(supernet.parameters(), lr=1e-6, fused=True)

    def one_round() -> None:
        criterion.begin(0, low, high)
        networks, used = students.deal()
        fair_gradients(networks, used, low, criterion, side_by_side)
        step_used(optimizer, used)

    with Crew(job.device) as side_by_side:
        results["round_ms"] = timed(one_round, job.device)
    say(f"a round of {space.n_levels + 1} subnets: {results['round_ms']:.1f} ms")
    measure = job.measure(supernet, names, output_size)
    results["evaluation_ms"] = timed(lambda: measure([widest]), job.device)
    say(f"an evaluation of the widest subnet: {results['evaluation_ms']:.1f} ms")
    results["optimizer_ms"] = optimizer_steps(supernet.extract(widest))
    steps = ", ".join(f"{name} {ms:.1f} ms" for name, ms in results["optimizer_ms"].items())
    say(f"a step of the optimiser over the widest subnet: {steps}")
    return results


def bench_latencies(job: Job, output_size: tuple[int, int], out: Path, say: Callable[[str], None]) -> dict[str, float]:
    """Write the latency of every part of the space, and measure how well their sums rank whole networks."""
    table = measure_table(job.space, job.task.frame, output_size, job.device)
    table.save(out)
    genomes = job.space.random(RANDOM_SUBNETS, np.random.default_rng(job.seed))
    architectures = [job.space.decode(genome) for genome in genomes]
    supernet = job.supernet()
    whole = [latency_ms(supernet, architecture, output_size) for architecture in architectures]
    added = [table(architecture) for architecture in architectures]
    rank = float(spearmanr(whole, added).statistic)
    ratio = median(a / w for a, w in zip(added, whole, strict=True))
    say(
        f"{out}: {len(table.ms)} parts; of {RANDOM_SUBNETS} random subnets, the sums and the whole networks' latencies "
        f"have rank correlation {rank:.3f}, and the sum is {ratio:.2f} of the whole (median)"
    )
    return {"latency_rank_correlation": rank, "latency_sum_ratio": ratio}


def optimizer_steps(network: nn.Module) -> dict[str, float]:
    """Milliseconds of a step by each optimiser; torch's own Muon (from 2.9 on) gets only the matrices, flattened."""
    parameters = list(network.parameters())
    matrices = [nn.Parameter(p.detach().flatten(1)) for p in parameters if is_matrix(p)]
    for parameter in (*parameters, *matrices):
        parameter.grad = torch.ones_like(parameter)
    optimizers: dict[str, torch.optim.Optimizer] = {
        name: make_optimizer(name, parameters, 1e-6, (0.9, 0.99)) for name in OPTIMIZERS
    }
    if hasattr(torch.optim, "Muon"):
        optimizers["torch.optim.Muon"] = torch.optim.Muon(matrices, lr=1e-6, weight_decay=0)
    device = parameters[0].device
    return {name: timed(optimizer.step, device) for name, optimizer in optimizers.items()}


def step_ratio(job: Job, supernet: Supernet, architecture: Architecture, low: Tensor, high: Tensor) -> float:
    """Training steps a second of a subnet inside the supernet, relative to the same network as a plain module."""
    plain = supernet.extract(architecture).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def stepper(
        model: nn.Module, forward: Callable[[], Tensor], used: Callable[[], list[nn.Parameter]]
    ) -> Callable[[], float]:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-6, fused=True)

        def step() -> float:
            loss = F.l1_loss(forward(), high)
            loss.backward()
            step_used(optimizer, used())
            return loss.item()

        return step

    # In blocks, as training runs: steps that alternate between two models push each other out of the caches.
    parameters = list(plain.parameters())
    steps = {
        "alone": stepper(plain, lambda: plain(low), lambda: parameters),
        "inside": stepper(supernet, lambda: supernet(low, architecture), lambda: supernet.used([architecture])),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(BLOCKS):
        for name, step in steps.items():
            times[name] += [seconds(step, job.device) for _ in range(STEPS + 2)][2:]
    return median(times["alone"]) / median(times["inside"])
