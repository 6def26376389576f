"""Training: one loop for the supernet's fair rounds and for a network alone, adversarial or not."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from evo_c2f.errors import InputError
from supernet import checkpoint
from supernet.rounds.students import Forward
from supernet.training.captured import Captured, Round, can_be_recorded
from supernet.training.criterion import Criterion
from supernet.training.learning import Learning
from supernet.training.optimizer import step_used
from supernet.training.precision import backward, casting

SECONDS_BETWEEN_SAVES = 60.0
ROUNDS_BETWEEN_SNAPSHOTS = 200

Learned = tuple[Tensor, Tensor, tuple[Tensor | None, ...]]  # a network's loss, output and gradients
Map = Callable[[Callable[[Forward], Learned], Sequence[Forward]], Iterable[Learned]]


class Batches(Protocol):
    """(source, target) by the number of the round, in 0..1: this process's part of the round's batch."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]: ...


def train(
    learning: Learning,
    batches: Batches,
    state: Path,
    on_round: Callable[[int, float], None],
    on_setback: Callable[[int, str], None] = lambda index, trouble: None,
    notes: dict[str, Any] | None = None,
    a_round: Round | None = None,
) -> dict[str, Tensor]:
    """Train in place for the settings' number of rounds; returns the averaged weights, for evaluation.

    Each round runs its networks on one batch, accumulates their gradients, makes one update, and then one update of the
    discriminator on all their outputs. on_round(index, mean loss) follows each round; a KeyboardInterrupt raised in it
    saves the state and stops the training. The state is also saved once a minute; if its file exists, training resumes
    from it. If a loss is no longer finite, or the discriminator wins outright, training returns to its last good state,
    at most 200 rounds old, and calls on_setback(index, why).
    notes: the caller's additions to the state, as JSON; their `seconds` count the training time, without on_round.
    a_round: makes each round's update, in place of `one_round`.
    If several processes train together, only the first one saves and calls back; all restore the state that it reads.
    """
    ranks, rounds, device = learning.ranks, learning.settings.rounds, learning.parameters[0].device
    notes = {} if notes is None else notes
    notes.setdefault("seconds", 0.0)
    take_up(learning, state, notes)

    def save() -> None:
        tensors, metadata = learning.state()
        checkpoint.save(state, tensors, {**metadata, "notes": notes})

    good, saved = learning.snapshot(), time.monotonic()
    with Crew(device, ranks.here) as side_by_side:
        usual: Round = partial(one_round, learning, side_by_side=side_by_side)
        a_round = a_round or (Captured(learning, usual, recordable_round) if can_be_recorded(learning) else usual)
        while learning.index < rounds:
            started = time.monotonic()
            source, target = (t.to(device, memory_format=torch.channels_last) for t in batches[learning.index])
            loss, trouble = a_round(source, target)
            notes["seconds"] += time.monotonic() - started
            if trouble:
                if ranks.first:
                    on_setback(learning.index, trouble)
                learning.go_back(good, trouble)
                continue
            learning.index += 1
            if learning.index % ROUNDS_BETWEEN_SNAPSHOTS == 0:
                good = learning.snapshot()
            if ranks.first:
                try:
                    on_round(learning.index, loss)
                except KeyboardInterrupt:
                    learning.asked_to_stop = True
            if ranks.count == 1 or learning.index == rounds:
                learning.hear()
            if learning.stops:
                ranks.from_first(save)  # the others wait: when one process ends, torchrun ends the rest
                raise KeyboardInterrupt
            if ranks.first and time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                save()
                saved = time.monotonic()
    return learning.average


def take_up(learning: Learning, state: Path, notes: dict[str, Any]) -> None:
    """Resume from the file `state`, with its notes, if it exists. InputError if it is of another kind."""
    before = learning.ranks.from_first(lambda: checkpoint.load(state) if state.exists() else None)
    if before is None:
        return
    tensors, metadata = before
    try:
        learning.restore(tensors, metadata)
    except InputError as error:
        raise InputError(f"{error}; remove {state} to train from the beginning") from None
    notes.update(metadata["notes"])


class Crew:
    """A `map` that runs a round's networks in parallel if there are several CPU threads.

    One small network can't use them all, so each network gets a share of them. Use it in a `with`.
    """

    def __init__(self, device: torch.device, processes: int = 1):
        """processes: the number on this machine, which share its threads."""
        self.before = torch.get_num_threads()
        self.share = max(1, self.before // processes)
        self.threads = self.share if device.type == "cpu" else 1
        self.pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> "Crew":
        torch.set_num_threads(self.share)
        return self

    def __exit__(self, *error: object) -> None:
        torch.set_num_threads(self.before)
        if self.pool:
            self.pool.shutdown()

    def __call__(self, work: Callable[[Forward], Learned], networks: Sequence[Forward]) -> Iterator[Learned]:
        workers = min(self.threads, len(networks))
        if workers == 1:
            return map(work, networks)
        if self.pool is None:
            share = self.threads // workers
            self.pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(share,))
        return self.pool.map(work, networks)


def one_round(learning: Learning, source: Tensor, target: Tensor, side_by_side: Map = map) -> tuple[float, str | None]:
    """One update of all networks; returns (mean loss, the problem, if any, in words)."""
    criterion, students, ranks = learning.criterion, learning.students, learning.ranks
    rate, cast = learning.set_rate(), partial(casting, source.device, learning.settings.precision)
    with cast():
        criterion.begin(learning.index, source, target, ranks)
    networks, used = students.deal()
    with backward(learning.settings.precision):
        losses, outputs = fair_gradients(networks, used, source, criterion, side_by_side, cast)
    loss = sum(torch.stack(losses).tolist())  # a GPU is waited for here, and by a discriminator
    (loss,) = learning.hear(loss, of=used)
    students.settle()
    if not math.isfinite(loss):
        for parameter in used:
            parameter.grad = None
        return loss, "the loss is not finite"
    step_used(learning.optimizer, used)
    update_average(list(learning.average.values()), learning.parameters, learning.average_weight())
    with cast():
        return loss, criterion.finish(outputs, rate, ranks)


def recordable_round(learning: Learning, source: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """One update of one network, whatever its loss is; returns the loss. Nothing in it waits for the GPU.

    weight: of the new weights in the EMA. The learning rate is set before.
    """
    criterion, cast = learning.criterion, partial(casting, source.device, learning.settings.precision)
    with cast():
        criterion.begin(learning.index, source, target)
    networks, used = learning.students.deal()
    with backward(learning.settings.precision):
        (loss,), _ = fair_gradients(networks, used, source, criterion, casting=cast)
    step_used(learning.optimizer, used)
    update_average(list(learning.average.values()), learning.parameters, weight)
    return loss


def fair_gradients(
    networks: Sequence[Forward],
    used: Sequence[nn.Parameter],
    source: Tensor,
    criterion: Criterion,
    side_by_side: Map = map,
    casting: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> tuple[list[Tensor], list[Tensor]]:
    """Fill the gradients of the used parameters, all None before, from a round's networks on the criterion's batch.

    Returns each network's part of their mean loss, and their outputs. Each network's gradients stay separate until they
    are added in the order of the networks, so the sum doesn't depend on which finished first. Unused parameters keep
    `grad = None`, so that no momentum moves them.
    """

    def learn(network: Forward) -> Learned:
        with casting():
            output = network(source).float()
            loss = criterion.loss(output) / len(networks)
        return loss.detach(), output.detach(), torch.autograd.grad(loss, used, allow_unused=True)

    losses, outputs = [], []
    for loss, output, gradients in side_by_side(learn, networks):
        losses.append(loss)
        outputs.append(output)
        add_gradients(used, gradients)
    return losses, outputs


def add_gradients(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    """Add to the existing gradients; in one call for all, since a GPU would wait for hundreds of small ones."""
    pairs = [(p, gradient) for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None]
    known = [(p.grad, gradient) for p, gradient in pairs if p.grad is not None]
    fresh = [(p, gradient) for p, gradient in pairs if p.grad is None]
    if known:
        torch._foreach_add_(*map(list, zip(*known, strict=True)))
    for parameter, _ in fresh:
        # The fused step walks the memory: a gradient must lie in it as its parameter does.
        parameter.grad = torch.empty_like(parameter)
    if fresh:
        torch._foreach_copy_([p.grad for p, _ in fresh if p.grad is not None], [gradient for _, gradient in fresh])


@torch.no_grad()
def update_average(average: list[Tensor], parameters: list[nn.Parameter], weight: float | Tensor) -> None:
    """Move the EMA towards the weights."""
    if isinstance(weight, Tensor):  # a recorded round reads it anew each time
        changes = torch._foreach_sub(tuple(parameters), average)
        torch._foreach_mul_(changes, weight)
        torch._foreach_add_(average, changes)
    else:
        torch._foreach_lerp_(average, tuple(parameters), weight)
