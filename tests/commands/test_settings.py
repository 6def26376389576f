"""Every key of every section of a recipe has an effect, or is refused: none is accepted and then ignored."""

import copy
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import BaseModel
from supernet_fixtures import one_thread

from evo_c2f.errors import InputError
from evo_c2f.runs import recipe
from evo_c2f.runs.recipe import Recipe
from evo_c2f.runs.run import RunFolder
from evo_c2f.sections.data import TeacherSection
from evo_c2f.sections.search import EvaluationsSection, SearchSection, SurvivorsSection
from evo_c2f.sections.section import Section
from evo_c2f.space import SearchSpace
from evo_c2f.workflows.search import evolve
from evo_c2f.workflows.session import Session, task_and_data
from evo_c2f.workflows.train import train
from supernet import checkpoint
from supernet.jobs.alone import TrainingAlone
from supernet.jobs.finetune import plan_of
from supernet.jobs.job import Job, StageTraining
from supernet.models import model

Outcome = Callable[[Recipe, Path], bytes]  # what comes of a recipe
TERMS = {
    **{"l1": 1.0, "l2": 0.5, "spectrum": 0.5, "perceptual": 0.5, "perceptual_layers": ["relu1_2"], "adversarial": 0.5},
    **{"feature_matching": 0.5, "distillation": 0.5, "perceptual_distillation": 0.5, "guide": "widest"},
}
SPACE = {
    **{"n_cells": 2, "widths": {1: [8, 12]}, "operators": ["pointwise", "residual"], "inner_ratios": [0.5, 1.0]},
    **{"reference_path": [1, 1], "reference_operator": "residual"},
}
TRAINING = {
    **{"rounds": 4, "learning_rate": 0.01, "losses": {**TERMS, "pixel_rounds": 1}, "discriminator": {"width": 4}},
    **{"stages": ["joint", "operator"], "stage_rounds": 1},
}
EVALUATIONS = dict.fromkeys(("path", "operator", "channel", "joint"), 4)
SEARCH = {"population": 4, "evaluations": EVALUATIONS, "output_size": [32, 32]}
PHASES = [{"until": 0.5, "side": 6, "losses": {**TERMS, "l1": 0.9}}, {"until": 1}]
PHOTOGRAPHS = {"patch": 8, "batch": 2, "validation_images": 1, "validation_crops": 2, "crop": 32}


@pytest.fixture(scope="module")
def base(photographs: Path) -> dict[str, Any]:
    """A recipe of super-resolution in which every setting counts."""
    return {
        "name": "all",
        "task": {"name": "super-resolution", "scale": 2},
        "space": SPACE,
        "data": {"folder": str(photographs), **PHOTOGRAPHS},
        "training": TRAINING,
        "finetune": {"rounds": 4, "phases": PHASES},
        "search": SEARCH,
    }


@pytest.fixture(scope="module")
def teacher(base: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a network that may guide instead of the widest subnet."""
    job, path = job_of(changed(base, "seed", 5)), tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    network = job.fresh(job.space.decode(job.space.reference))
    checkpoint.save(path, network.state_dict(), model.header(network))
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A recipe of translation."""
    folder, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    for split in ("train", "val", "test"):
        (folder / split).mkdir()
        for i in range(3):
            Image.fromarray(rng.integers(0, 256, (24, 48, 3), dtype=np.uint8)).save(folder / split / f"{i}.png")
    data = {"folder": str(folder), "load_size": 20, "crop": 16, "batch": 2, "validation_images": 2}
    training = {"rounds": 2, "learning_rate": 0.01, "losses": {"adversarial": 1.0}, "discriminator": {"width": 4}}
    return {
        **{"name": "pairs", "task": {"name": "translation"}, "space": SPACE, "data": data, "training": training},
        "search": {**SEARCH, "objectives": ["psnr_y", "macs"]},
    }


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any], Outcome], bytes]:
    """The outcome of a recipe as it is, made once."""
    found: dict[tuple[str, str], bytes] = {}

    def ask(data: dict[str, Any], outcome: Outcome) -> bytes:
        key = data["name"], outcome.__name__
        if key not in found:
            found[key] = outcome(changed(data, "name", data["name"]), tmp_path_factory.mktemp("known"))
        return found[key]

    return ask


@pytest.fixture(autouse=True)
def alone_on_one_thread() -> Iterator[None]:
    """So that what is the same is the same bit for bit."""
    with one_thread():
        yield


def changed(data: dict[str, Any], key: str, value: Any) -> Recipe:
    """The recipe with another value of a dotted key; a number in it is a place in a list."""
    data = copy.deepcopy(data)
    *sections, last = (int(part) if part.isdigit() else part for part in key.split("."))
    place = data
    for section in sections:
        place = place[section] if isinstance(section, int) else place.setdefault(section, {})
    place[last] = value
    return recipe.checked(data, (), "test")


def job_of(settings: Recipe) -> Job:
    return Job(settings.space, *task_and_data(settings), settings.seed, torch.device("cpu"))


# -- what comes of a setting ----------------------------------------------------------------------


def ignore(*told: Any) -> None: ...


def supernet_of(settings: Recipe, folder: Path) -> bytes:
    """The joint training's weights."""
    target, job = folder / "joint.safetensors", job_of(settings)
    job.train(StageTraining("joint"), settings.training, target, ignore, ignore)
    return digest(checkpoint.load(target)[0].values())


def finetuned(settings: Recipe, folder: Path) -> bytes:
    """The weights of the reference trained alone, as `finetune` does."""
    target, job, training = folder / "alone.safetensors", job_of(settings), settings.for_finetuning()
    plan = plan_of(settings.finetune, training.losses, job.supernet())
    network = job.fresh(job.space.decode(job.space.reference))
    TrainingAlone(job, training, plan).run(network, target, {}, ignore)
    return digest(checkpoint.load(target)[0].values())


def images_of(settings: Recipe, folder: Path) -> bytes:
    """What is trained and judged on."""
    data = job_of(settings).data
    batches = [data.training((settings.seed,))[0], *data.search(), *data.full()]
    return digest([image for pair in batches for image in pair])


def space_of(settings: Recipe, folder: Path) -> bytes:
    """The subnets, as their networks are built."""
    genomes = settings.space.random(20, np.random.default_rng(0))
    return repr([settings.space.decode(genome) for genome in [settings.space.reference, *genomes]]).encode()


def digest(tensors: Iterable[torch.Tensor]) -> bytes:
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(repr(tuple(tensor.shape)).encode() + tensor.contiguous().numpy().tobytes())
    return found.digest()


OTHER_TERMS = {
    **dict.fromkeys(("l1", "l2", "spectrum", "perceptual", "adversarial", "feature_matching", "distillation"), 0.7),
    "perceptual_distillation": 0.7,
    **{"perceptual_layers": ["relu2_1"], "guide": "TEACHER"},
}
EFFECTS: dict[Outcome, dict[str, Any]] = {
    supernet_of: {
        "seed": 1,
        **{f"training.losses.{key}": value for key, value in {**OTHER_TERMS, "pixel_rounds": 2}.items()},
        **{"training.discriminator.loss": "hinge", "training.discriminator.width": 8},
        **{"training.discriminator.layers": 2, "training.discriminator.learning_rate": 0.1},
        **{"training.rounds": 3, "training.sampler": "fair_widest", "training.optimizer": "muon"},
        **{"training.learning_rate": 0.02, "training.ema": 0.01, "training.beta1": 0.5, "training.final_rate": 1.0},
        **{"training.precision": "bf16", "training.divide_gradients": True},
    },
    finetuned: {
        **{f"finetune.phases.0.losses.{key}": value for key, value in OTHER_TERMS.items()},
        **{"finetune.phases.0.until": 0.25, "finetune.phases.0.side": 12, "finetune.phases.0.losses": None},
        **{"finetune.phases": [], "finetune.rounds": 3, "finetune.batch": 1, "finetune.optimizer": "muon"},
        **{"finetune.learning_rate": 0.02, "finetune.ema": 0.01, "finetune.final_rate": 1.0},
    },
    images_of: {
        **{"task.scale": 4, "data.folder": "embedded", "data.patch": 6, "data.batch": 1, "data.crop": 48},
        **{"data.validation_images": 2, "data.validation_crops": 1, "task.channels": 1, "data.depth": 16},
    },
    space_of: {
        **{"space.widths": {1: [8, 16]}, "space.operators": ["residual", "pointwise"]},
        **{"space.inner_ratios": [1.0], "space.reference_path": [1, "skip"], "space.reference_operator": "pointwise"},
    },
}
EFFECTS_ON_PAIRS: dict[Outcome, dict[str, Any]] = {
    supernet_of: {"training.discriminator.conditioned": False},
    images_of: {
        **{"data.folder": "OTHER", "data.direction": "BtoA", "data.load_size": 18, "data.crop": 12, "data.flip": False},
        **{"data.batch": 1, "data.validation_images": 1},
    },
}
DEGRADED = {
    **{"blur": {"sigma": [1, 2]}, "resize": {"filters": ["area"]}, "noise": {"sigma": [5, 9]}},
    **{"jpeg": {"quality": [30, 60]}, "times": 2},
}
EFFECTS_ON_DEGRADED: dict[Outcome, dict[str, Any]] = {
    images_of: {
        **{"data.degradation.blur.sigma": [1, 3], "data.degradation.blur.kinds": ["anisotropic"]},
        **{"data.degradation.blur.chance": 0, "data.degradation.noise.chance": 0, "data.degradation.jpeg.chance": 0},
        **{"data.degradation.resize.filters": ["bicubic"], "data.degradation.resize.factor": [0.5, 0.9]},
        **{"data.degradation.noise.sigma": [5, 10], "data.degradation.noise.kinds": ["poisson"]},
        **{"data.degradation.jpeg.quality": [20, 60], "data.degradation.times": 1, "data.degradation.order": "random"},
    },
}
# Read by the commands: `test_the_commands_read_every_other_setting` sees to that.
READ = {
    *(f"search.{key}" for key in SearchSection.model_fields if key not in ("evaluations", "survivors")),
    *(f"search.evaluations.{key}" for key in EvaluationsSection.model_fields),
    *(f"search.survivors.{key}" for key in SurvivorsSection.model_fields),
    *("name", "training.stages", "training.stage_rounds"),
}
# In tests of their own.
OUTSIDE = {"data.degradation.plugin"}  # in tests/test_plugins.py
OUTSIDE |= {"task.input_channels", "task.output_channels"}  # in tests/commands/test_channels.py
OUTSIDE |= {"task.bounded"}  # in tests/network/test_generator.py and tests/runs/test_recipe.py
OUTSIDE |= {"data.inputs"}  # in tests/data/test_two_folders.py
TAUGHT = {"data.target", *(f"teacher.{key}" for key in TeacherSection.model_fields)}  # in tests/teachers
REFUSED = {"task.name", "finetune.phases.0.losses.pixel_rounds", "data.benchmarks", "space.n_cells"}


def keys_of(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """All dotted keys of a section and of those within it."""
    for name, field in section.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        within = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
        if name == "space":
            yield from (f"space.{key}" for key in SearchSpace.__dataclass_fields__)
        elif within:
            yield from keys_of(within, f"{prefix}{name}.0." if name == "phases" else f"{prefix}{name}.")
            if name in ("phases", "losses") and prefix.startswith("finetune"):
                yield prefix + name
        else:
            yield prefix + name


def test_every_key_of_every_section_is_tried_here():
    every = {key for kind in recipe.RECIPES.values() for key in keys_of(kind)}
    tables = (EFFECTS, EFFECTS_ON_PAIRS, EFFECTS_ON_DEGRADED)
    tried = [key for effects in tables for keys in effects.values() for key in keys]
    assert every == {*tried, *READ, *TAUGHT, *OUTSIDE, *REFUSED}


def cases(effects: dict[Outcome, dict[str, Any]]) -> list[tuple[Outcome, str, Any]]:
    return [(outcome, key, value) for outcome, keys in effects.items() for key, value in keys.items()]


@pytest.mark.parametrize(("outcome", "key", "value"), cases(EFFECTS))
def test_a_setting_has_an_effect(base, teacher, known, tmp_path, outcome, key, value):
    settings = changed(base, key, str(teacher) if value == "TEACHER" else value)
    assert outcome(settings, tmp_path) != known(base, outcome)


@pytest.mark.parametrize(("outcome", "key", "value"), cases(EFFECTS_ON_DEGRADED))
def test_a_setting_of_degraded_inputs_has_an_effect(base, known, tmp_path, outcome, key, value):
    degraded = {**base, "name": "degraded", "data": {**base["data"], "degradation": DEGRADED}}
    assert outcome(changed(degraded, key, value), tmp_path) != known(degraded, outcome)


@pytest.mark.parametrize(("outcome", "key", "value"), cases(EFFECTS_ON_PAIRS))
def test_a_setting_of_pairs_has_an_effect(pairs, known, tmp_path, outcome, key, value):
    if value == "OTHER":
        value = str(shutil.copytree(pairs["data"]["folder"], tmp_path / "other"))
        (tmp_path / "other" / "train" / "0.png").unlink()
    assert outcome(changed(pairs, key, value), tmp_path) != known(pairs, outcome)


def test_a_phase_has_no_pixel_rounds(base):
    with pytest.raises(InputError, match=r"finetune\.phases\.0\.losses\.pixel_rounds is 1"):
        changed(base, "finetune.phases.0.losses.pixel_rounds", 1)
    changed(base, "finetune.phases.0.losses.pixel_rounds", 0)  # as resolved recipes have it


def test_pixel_rounds_that_leave_no_other_are_refused(base):
    with pytest.raises(InputError, match="pixel_rounds is 4 of 4 rounds, so L1 would stand alone to the end"):
        changed(base, "training.losses.pixel_rounds", 4)


def test_the_settings_of_another_task_are_refused(base):
    with pytest.raises(InputError, match=r"setting 'task\.scale' is unknown"):
        changed(base, "task.name", "translation")


def test_a_number_of_cells_that_is_not_the_reference_path_s_is_refused(base):
    with pytest.raises(InputError, match="reference_path has 2 cells, the space 3"):
        changed(base, "space.n_cells", 3)


def test_where_training_is_shorter_l1_stands_alone_for_the_same_share_of_it(base):
    settings = changed(base, "finetune.rounds", 12)
    assert settings.for_finetuning().losses.pixel_rounds == 3  # 1 of 4
    assert settings.training.lasting(8).losses.pixel_rounds == 2 and settings.training.lasting(8).rounds == 8


def test_a_benchmark_that_holds_a_training_image_is_refused(base, tmp_path):
    shutil.copytree(base["data"]["folder"], tmp_path / "HR")
    with pytest.raises(InputError, match="is the benchmark image"):
        images_of(changed(base, "data.benchmarks", [str(tmp_path)]), tmp_path)


# -- what the commands read -----------------------------------------------------------------------


def test_the_commands_read_every_other_setting(base, tmp_path, monkeypatch):
    run, read = RunFolder(tmp_path, changed(base, "search.rescore", ["ssim_y"])), set[tuple[str, str]]()
    job, ask = job_of(run.recipe), Section.__getattribute__

    def record(section: Section, name: str) -> Any:
        if name in type(section).model_fields:
            read.add((type(section).__name__, name))
        return ask(section, name)

    session = Session(run, run.recipe, job)
    monkeypatch.setattr(Section, "__getattribute__", record)
    train(session, "joint")
    for stage in ("path", "operator", "channel", "joint"):
        if stage == "operator":
            train(session, "operator")
        evolve(session, stage, 0, session.hiring())
    monkeypatch.undo()
    assert {tuple(line["objectives"]) for line in run.last("evolved").values()} == {("psnr_y", "macs")}
    sections = {"": "SuperResolutionRecipe", "training": "TrainingSection", "search": "SearchSection"}
    sections["search.evaluations"] = "EvaluationsSection"
    sections["search.survivors"] = "SurvivorsSection"
    unread = [key for key in READ if (sections[key.rpartition(".")[0]], key.rpartition(".")[2]) not in read]
    assert unread == []
