"""Of a recipe: how the supernet is trained, and how one subnet is trained alone."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from evo_c2f.sections.section import Positive, Section

# The trainings of a supernet: joint first and then finer ones, or stage by stage.
TRAININGS = (
    ["joint"], ["joint", "operator"], ["joint", "channel"], ["joint", "operator", "channel"],
    ["path", "operator"], ["path", "operator", "channel"],
)  # fmt: skip
Weight = Annotated[float, Field(ge=0)]


class LossesSection(Section):
    """The weight of each loss term; terms at 0 are not computed. The first `pixel_rounds` rounds use L1 alone."""

    l1: Weight = 1.0
    l2: Weight = 0.0
    spectrum: Weight = 0.0  # distance of the Fourier transforms
    perceptual: Weight = 0.0  # distance of VGG16's features
    perceptual_layers: list[str] = ["relu1_2", "relu2_2", "relu3_3"]
    adversarial: Weight = 0.0
    feature_matching: Weight = 0.0  # distance of the discriminator's features
    distillation: Weight = 0.0  # L1 to the output of `guide`
    perceptual_distillation: Weight = 0.0  # distance of VGG16's features to those of its output
    guide: str = "widest"  # the widest subnet, 'teacher' (see `teacher`), or the file of a model of this project
    pixel_rounds: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if not self.in_words():
            raise ValueError("no term has a weight above 0, so nothing would be learned; set one, such as l1: 1")
        return self

    @property
    def guided(self) -> bool:
        """Whether a term needs the guide's output."""
        return bool(self.distillation or self.perceptual_distillation)

    @property
    def perceives(self) -> bool:
        """Whether a term needs VGG16."""
        return bool(self.perceptual or self.perceptual_distillation)

    def parts(self, end: int) -> list[tuple[int, "LossesSection"]]:
        """(until which round, the losses until then) up to round `end`: L1 alone, and then all terms."""
        return [(min(end, self.pixel_rounds), LossesSection(l1=self.l1 or 1.0)), (end, self)]

    def taught(self) -> Self:
        """The same losses with a teacher as the guide; without a weight for it, it counts as much as the target."""
        weight = self.distillation if self.guided else self.l1 or 1.0
        return self.model_copy(update={"guide": "teacher", "distillation": weight})

    def untaught(self) -> Self:
        """The same losses without a guide; if nothing else has a weight, L1 to the target takes its place."""
        kept = self.model_copy(update={"distillation": 0.0, "perceptual_distillation": 0.0})
        return kept if kept.in_words() else kept.model_copy(update={"l1": 1.0})

    def without_supernet(self) -> Self:
        """The same losses for a training without a supernet, whose widest subnet then can't guide."""
        return self.untaught() if self.guide == "widest" else self

    def in_words(self) -> str:
        """The terms with a weight above 0, with their weights."""
        terms = {name: value for name, value in self if isinstance(value, float) and value}
        return " + ".join(f"{value:g} {name}" for name, value in terms.items())


class PhaseLossesSection(LossesSection):
    """The losses of a phase. A phase has no `pixel_rounds`: L1 alone is a phase of its own."""

    pixel_rounds: Literal[0] = 0


class DiscriminatorSection(Section):
    loss: Literal["lsgan", "hinge", "relativistic"] = "lsgan"
    conditioned: bool = True  # it sees the input beside the output
    width: Positive = 64
    layers: Positive | None = None  # of stride 2; null: what fits the size, 70x70 patches from 128 on
    learning_rate: Annotated[float, Field(gt=0)] = 0.0002


class TrainingSection(Section):
    """`stages`: the trainings, each on the survivors of the previous stage, and from its weights.

    'joint' trains paths, operators and widths together. 'path' trains only paths, with the reference operator at full
    width (docs/decisions/0013).
    """

    rounds: Positive
    stages: list[Literal["joint", "path", "operator", "channel"]] = ["joint"]
    stage_rounds: Positive = 500  # rounds of each training after the first
    # How a round's subnets are drawn.
    sampler: Literal["fair", "fair_widest", "widest_first", "uniform", "sandwich"] = "fair"
    optimizer: Literal["adam", "muon"] = "adam"
    learning_rate: Annotated[float, Field(gt=0)]
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9  # Adam's; 0.5 is customary for adversarial training
    final_rate: Annotated[float, Field(gt=0, le=1)] = 0.01  # where the cosine ends, as a share of the learning rate
    # Of convolutions in training; weights, moments and files stay float32. auto: bf16 on a GPU, else float32.
    precision: Literal["auto", "float32", "tf32", "bf16"] = "auto"
    divide_gradients: bool = False  # each weight's gradient by how often the round's subnets used it
    losses: LossesSection = LossesSection()
    discriminator: DiscriminatorSection = DiscriminatorSection()

    @field_validator("stages")
    @classmethod
    def _in_order(cls, stages: list[str]) -> list[str]:
        if stages not in TRAININGS:
            raise ValueError(
                f"{stages} is no order of trainings; begin with joint, then operator, channel or both, or with path, "
                "then operator or both"
            )
        return stages

    @model_validator(mode="after")
    def _fair_stages(self) -> "TrainingSection":
        if self.sampler in ("uniform", "sandwich") and self.stages != ["joint"]:
            raise ValueError(
                f"sampler {self.sampler} has but one training; set training.stages=[joint], or sampler fair"
            )
        return self

    @model_validator(mode="after")
    def _all_terms_count(self) -> "TrainingSection":
        others = any(value for name, value in self.losses if isinstance(value, float) and name != "l1")
        if others and self.losses.pixel_rounds >= self.rounds:
            raise ValueError(
                f"losses.pixel_rounds is {self.losses.pixel_rounds} of {self.rounds} rounds, so L1 would stand alone "
                "to the end; set a smaller training.losses.pixel_rounds"
            )
        return self

    def lasting(self, rounds: int) -> "TrainingSection":
        """The same settings for another number of rounds; the share of rounds with L1 alone stays the same."""
        pixel_rounds = round(self.losses.pixel_rounds * rounds / self.rounds)
        losses = self.losses.model_copy(update={"pixel_rounds": pixel_rounds})
        return self.model_copy(update={"rounds": rounds, "losses": losses})


class PhaseSection(Section):
    """A part of the fine-tuning. A null setting is as in training."""

    until: Annotated[float, Field(gt=0, le=1)]  # share of the rounds
    side: Positive | None = None  # of the patches (super-resolution: low-resolution pixels) or crops
    losses: PhaseLossesSection | None = None


class FinetuneSection(Section):
    """How one subnet is trained alone. `phases`: in order, the last one until 1; without phases, as in training."""

    rounds: Positive = 4000
    batch: Positive | None = None
    optimizer: Literal["adam", "muon"] = "adam"
    learning_rate: Annotated[float, Field(gt=0)] = 0.001
    final_rate: Annotated[float, Field(gt=0, le=1)] = 0.001
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    phases: list[PhaseSection] = []

    @field_validator("phases")
    @classmethod
    def _in_order(cls, phases: list[PhaseSection]) -> list[PhaseSection]:
        ends = [phase.until for phase in phases]
        if ends and (ends != sorted(set(ends)) or ends[-1] != 1):
            raise ValueError(f"the phases end at {ends}; each must end after the one before, and the last at 1")
        return phases

    def without_supernet(self) -> Self:
        """The same fine-tuning without a supernet, whose widest subnet then can't guide."""
        phases = [
            phase.model_copy(update={"losses": phase.losses and phase.losses.without_supernet()})
            for phase in self.phases
        ]
        return self.model_copy(update={"phases": phases})

    def schedule(self, usual: LossesSection) -> list[tuple[int, LossesSection]]:
        """(until which round, the losses until then); `usual` for a phase without losses."""
        ends = [(phase.until, phase.losses or usual) for phase in self.phases] or [(1.0, usual)]
        return [(round(until * self.rounds), losses) for until, losses in ends]

    def losses_in_words(self, usual: LossesSection) -> str:
        """Its losses, phase by phase."""
        return ", then ".join(dict.fromkeys(losses.in_words() for _, losses in self.schedule(usual)))
