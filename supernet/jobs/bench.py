"""Costs on this machine, as ratios from alternating runs, so that a drifting machine cancels out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from evo_c2f.space import Architecture
from supernet.jobs.job import Job
from supernet.latency.table import measure_table
from supernet.latency.whole import Timer, together_ms, torch_ms
from supernet.network.generator import Supernet
from supernet.rounds.fairness import FairRounds
from supernet.rounds.students import Alone, SharedSubnets, Students
from supernet.timing import seconds, timed
from supernet.training import loop
from supernet.training.captured import WARM_UPS, Captured, Round, can_be_recorded
from supernet.training.criterion import Criterion, L1Alone, Terms
from supernet.training.learning import Learning
from supernet.training.loop import Crew, fair_gradients
from supernet.training.optimizer import OPTIMIZERS, is_matrix, make_optimizer, step_used
from supernet.training.precision import backward, casting

if TYPE_CHECKING:
    from evo_c2f.sections.training import TrainingSection

RANDOM_SUBNETS = 20
COMPARED = 40  # random subnets whose latencies are compared with the sums of a table
BLOCKS, STEPS = 5, 8
SPEED_ROUNDS = 20
Step = Callable[[int], object]


def bench(
    job: Job, how: TrainingSection, names: list[str], output_size: tuple[int, int], say: Callable[[str], None]
) -> dict[str, Any]:
    """Step rates inside the supernet against plain modules, and the cost of a round and of an evaluation."""
    low, high = (t.to(job.device, memory_format=torch.channels_last) for t in job.data.training((job.seed,))[0])
    high = own(job, high)
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
    students, criterion = SharedSubnets(supernet, rounds), l1_of(job)
    optimizer = torch.optim.Adam(supernet.parameters(), lr=1e-6, fused=True)

    def one_round() -> None:
        criterion.begin(0, low, high)
        networks, used = students.deal()
        fair_gradients(networks, used, low, criterion, side_by_side)
        step_used(optimizer, used)

    with Crew(job.device) as side_by_side:
        results["round_ms"] = timed(one_round, job.device)
    say(f"a round of {space.n_levels + 1} subnets: {results['round_ms']:.1f} ms")
    results["alone"] = bench_alone(job, how, low, say)
    measure = job.measure(supernet, names, output_size)
    results["evaluation_ms"] = timed(lambda: measure([widest]), job.device)
    say(f"an evaluation of the widest subnet: {results['evaluation_ms']:.1f} ms")
    results["optimizer_ms"] = optimizer_steps(supernet.extract(widest))
    steps = ", ".join(f"{name} {ms:.1f} ms" for name, ms in results["optimizer_ms"].items())
    say(f"a step of the optimiser over the widest subnet: {steps}")
    return results


def l1_of(job: Job) -> Criterion:
    """L1 to the targets of the job's task."""
    return Criterion(Terms(L1Alone()), channels=job.task.frame.output_channels)


def own(job: Job, target: Tensor) -> Tensor:
    """The channels of the target itself, without the real pictures that stand beside it where there are no pairs."""
    return target[:, : job.task.frame.output_channels]


def bench_alone(
    job: Job, how: TrainingSection, source: Tensor, say: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """The speed of the widest network's training alone, by the project's loop and by a plain one."""
    batch, side = source.shape[0], source.shape[-1]
    widest = job.space.decode(job.space.reference)
    loops = {"ours": partial(our_loop, job), "plain torch": partial(plain_loop, job)}
    found = dict[str, dict[str, float]]()
    for name, make in loops.items():
        row = found[name] = speed(make(job.fresh(widest), how, side, batch), batch, SPEED_ROUNDS, job.device)
        words = f"the widest network alone, {name}: {row['images_per_s']:.0f} images a second"
        busy = f", the GPU busy {row['busy']:.0%}, {row['peak_mb']:.0f} MB at most" if "busy" in row else ""
        say(words + busy)
    return found


def speed(step: Step, images: int, rounds: int, device: torch.device) -> dict[str, float]:
    """Images and rounds a second, the share of the time in which kernels ran, and the peak memory of some steps."""
    for index in range(2 * WARM_UPS):
        step(index)
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # the warm-up's kernels are not timed
        torch.cuda.reset_peak_memory_stats(device)
    took = seconds(lambda: [step(index) for index in range(rounds)], device)
    row = {"images_per_s": images * rounds / took, "rounds_per_s": rounds / took}
    if device.type == "cuda":
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            traced = seconds(lambda: [step(index) for index in range(rounds)], device)
        kernels = sum(event.self_device_time_total for event in profiler.key_averages())
        row |= {"busy": kernels / 1e6 / traced, "peak_mb": torch.cuda.max_memory_allocated(device) / 1e6}
    return row


def our_loop(
    job: Job, network: nn.Module, how: TrainingSection, side: int, batch: int, recorded: bool | None = None
) -> Step:
    """A round of the project's loop by L1: its batch, its update, its EMA.

    recorded: as a CUDA graph; None: where that works.
    """
    batches = job.batches(3, side, batch)
    students: Students = Alone(network)
    if isinstance(network, Supernet):
        students = SharedSubnets(network, FairRounds(job.space, "joint", None, np.random.default_rng(0)))
    learning = Learning(students, l1_of(job), how)
    run: Round = partial(loop.one_round, learning)
    if can_be_recorded(learning) if recorded is None else recorded:
        run = Captured(learning, run, loop.recordable_round)

    def step(index: int) -> object:
        source, target = (t.to(job.device, memory_format=torch.channels_last) for t in batches[index])
        learning.index += 1
        return run(source, target)

    return step


def plain_loop(job: Job, network: nn.Module, how: TrainingSection, side: int, batch: int) -> Step:
    """The loop that one writes by hand around the same network: always on the same batch, and without an EMA."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    source, target = (t.to(job.device) for t in job.data.training((job.seed, 0, 3), side, batch)[0])
    target = own(job, target)
    optimizer = make_optimizer(how.optimizer, list(network.parameters()), how.learning_rate, (0.9, 0.99))

    def step(index: int) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with casting(job.device, how.precision):
            output = network(source).float()
        loss = F.l1_loss(output, target)
        with backward(how.precision):
            loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def bench_latencies(job: Job, output_size: tuple[int, int], out: Path, say: Callable[[str], None]) -> dict[str, float]:
    """Write the latency of every part of the space, and compare with whole networks: exported ones, and torch's."""
    table = measure_table(job.space, job.task.frame, output_size, job.device)
    table.save(out)
    say(f"{out}: {len(table.ms)} parts")
    genomes = job.space.random(COMPARED, np.random.default_rng(job.seed))
    architectures = [job.space.decode(genome) for genome in genomes]
    supernet = job.supernet()
    whole = together_ms(supernet, output_size, architectures)
    others: dict[str, Timer] = {"by table": table, "in torch": partial(torch_ms, supernet, output_size)}
    results: dict[str, float] = {}
    for name, other in others.items():
        ms = [other(architecture) for architecture in architectures]
        rank = float(spearmanr(whole, ms).statistic)
        ratio = median(o / w for o, w in zip(ms, whole, strict=True))
        say(
            f"latencies of {COMPARED} random subnets {name}: rank correlation {rank:.3f} with those of the exported "
            f"files, {ratio:.2f} times as long (median)"
        )
        results |= {f"{name}: rank_correlation": rank, f"{name}: ratio": ratio}
    return results


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
