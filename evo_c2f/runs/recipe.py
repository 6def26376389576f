"""A run's settings: read from YAML, checked before anything starts, stored with all defaults resolved."""

import difflib
import reprlib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.sections.data import (
    BlurSection,
    DataSection,
    DegradationSection,
    JpegSection,
    NoiseSection,
    PairsSection,
    ResizeSection,
    TaskSection,
    TeacherSection,
    TranslationSection,
)
from evo_c2f.sections.search import EvaluationsSection, SearchSection, SurvivorsSection
from evo_c2f.sections.section import Section
from evo_c2f.sections.training import DiscriminatorSection, FinetuneSection, LossesSection, TrainingSection
from evo_c2f.space import SearchSpace, Stage


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
    teacher: TeacherSection = TeacherSection()

    def for_finetuning(self) -> TrainingSection:
        """The settings for training one subnet alone: those of the supernet, changed by `finetune`."""
        keys = TrainingSection.model_fields.keys() & FinetuneSection.model_fields.keys()
        as_long = self.training.lasting(self.finetune.rounds)
        return as_long.model_copy(update={key: getattr(self.finetune, key) for key in keys})

    def with_data(self, folder: str | None) -> Self:
        """The same recipe with the data in another folder."""
        return self.model_copy(update={"data": self.data.model_copy(update={"folder": folder})})

    def with_teacher(self, file: str, digest: str) -> Self:
        """The same recipe with a teacher, which guides by every part of the losses unless its outputs are the targets.

        digest: of the file's content.
        """
        teacher = self.teacher.model_copy(update={"file": file, "digest": digest})
        if self.data.target == "teacher":
            return self.model_copy(update={"teacher": teacher})
        training = self.training.model_copy(update={"losses": self.training.losses.taught()})
        phases = [
            phase.model_copy(update={"losses": phase.losses and phase.losses.taught()})
            for phase in self.finetune.phases
        ]
        finetune = self.finetune.model_copy(update={"phases": phases})
        return self.model_copy(update={"teacher": teacher, "training": training, "finetune": finetune})

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def first_difference(self, other: "Recipe") -> str | None:
        """The first setting that makes the trained supernets of two recipes differ, in words."""
        # A teacher is told by its content: its file may be moved, and its outputs kept elsewhere.
        apart: Any = {"search": True, "finetune": True, "name": True, "teacher": {"file", "cache", "cache_gb"}}
        mine, theirs = (flat(r.model_dump(mode="json", exclude=apart)) for r in (self, other))
        for key in mine | theirs:
            if mine.get(key) != theirs.get(key):
                return f"{key} is {mine.get(key)} there, {theirs.get(key)} here"
        return None


class SuperResolutionRecipe(Recipe):
    task: TaskSection
    data: DataSection

    @model_validator(mode="after")
    def _resizes_twice(self) -> Self:
        how = self.data.degradation
        if how and how.resize and how.times == 1 and (self.task.scale == 1 or how.resize.factor != (1, 1)):
            raise ValueError("data.degradation.resize draws a factor in the first of two passes; set its times to 2")
        if how and how.jpeg and self.task.channels not in (1, 3):
            raise ValueError(f"data.degradation.jpeg is for 1 or 3 channels, and task.channels is {self.task.channels}")
        return self


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


def about(name: str) -> str:
    """What a recipe that comes with the package searches, and how long that takes: the comment in its first line."""
    return packaged(name).partition("\n")[0].removeprefix("# ")


def packaged(name: str) -> str:
    """The text of a recipe that comes with the package."""
    return files("evo_c2f.runs.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


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
        text = packaged(name_or_file)
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
    "task.": list(TaskSection.model_fields | TranslationSection.model_fields),
    "space.": list(SearchSpace.__dataclass_fields__),
    "data.": list(DataSection.model_fields | PairsSection.model_fields),
    "data.degradation.": list(DegradationSection.model_fields),
    "data.degradation.blur.": list(BlurSection.model_fields),
    "data.degradation.resize.": list(ResizeSection.model_fields),
    "data.degradation.noise.": list(NoiseSection.model_fields),
    "data.degradation.jpeg.": list(JpegSection.model_fields),
    "training.": list(TrainingSection.model_fields),
    "training.losses.": list(LossesSection.model_fields),
    "training.discriminator.": list(DiscriminatorSection.model_fields),
    "finetune.": list(FinetuneSection.model_fields),
    "teacher.": list(TeacherSection.model_fields),
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
