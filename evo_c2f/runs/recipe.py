"""A run's settings: read from YAML, checked before anything starts, stored with all defaults resolved."""

import difflib
import reprlib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from evo_c2f.engine.budget import AlgorithmName
from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.objectives import metric as metrics
from evo_c2f.objectives.metric import Limit, Metric
from evo_c2f.space import SearchSpace, Stage

# The trainings of a supernet: joint first and then finer ones, or stage by stage.
TRAININGS = (
    ["joint"],
    ["joint", "operator"],
    ["joint", "channel"],
    ["joint", "operator", "channel"],
    ["path", "operator"],
    ["path", "operator", "channel"],
)
Positive = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TaskSection(Section):
    name: Literal["super-resolution"]
    scale: Literal[2, 4, 8] = 4


class TranslationSection(Section):
    name: Literal["translation"]


class DataSection(Section):
    folder: str | None = None  # 'embedded': the photographs inside scikit-image and scikit-learn
    benchmarks: list[str] = []  # folders whose images must not stand in the training folder
    patch: Positive  # side of a low-resolution patch
    batch: Positive
    validation_images: Positive  # held out of training
    validation_crops: Positive  # all subnets are measured on these; the final front on the whole images
    crop: Positive  # side of a crop in high-resolution pixels


class PairsSection(Section):
    """Aligned pairs, A|B side by side, in train/ and val/ or test/. 'openmoji': rendered at load_size, and cached."""

    folder: str | None = None
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    load_size: Positive | None = None  # side of the square that images are resized to; null takes them as they are
    crop: Positive  # side of the square cut out of these for training
    flip: bool = True
    batch: Positive
    validation_images: Positive  # all subnets are measured on these; the final front on all that are held out


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
    guide: str = "widest"  # the widest subnet, or the file of a teacher
    pixel_rounds: Annotated[int, Field(ge=0)] = 0

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
    """`stages`: the trainings, each on the survivors of the previous stage.

    'joint' trains paths, operators and widths together. 'path' trains only paths, with the reference operator at full
    width; 'operator' then starts from scratch, so that no operator is ahead (docs/decisions/0013).
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
    precision: Literal["float32", "bf16"] = "float32"  # bf16: autocast; weights, moments and files stay float32
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
    """The number of subnets of a stage's front that the next stage starts from; its training shares its rounds among
    them.
    """

    path: Annotated[int, Field(ge=2)] = 8
    operator: Annotated[int, Field(ge=2)] = 8


class SearchSection(Section):
    objectives: list[str] = ["psnr_y", "macs"]
    max: dict[str, float] = {}
    min: dict[str, float] = {}
    rescore: list[str] = []  # further qualities of the final front
    algorithm: AlgorithmName = "nsga2"
    screen: Positive = 1  # offspring bred for each that is measured; a surrogate chooses
    steady_state: bool = False  # breed as subnets are measured, a few at a time; for many workers
    timeout: Annotated[float, Field(gt=0)] | None = None  # seconds that measuring one subnet may take
    population: Annotated[int, Field(ge=4)]
    evaluations: EvaluationsSection
    survivors: SurvivorsSection = SurvivorsSection()
    latency_table: str | None = None  # of `bench --latency-table`; without it each subnet's latency is measured
    output_size: tuple[Positive, Positive] = (720, 1280)  # height, width at which MACs and latency are stated

    def metrics(self) -> tuple[Metric, ...]:
        """The objectives. The first is the quality that decides between networks: the first quality in the recipe.

        The order of the others is irrelevant: costs follow, then other qualities, each by name.
        InputError if one is unknown, or if there are fewer than two, or no quality.
        """
        if len(set(self.objectives)) < max(2, len(self.objectives)):
            raise InputError(f"objectives are {self.objectives}; name at least two, each once")
        for name in (*self.objectives, *self.max, *self.min, *self.rescore):
            if name.endswith(metrics.FULL):
                raise InputError(f"{name} is taken of final fronts alone; search on {name.removesuffix(metrics.FULL)}")
        for name in self.rescore:
            if metrics.metric(name).kind != "quality":
                raise InputError(f"search.rescore names {name}, which is no quality; a front has its costs already")
        found = [metrics.metric(name) for name in self.objectives]
        first = next((o for o in found if o.kind == "quality"), None)
        if first is None:
            raise InputError(f"objectives are {self.objectives}, all of them costs; name a quality too")
        return tuple(sorted(found, key=lambda o: (o != first, o.kind == "quality", o.name)))

    def limits(self) -> tuple[Limit, ...]:
        """The limits. InputError if they contradict each other."""
        return metrics.limits(self.max, self.min)


class Recipe(Section):
    """All settings of a run. `RECIPES` maps each task to its kind of recipe."""

    name: str
    seed: Annotated[int, Field(ge=0)] = 0
    task: TaskSection | TranslationSection
    space: SearchSpace
    data: DataSection | PairsSection
    training: TrainingSection
    search: SearchSection
    finetune: FinetuneSection = FinetuneSection()

    def for_finetuning(self) -> TrainingSection:
        """The settings for training one subnet alone: those of the supernet, changed by `finetune`."""
        keys = TrainingSection.model_fields.keys() & FinetuneSection.model_fields.keys()
        as_long = self.training.lasting(self.finetune.rounds)
        return as_long.model_copy(update={key: getattr(self.finetune, key) for key in keys})

    def with_data(self, folder: str | None) -> Self:
        """The same recipe with the data in another folder."""
        return self.model_copy(update={"data": self.data.model_copy(update={"folder": folder})})

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def first_difference(self, other: "Recipe") -> str | None:
        """The first setting that makes the trained supernets of two recipes differ, in words."""
        mine, theirs = (flat(r.model_dump(mode="json", exclude={"search", "finetune", "name"})) for r in (self, other))
        for key in mine | theirs:
            if mine.get(key) != theirs.get(key):
                return f"{key} is {mine.get(key)} there, {theirs.get(key)} here"
        return None


class SuperResolutionRecipe(Recipe):
    task: TaskSection
    data: DataSection


class TranslationRecipe(Recipe):
    task: TranslationSection
    data: PairsSection


RECIPES: dict[str, type[Recipe]] = {"super-resolution": SuperResolutionRecipe, "translation": TranslationRecipe}


def kind_of(data: dict[str, Any], origin: str) -> type[Recipe]:
    """The kind of recipe for its task. InputError if there is no such task."""
    task = data.get("task")
    name = task.get("name") if isinstance(task, dict) else None
    if not isinstance(task, dict) or "name" not in task:
        return SuperResolutionRecipe  # whose checks then say what is missing
    if not isinstance(name, str) or name not in RECIPES:
        raise InputError(f"{origin}: task.name is {reprlib.repr(name)}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts flattened, with dotted keys."""
    result: dict[str, Any] = {}
    for key, value in data.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return result


def names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(Path(str(f)).stem for f in files("evo_c2f.runs.recipes").iterdir() if str(f).endswith(".yaml"))


def load(name_or_file: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """A recipe by name or file, changed by 'key=value' with dotted keys. Every InputError is one sentence."""
    path = Path(name_or_file)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise InputError(f"recipe file {path} does not exist")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{path} is no text; a recipe is YAML in UTF-8") from None
    elif name_or_file in names():
        text = files("evo_c2f.runs.recipes").joinpath(f"{name_or_file}.yaml").read_text(encoding="utf-8")
    else:
        raise InputError(f"recipe {name_or_file!r} is unknown; there are {', '.join(names())}, or give a .yaml file")
    return checked(parsed(text, name_or_file), overrides, name_or_file)


def load_run(path: Path) -> Recipe:
    """The resolved recipe of a run. DamagedFileError if it can't be read."""
    try:
        return checked(parsed(path.read_text(encoding="utf-8"), str(path)), (), str(path))
    except (InputError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path} is damaged ({error}); restore it, or use another --run") from None


def changed(recipe: Recipe, overrides: tuple[str, ...]) -> Recipe:
    """The recipe with other settings for later steps. InputError for a setting that the supernet was trained with."""
    for override in overrides:
        if not override.startswith(("search.", "finetune.")):
            key = override.partition("=")[0]
            if key.strip() == "data.folder":
                raise InputError("the run's pictures are named by --data, where they were moved; leave out data.folder")
            raise InputError(f"{key} was fixed when the supernet was trained; only search.* and finetune.* can change")
    return checked(recipe.model_dump(mode="json"), overrides, "--set")


def parsed(text: str, origin: str) -> dict[str, Any]:
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{origin} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise InputError(f"{origin} holds no settings; see evo_c2f/runs/recipes/quick.yaml")
    return data


def checked(data: dict[str, Any], overrides: tuple[str, ...], origin: str) -> Recipe:
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise InputError(f"--set {override!r} has no '='; write --set key=value")
        *sections, last = key.strip().split(".")
        place = data
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise InputError(f"--set {key}: {section} is a value, it holds no settings")
        place[last] = parsed(f"value: {value}", f"--set {key}")["value"]
    try:
        return kind_of(data, origin).model_validate(data)
    except ValidationError as error:
        raise InputError(f"{origin}: {first_sentence(error)}") from None


def first_sentence(error: ValidationError) -> str:
    """The first error, with the nearest known key if a key is unknown."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        near = nearest(key)
        return f"setting {key!r} is unknown" + (f"; did you mean {near!r}?" if near else "")
    if first["type"] in ("missing", "missing_argument"):
        return f"setting {key!r} is missing"
    if first["type"] == "value_error":
        return f"{key}: {first['msg'].removeprefix('Value error, ')}"
    short = reprlib.Repr()
    short.maxlevel = 2  # what a file nests deeply is not repeated
    return f"{key} is {short.repr(first['input'])}; {first['msg'][0].lower()}{first['msg'][1:]}"


def nearest(key: str) -> str | None:
    """The known setting most similar to a dotted key: by short name in the same section, else by dotted name."""
    section, _, last = key.rpartition(".")
    known = {f"{prefix}{name}": name for prefix, names in SETTINGS.items() for name in names}
    here = difflib.get_close_matches(last, [name for full, name in known.items() if full == f"{section}.{name}"], n=1)
    if here:
        return here[0]
    anywhere = difflib.get_close_matches(last, list(known.values()), n=1)
    return next(full for full, name in known.items() if name == anywhere[0]) if anywhere else None


SETTINGS = {
    "": list(Recipe.model_fields),
    "task.": list(TaskSection.model_fields),
    "space.": list(SearchSpace.__dataclass_fields__),
    "data.": list(DataSection.model_fields | PairsSection.model_fields),
    "training.": list(TrainingSection.model_fields),
    "training.losses.": list(LossesSection.model_fields),
    "training.discriminator.": list(DiscriminatorSection.model_fields),
    "finetune.": list(FinetuneSection.model_fields),
    "search.": list(SearchSection.model_fields),
    "search.evaluations.": list(EvaluationsSection.model_fields),
    "search.survivors.": list(SurvivorsSection.model_fields),
}


def survivors(recipe: Recipe, stage: Stage) -> int:
    """How many subnets of the stage's front are kept; in the last stage they are only marked."""
    return int(getattr(recipe.search.survivors, stage, SurvivorsSection().operator))


def evaluations(recipe: Recipe, stage: Stage) -> int:
    """How many distinct subnets the stage asks for."""
    return int(getattr(recipe.search.evaluations, stage))
