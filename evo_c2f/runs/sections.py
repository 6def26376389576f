"""The sections of a recipe: each setting's kind, default and bounds, and the rules between settings of one section."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat, field_validator, model_validator

from evo_c2f.engine.budget import AlgorithmName
from evo_c2f.objectives import metric as metrics
from evo_c2f.objectives.metric import Limit, Metric

# The trainings of a supernet: joint first and then finer ones, or stage by stage.
TRAININGS = (
    ["joint"], ["joint", "operator"], ["joint", "channel"], ["joint", "operator", "channel"],
    ["path", "operator"], ["path", "operator", "channel"],
)  # fmt: skip
Positive = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Channels = Annotated[int, Field(ge=1, le=16)]
Depth = Literal[8, 16, "float"]  # bits of a channel, or floats in 0..1


def _ascending(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"{list(ends)} is no range; name the least first, then the most")
    return ends


Strengths = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_ascending)]
Quality = Annotated[int, Field(ge=1, le=100)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TaskSection(Section):
    name: Literal["super-resolution"]
    scale: Literal[1, 2, 3, 4, 8] = 4  # 1: restoration, of what `data.degradation` degrades
    channels: Channels = 3  # 1: grey; 3: RGB


class TranslationSection(Section):
    name: Literal["translation"]
    input_channels: Channels = 3
    output_channels: Channels = 3


class BlurSection(Section):
    sigma: Strengths  # in pixels; an anisotropic blur draws it twice, along a direction and across it
    kinds: Annotated[list[Literal["isotropic", "anisotropic"]], Field(min_length=1)] = ["isotropic"]
    chance: Share = 1.0


class ResizeSection(Section):
    filters: Annotated[list[Literal["area", "bilinear", "bicubic"]], Field(min_length=1)] = ["bicubic"]
    factor: Strengths = (1.0, 1.0)  # of the first of two passes; the last one makes the input's size


class NoiseSection(Section):
    sigma: Strengths  # of 255; poisson noise has it at white, and less where it is darker
    kinds: Annotated[list[Literal["gaussian", "poisson"]], Field(min_length=1)] = ["gaussian"]
    chance: Share = 1.0


class JpegSection(Section):
    quality: Annotated[tuple[Quality, Quality], AfterValidator(_ascending)]
    chance: Share = 1.0


class DegradationSection(Section):
    """How photographs become inputs: by these steps in this order, their strengths drawn anew for each patch."""

    blur: BlurSection | None = None
    resize: ResizeSection | None = None  # null: bicubic, to the input's size
    noise: NoiseSection | None = None
    jpeg: JpegSection | None = None
    times: Literal[1, 2] = 1  # passes over all steps
    order: Literal["fixed", "random"] = "fixed"
    plugin: str | None = None  # a plugin's function, in place of all steps

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.plugin and self.model_dump(exclude_defaults=True) != {"plugin": self.plugin}:
            raise ValueError(f"plugin {self.plugin} takes the place of all steps; leave out the others")
        return self


class DataSection(Section):
    folder: str | None = None  # 'embedded': the photographs inside scikit-image and scikit-learn
    inputs: str | None = None  # the folder of their inputs, as seen from `folder`: ../lq; null: looked for within it
    benchmarks: list[str] = []  # folders whose images must not stand in the training folder
    patch: Positive  # side of a low-resolution patch
    batch: Positive
    validation_images: Positive  # held out of training
    validation_crops: Positive  # all subnets are measured on these; the final front on the whole images
    crop: Positive  # side of a crop in high-resolution pixels
    target: Literal["pictures", "teacher"] = "pictures"  # what is learnt: the photographs, or a teacher's outputs
    degradation: DegradationSection | None = None  # null: inputs are bicubic reductions, unless the folder holds others
    depth: Depth = 8  # that pictures are read with


class PairsSection(Section):
    """Pairs in train/ and val/ or test/: A|B side by side, or in two folders. 'openmoji': rendered, and cached.

    With `target: teacher`, the pictures are inputs alone, in these folders or all in one; or of two domains without
    pairs, in trainA/, trainB/, testA/ and testB/.
    """

    folder: str | None = None
    inputs: str | None = None  # the folder of the inputs, if they lie apart, as seen from `folder`: ../inputs
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    load_size: Positive | None = None  # side of the square that images are resized to; null takes them as they are
    crop: Positive  # side of the square cut out of these for training
    flip: bool = True
    batch: Positive
    validation_images: Positive  # all subnets are measured on these; the final front on all that are held out
    target: Literal["pictures", "teacher"] = "pictures"  # what is learnt: an input's partner, or a teacher's output
    depth: Depth = 8  # that pictures are read with


class TeacherSection(Section):
    """A trained network to learn from, which `--teacher` sets. It runs once an image; its outputs are kept on disk."""

    file: str | None = None  # an .onnx, .pth or .safetensors file, or the name that a plugin gave it
    digest: str = ""  # of the file's content, when the run was begun
    range: Literal["auto", "0..1", "-1..1", "0..255"] = "auto"  # of its input and output; auto: found out
    cache: str | None = None  # the folder for its outputs; null: teacher/ in the run's folder
    cache_gb: Annotated[float, Field(gt=0)] = 10.0  # the oldest outputs beyond it are removed, and computed again


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
    guide: str = "widest"  # the widest subnet, 'teacher' (see `teacher`), or the file of a model of this project
    pixel_rounds: Annotated[int, Field(ge=0)] = 0

    def taught(self) -> Self:
        """The same losses with a teacher as the guide; without a weight for it, it counts as much as the target."""
        return self.model_copy(update={"guide": "teacher", "distillation": self.distillation or self.l1 or 1.0})

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
    divide_gradients: bool = False  # each weight's gradient by the number of subnets that used it
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

    def schedule(self, usual: LossesSection) -> list[tuple[int, LossesSection]]:
        """(until which round, the losses until then); `usual` for a phase without losses."""
        ends = [(phase.until, phase.losses or usual) for phase in self.phases] or [(1.0, usual)]
        return [(round(until * self.rounds), losses) for until, losses in ends]

    def losses_in_words(self, usual: LossesSection) -> str:
        """Its losses, phase by phase."""
        return ", then ".join(dict.fromkeys(losses.in_words() for _, losses in self.schedule(usual)))


class EvaluationsSection(Section):
    path: Positive
    operator: Positive
    channel: Positive
    joint: Positive = 300


class SurvivorsSection(Section):
    path: Annotated[int, Field(ge=2)] = 8  # subnets of its front that the next stage starts from, and trains by turns
    operator: Annotated[int, Field(ge=2)] = 8


class SearchSection(Section):
    objectives: list[str] = ["psnr_y", "macs"]
    max: dict[str, float] = {}
    min: dict[str, float] = {}
    rescore: list[str] = []  # further qualities of the final front
    int8: bool = False  # score the final front as files in 8 bits too
    algorithm: AlgorithmName = "nsga2"
    screen: Positive = 1  # offspring bred for each that is measured; a surrogate chooses
    steady_state: bool = False  # breed as subnets are measured, a few at a time; for many workers
    timeout: Annotated[float, Field(gt=0)] | None = None  # seconds that measuring one subnet may take
    population: Annotated[int, Field(ge=4)]
    evaluations: EvaluationsSection
    survivors: SurvivorsSection = SurvivorsSection()
    latency_table: str | None = None  # of `bench --latency-table`; without it the run makes its own
    output_size: tuple[Positive, Positive] = (720, 1280)  # height, width at which MACs and latency are stated

    def metrics(self) -> tuple[Metric, ...]:
        """The objectives. The first is the quality that decides between networks: the first quality in the recipe."""
        return metrics.objectives(self.objectives, [*self.max, *self.min], self.rescore)

    def limits(self) -> tuple[Limit, ...]:
        """The limits. InputError if they contradict each other."""
        return metrics.limits(self.max, self.min)
