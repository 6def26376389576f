"""Translation without pairs, by the commands: a teacher, and a search that learns from it."""

import json
from pathlib import Path

import pytest
import torch
from command_line import TINY_PAIRS, exit_code, settings
from supernet_fixtures import random_pixels, write_images
from torch import Tensor

from evo_c2f.runs.run import RunFolder, read_log
from supernet import checkpoint
from supernet.data.aligned import Pairs, in_batches
from supernet.data.picture_files import pictures_in
from supernet.metrics.frechet import Frechet
from supernet.models.model import load_network
from supernet.training.adversary import Adversary

SHORT = ("training.rounds=2", "training.stage_rounds=2", "finetune.rounds=2", "finetune.phases=[]")
CHANGES = (*TINY_PAIRS, *SHORT, "search.objectives=[psnr_rgb, macs]", "search.rescore=[fd_vgg_n3]")
LEARNING = ("data.target=teacher", "training.discriminator.conditioned=false", "training.losses.pixel_rounds=0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise, as CycleGAN publishes pictures; A is darker than B."""
    root = tmp_path_factory.mktemp("data") / "apart"
    for number, (split, n) in enumerate({"trainA": 5, "trainB": 6, "testA": 4, "testB": 3}.items()):
        part, least = (3, 0) if split.endswith("A") else (2, 128)
        images = {f"{i}.png": random_pixels(32, 32, 50 * number + i) // part + least for i in range(n)}
        write_images(root / split, images)
    return root


def train_teacher(folder: Path, run: Path, *words: object) -> int:
    line = ("train-teacher", "--recipe", "openmoji", "--threads", 1, "--width", 4, "--data", folder, "--run", run)
    return exit_code(*line, *settings(*CHANGES), *(words or ("--unpaired", "--images", 4)))


@pytest.fixture(scope="module")
def teacher(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both generators."""
    run = tmp_path_factory.mktemp("runs") / "teacher"
    assert train_teacher(folder, run) == 0
    return run / "models"


def of(folder: Path) -> Tensor:
    ((images, _),) = in_batches(Pairs(pictures_in(folder), "alone", None), 64)
    return images


def test_a_folder_without_pairs_ends_in_a_small_network(
    folder: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, learn, run = list[Tensor](), Adversary.learn, tmp_path / "run"

    def learn_and_tell(self, source, real, fakes, *more):
        seen.extend(real)
        return learn(self, source, real, fakes, *more)

    monkeypatch.setattr(Adversary, "learn", learn_and_tell)
    words = ("--recipe", "openmoji", "--data", folder, "--run", run, "--teacher", teacher / "teacher.safetensors")
    assert exit_code("train-supernet", *words, "--threads", 1, *settings(*CHANGES, *LEARNING)) == 0
    assert exit_code("evolve", "--run", run, "--stage", "path", "--threads", 1, "--evaluations", 6) == 0
    assert exit_code("finetune", "--run", run, "--threads", 1) == 0
    real = of(folder / "trainB")
    known = [*real, *real.flip(3)]
    assert len(seen) >= 6 and all(any(torch.equal(image, other) for other in known) for image in seen)

    model, (inputs, reals) = run / "model" / "model.safetensors", map(of, (folder / "testA", folder / "testB"))
    metrics, network = checkpoint.load(model)[1]["metrics"], load_network(model)
    distance = Frechet("fd_vgg_n3", [reals], torch.device("cpu"))
    distance.add(network(inputs), inputs)
    assert metrics["fd_vgg_n3"] == pytest.approx(distance.value(), rel=1e-4)
    wanted = load_network(teacher / "teacher.safetensors")(inputs)
    error = (wanted - network(inputs)).square().mean()
    assert metrics["psnr_rgb"] == pytest.approx(-10 * float(error.log10()), abs=0.05)


def test_the_other_direction_has_its_teacher_too(folder: Path, teacher: Path, tmp_path: Path) -> None:
    words = ("--data", folder, "--run", tmp_path / "run", "--teacher", teacher / "teacher-back.safetensors")
    changes = settings(*CHANGES, *LEARNING, "data.direction=BtoA", "training.stages=[joint]")
    assert exit_code("train-supernet", "--recipe", "openmoji", *words, "--threads", 1, *changes) == 0
    record = json.loads((tmp_path / "run" / "data.json").read_text())
    assert {use: rows[0][0] for use, rows in record.items() if rows} == {
        "train": "trainB/0.png",
        "search": "testB/0.png",
        "full": "testB/0.png",
        "real train": "trainA/0.png",
        "real search": "testA/0.png",
        "real full": "testA/0.png",
    }


def test_a_finished_teacher_is_found_again_and_told(folder: Path, teacher: Path, capsys) -> None:
    assert train_teacher(folder, teacher.parent, "--unpaired", "--images", 4, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == {"model", "back", "seconds"} and Path(told["back"]).name == "teacher-back.safetensors"
    assert RunFolder.open(teacher.parent).recipe.data.target == "pictures"
    assert not [line for line in read_log(teacher.parent / "log.jsonl") if line["event"] == "setback"]
    assert train_teacher(folder, teacher.parent, "--unpaired", "--images", 6) == 2
    assert "is of another training (images is 4 there, 6 here); remove it" in capsys.readouterr().err


def test_bad_calls_are_refused_in_one_sentence(folder: Path, teacher: Path, tmp_path: Path, capsys) -> None:
    splits = [f"{split}/{i}.png" for split in ("train", "val") for i in range(2)]
    pairs = write_images(tmp_path / "pairs", {name: random_pixels(32, 64) for name in splits})
    run, few = tmp_path / "run", "search.rescore=[fd_vgg_n4]"
    small = ("search", "--recipe", "openmoji", "--data", folder, "--run", run, "--threads", 1, *settings(*CHANGES))
    taught = (*small, "--teacher", teacher / "teacher.safetensors")
    conditioned = (*LEARNING, "training.discriminator.conditioned=true")
    photographs = ("train-teacher", "--unpaired", "--images", 4, "--run", run, "--data", folder / "trainA")
    for words, sentence in (
        (("--unpaired", "--images", 4), f"of trainA/, trainB/, testA/ and testB/; {pairs} is no such one"),
        (small, "the pictures have no partners to learn from; train a teacher by 'train-teacher --unpaired', and"),
        (taught, "the pictures have no partners to learn from"),
        ((*taught, *settings(*conditioned)), "set training.discriminator.conditioned=false"),
        ((*taught, *settings(*LEARNING, few)), "there are 3; name it fd_vgg_n3"),
        (photographs, "--unpaired is for translation"),
    ):
        code = train_teacher(pairs, run, *words) if words[0] == "--unpaired" else exit_code(*words)
        said = capsys.readouterr().err.strip()
        assert code == 2 and sentence in said, said
        assert not (run / "recipe.yaml").exists()
    assert train_teacher(folder, run, "--images", 4) == 2
    assert "train a teacher by 'train-teacher --unpaired'" in capsys.readouterr().err
    deep = settings("training.discriminator.layers=5")
    assert train_teacher(folder, run, "--unpaired", "--images", 4, *deep) == 2
    assert "discriminator of 5 layers is too deep" in capsys.readouterr().err and not (run / "recipe.yaml").exists()
