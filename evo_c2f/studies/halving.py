"""Successive halving: short trainings of many candidates, longer ones of the better half (arXiv 1502.07943)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite

from evo_c2f.errors import FailedError

LONGEST = 3  # rungs: the first trains on a quarter of the last one's images


@dataclass(frozen=True)
class Trial:
    """A candidate in one rung: its training images, its score, and whether it went on."""

    candidate: str
    images: int
    score: float
    goes_on: bool


def rungs(n: int, images: int) -> list[tuple[int, int]]:
    """(candidates, images for each) of each rung, from n candidates down to one.

    Each rung halves the candidates and doubles the images, up to `images`. No rung for a single candidate.
    """
    number = 0
    while number < LONGEST and (n - 1) >> number:
        number += 1
    found, left = [], n
    for rung in range(number):
        found.append((left, max(1, images >> (number - 1 - rung))))
        left = -(-left // 2)
    return found


def successive_halving(
    candidates: Sequence[str], images: int, train: Callable[[Sequence[str], int], Sequence[float]], sign: int
) -> tuple[str, list[Trial]]:
    """The best candidate, and all trials in order.

    train(candidates, images): trains each from scratch on so many images, and returns their scores. A score is better
    if sign * score is lower; one that is not finite is the worst. The first candidate wins ties. A single candidate is
    not trained. FailedError if no score is finite.
    """
    left, trials = list(candidates), list[Trial]()
    plan = rungs(len(left), images)
    for rung, (_, seen) in enumerate(plan):
        scores = dict(zip(left, train(left, seen), strict=True))
        if not any(map(isfinite, scores.values())):
            raise FailedError(f"none of {len(left)} candidates could be trained; try a lower finetune.learning_rate")
        order = sorted(left, key=lambda name: sign * scores[name] if isfinite(scores[name]) else inf)
        kept = order[: 1 if rung == len(plan) - 1 else -(-len(left) // 2)]
        trials += [Trial(name, seen, scores[name], name in kept) for name in left]
        left = [name for name in left if name in kept]
    return left[0], trials
