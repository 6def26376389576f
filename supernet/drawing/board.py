"""Training in TensorBoard: losses, a quality, and the same held-out images at intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.metrics.perceptual import COLOURS
from supernet.metrics.tasks import Task

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

ROUNDS_BETWEEN_IMAGES = 500
IMAGES = 4
SECONDS_UNWRITTEN = 20  # a killed process loses the points of these


@dataclass
class Curve:
    """One training's curves, in a separate folder. Repeated rounds overwrite the old ones."""

    folder: Path
    writer: "SummaryWriter | None" = None
    last: int = 0

    def at(self, index: int) -> "SummaryWriter":
        """The writer for this round. After a resumption or a setback, it first discards the rounds from this one on."""
        from torch.utils.tensorboard import SummaryWriter

        if self.writer is None or index <= self.last:
            self.close()
            self.writer = SummaryWriter(str(self.folder), purge_step=index, flush_secs=SECONDS_UNWRITTEN)
        self.last = index
        return self.writer

    def close(self) -> None:
        if self.writer:
            self.writer.close()


@dataclass(frozen=True)
class Board:
    """Where trainings are logged, and the held-out images to show. InputError without tensorboard."""

    folder: Path
    task: Task
    batches: Callable[[], Sequence[tuple[Tensor, Tensor]]]  # of held-out images, of which the first few are shown
    device: torch.device
    curves: dict[str, Curve] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError:
            raise InputError("--tensorboard needs tensorboard; run 'pip install tensorboard'") from None

    def following(
        self,
        title: str,
        network: Callable[[Tensor], Tensor],
        rounds: int,
        on_round: Callable[[int, float], None],
    ) -> Callable[[int, float], None]:
        """An on_round that also logs the round: its mean loss, and now and then the network's output images, if they
        have 1 or 3 channels.
        """
        curve = self.curves.setdefault(title, Curve(self.folder / title))
        source, target = self.shown()
        tag = f"{self.task.baseline_name}, output, target".replace(" ", "_")
        judged_by = next(iter(self.task.metrics))  # psnr_y, or psnr of other channels

        def on_round_and_board(index: int, loss: float) -> None:
            writer = curve.at(index)
            writer.add_scalar("loss", loss, index)
            if index == 1 or index % ROUNDS_BETWEEN_IMAGES == 0 or index == rounds:
                with torch.no_grad():
                    output = network(source)
                    rows = [self.task.baseline(source), output, target]
                writer.add_scalar(judged_by, float(self.task.metrics[judged_by](output, target).mean()), index)
                if output.shape[1] in COLOURS:
                    sheet = torch.cat([torch.cat([*row.clamp(0, 1)], dim=2) for row in rows], dim=1)
                    writer.add_image(tag, sheet.cpu(), index)
            if index == rounds:
                curve.close()
            try:
                on_round(index, loss)
            except KeyboardInterrupt:
                curve.close()
                raise

        return on_round_and_board

    def shown(self) -> tuple[Tensor, Tensor]:
        """The first few held-out images, (source, target)."""
        source, target = self.batches()[0]
        return source[:IMAGES].to(self.device), target[:IMAGES].to(self.device)
