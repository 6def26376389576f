"""What test_ranks trains, in one process or in several; as a script, by torchrun: `ranks_worker.py FOLDER`.

Each process writes what it ended with to FOLDER/<name>-<rank>.json.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from supernet_fixtures import (
    SUPER_RESOLUTION,
    TRANSLATION,
    fresh_supernet,
    low_and_high_of,
    random_images,
    small_space,
    training_settings,
)
from torch import Tensor

import cli
from evo_c2f.errors import DamagedFileError
from supernet.batches.patches import PatchPairs
from supernet.data.photographs import load
from supernet.data.picture_files import listed
from supernet.network.discriminator import PatchGan
from supernet.ranks import ALONE, Ranks, join
from supernet.rounds.fairness import FairRounds
from supernet.rounds.students import SharedSubnets
from supernet.training import loop
from supernet.training.adversary import Adversary
from supernet.training.criterion import Criterion, L1Alone, Terms
from supernet.training.learning import Learning
from supernet.training.loop import Batches

ROUNDS = 20
STOP = 7
SPACE = small_space()
TINY = (
    "data.patch=8",
    "data.batch=2",
    "data.crop=48",
    "data.validation_crops=2",
    "data.validation_images=1",
    "training.rounds=120",
    "space.n_cells=2",
    "space.reference_path=[2, 2]",
)


class NoisePairs:
    """Batches of four for translation; in one round the second half of them is NaN, once."""

    def __init__(self, ranks: Ranks, broken: int | None = None):
        self.part, self.broken = ranks.part(4), broken

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        source, target = (random_images(4, 3, 16, 16, seed=2 * index + s)[list(self.part)] for s in (0, 1))
        if index == self.broken:
            self.broken = None
            target = target * torch.tensor([1.0 if i < 2 else torch.nan for i in self.part])[:, None, None, None]
        return source, target


def photographs(folder: Path, ranks: Ranks) -> Batches:
    images = load(listed(folder / "photographs"), 1, print)
    return PatchPairs(low_and_high_of(images), side=8, batch=4, seed=0, ranks=ranks)


def plain(folder: Path, ranks: Ranks, state: Path, stop: int | None = None) -> dict[str, object]:
    """Twenty rounds by L1; what came of them."""
    return trained(photographs(folder, ranks), Criterion(Terms(L1Alone())), "plain", ranks, state, stop)


def adversarial(
    folder: Path, ranks: Ranks, state: Path, stop: int | None = None, broken: int | None = None
) -> dict[str, object]:
    """Twenty rounds with a discriminator, and by what it sees."""
    torch.manual_seed(0)
    weights = L1Alone(l1=1.0, adversarial=0.1, feature_matching=0.5)
    criterion = Criterion(Terms(weights), adversary=Adversary(PatchGan(16, 4, None, 3), "lsgan", 0.001))
    return trained(NoisePairs(ranks, broken), criterion, "adversarial", ranks, state, stop)


def trained(
    batches: Batches, criterion: Criterion, name: str, ranks: Ranks, state: Path, stop: int | None
) -> dict[str, object]:
    """Stopped as by Ctrl-C after round `stop`, if that is given: then the curve ends there."""
    curve, setbacks, settings = list[float](), list[str](), training_settings(ROUNDS)
    supernet = fresh_supernet(SPACE, TRANSLATION if name == "adversarial" else SUPER_RESOLUTION)
    students = SharedSubnets(supernet, FairRounds(SPACE, "joint", None, np.random.default_rng(0)))
    one_round = loop.one_round

    def seen(
        *arguments: object, **named: object
    ) -> tuple[float, str | None]:  # on all processes, where on_round is told on the first
        loss, trouble = one_round(*arguments, **named)  # type: ignore[arg-type]
        curve.append(loss)
        return loss, trouble

    def on_round(index: int, loss: float) -> None:
        if index == stop:
            raise KeyboardInterrupt

    def on_setback(index: int, trouble: str) -> None:
        setbacks.append(f"{index}: {trouble}")

    loop.one_round = seen  # type: ignore[assignment]
    stopped = False
    try:
        loop.train(Learning(students, criterion, settings, ranks), batches, state, on_round, on_setback)
    except KeyboardInterrupt:
        stopped = True
    finally:
        loop.one_round = one_round
    discriminator = criterion.adversary.discriminator.state_dict() if criterion.adversary else {}
    return {
        "curve": curve,
        "checksum": checksum(supernet.state_dict() | {f"judge.{k}": v for k, v in discriminator.items()}),
        "ledger": students.rounds.ledger.to_dict(),
        "setbacks": setbacks,
        "stopped": stopped,
    }


def checksum(tensors: dict[str, Tensor]) -> str:
    return hashlib.sha256(b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))).hexdigest()


def refused(state: Path, folder: Path, ranks: Ranks) -> dict[str, object]:
    """What is said of a state that only the first process can find."""
    try:
        return plain(folder, ranks, state if ranks.first else state.with_name("absent"))
    except DamagedFileError as error:
        return {"error": str(error)}


def command(folder: Path, run: str, *changes: str) -> dict[str, object]:
    """The exit code of a small training by the command line."""
    try:
        cli.main(small_training(folder, run, *changes))
    except SystemExit as ending:
        return {"code": ending.code}
    raise AssertionError("it ends by exit")


def small_training(folder: Path, run: str, *changes: str) -> list[str]:
    """The words of the command line; one thread a process."""
    words = ["train-supernet", "--data", str(folder / "photographs"), "--run", str(folder / run), "--threads", "1"]
    return [*words, *(word for change in (*TINY, *changes) for word in ("--set", change))]


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    ranks = join(None, "cpu")
    assert ranks != ALONE

    def at(name: str) -> Path:
        return folder / f"{name}.state.safetensors"

    jobs: dict[str, Callable[[], dict[str, object]]] = {
        "plain": lambda: plain(folder, ranks, at("plain")),
        "adversarial": lambda: adversarial(folder, ranks, at("adversarial")),
        "broken": lambda: adversarial(folder, ranks, at("broken"), broken=5),
        "stopped": lambda: adversarial(folder, ranks, at("stopped"), STOP),
        "stopped-last": lambda: plain(folder, ranks, at("stopped-last"), ROUNDS),
        "resumed": lambda: plain(folder, ranks, at("begun-alone")),
        "damaged": lambda: refused(at("damaged"), folder, ranks),
        "odd": lambda: command(folder, "odd", "data.batch=7"),
        "locked": lambda: command(folder, "locked"),
    }
    for name, job in jobs.items():
        (folder / f"{name}-{ranks.rank}.json").write_text(json.dumps(job()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
