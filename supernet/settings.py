"""What this side reads of a recipe. Its sections are such; pydantic, which checks them, is not known here."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, Self

from supernet.data.aligned import Direction
from supernet.rounds.sampling import Sampler
from supernet.training.losses import Adversarial
from supernet.training.optimizer import OptimizerName

Precision = Literal["float32", "bf16"]

# Properties, since a plain attribute of a protocol is one that may be set, and a recipe is frozen.


class PhotographSettings(Protocol):
    """Which photographs are used, and how."""

    @property
    def folder(self) -> str | None: ...
    @property
    def benchmarks(self) -> list[str]: ...
    @property
    def patch(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def validation_images(self) -> int: ...
    @property
    def validation_crops(self) -> int: ...
    @property
    def crop(self) -> int: ...


class PairSettings(Protocol):
    """Which pairs are used, and how."""

    @property
    def folder(self) -> str | None: ...
    @property
    def direction(self) -> Direction: ...
    @property
    def load_size(self) -> int | None: ...
    @property
    def crop(self) -> int: ...
    @property
    def flip(self) -> bool: ...
    @property
    def batch(self) -> int: ...
    @property
    def validation_images(self) -> int: ...


class Weights(Protocol):
    """The weight of each term of a loss."""

    @property
    def l1(self) -> float: ...
    @property
    def l2(self) -> float: ...
    @property
    def spectrum(self) -> float: ...
    @property
    def perceptual(self) -> float: ...
    @property
    def adversarial(self) -> float: ...
    @property
    def feature_matching(self) -> float: ...
    @property
    def distillation(self) -> float: ...


class LossSettings(Weights, Protocol):
    """The weights of the losses, and what their terms are made of."""

    @property
    def perceptual_layers(self) -> list[str]: ...
    @property
    def guide(self) -> str: ...
    @property
    def pixel_rounds(self) -> int: ...


class DiscriminatorSettings(Protocol):
    """The discriminator and how it learns."""

    @property
    def loss(self) -> Adversarial: ...
    @property
    def conditioned(self) -> bool: ...
    @property
    def width(self) -> int: ...
    @property
    def layers(self) -> int | None: ...
    @property
    def learning_rate(self) -> float: ...


class LoopSettings(Protocol):
    """What the training loop itself reads."""

    @property
    def rounds(self) -> int: ...
    @property
    def optimizer(self) -> OptimizerName: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def beta1(self) -> float: ...
    @property
    def final_rate(self) -> float: ...
    @property
    def ema(self) -> float: ...
    @property
    def precision(self) -> Precision: ...


class TrainingSettings(LoopSettings, Protocol):
    """How networks are trained."""

    @property
    def sampler(self) -> Sampler: ...
    @property
    def divide_gradients(self) -> bool: ...
    @property
    def losses(self) -> LossSettings: ...
    @property
    def discriminator(self) -> DiscriminatorSettings: ...
    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """The same settings but for those of `update`."""

    def lasting(self, rounds: int) -> Self:
        """The same settings for so many rounds."""


class PhaseSettings(Protocol):
    """A part of the fine-tuning; what is None is as in the rest."""

    @property
    def until(self) -> float: ...
    @property
    def side(self) -> int | None: ...


class FinetuneSettings(Protocol):
    """How a subnet is trained alone."""

    @property
    def rounds(self) -> int: ...
    @property
    def batch(self) -> int | None: ...
    @property
    def phases(self) -> Sequence[PhaseSettings]: ...
    def schedule(self, usual: Any) -> Sequence[tuple[int, LossSettings]]: ...
