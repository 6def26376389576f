from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pytest
import torch
from supernet_fixtures import random_pixels, small_space, training_settings, write_images
from test_job import make_job
from torch import Tensor

from evo_c2f.errors import FailedError, InputError
from evo_c2f.sections.data import PairsSection
from supernet import checkpoint
from supernet.data.pair_data import PairData
from supernet.jobs.comparison import Comparison, Contender, Trials, baselines, widest_within
from supernet.jobs.job import Job
from supernet.metrics.tasks import Translation
from supernet.network.cost import network_costs
from supernet.network.plain import PlainUpscaler
from supernet.network.teacher import ResNetGenerator
from supernet.teachers.outputs import Outputs, Taught

ROUNDS, BATCH = 6, 2


@contextmanager
def unwatched(title: str, rounds: int) -> Iterator[tuple[Any, Any]]:
    yield (lambda index, loss: None), (lambda index, trouble: None)


class NotFiniteOnce:
    """A job's data, of whose batches the fourth is damaged when it is first taken."""

    def __init__(self, data: Any):
        self.data, self.taken = data, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)

    def training(self, *how: Any, **others: Any) -> Any:
        self.batches = self.data.training(*how, **others)
        return self

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        source, target = self.batches[index]
        self.taken += 1
        return (source * torch.nan if self.taken == 4 else source), target

    def close(self) -> None:
        self.batches.close()


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    job = make_job(write_images(tmp_path / "photos", {f"{seed}.png": random_pixels(48, 60, seed) for seed in range(5)}))
    return Comparison(job, training_settings(1), job.score(["psnr_y"]), BATCH, tmp_path / "models", unwatched)


def test_a_curve_ends_in_what_the_averaged_weights_come_to(comparison: Comparison):
    trained = comparison.train("plain", PlainUpscaler(4, 1), ROUNDS * BATCH, 0.01)
    on_the_way = checkpoint.load(comparison.folder / "plain.safetensors")[1]["curve"]
    assert len(trained.curve) == ROUNDS and trained.curve[:-1] == on_the_way[:-1]
    assert trained.curve[-1] == pytest.approx(comparison.search.of(trained.network)["psnr_y"], abs=1e-5)
    assert trained.curve[-1] != on_the_way[-1]


def test_after_a_setback_a_curve_keeps_no_point_of_the_rounds_that_were_undone(comparison: Comparison):
    comparison.job.data = faulty = NotFiniteOnce(comparison.job.data)
    trained = comparison.train("plain", PlainUpscaler(4, 1), ROUNDS * BATCH, 0.01)
    assert faulty.taken == 4 + ROUNDS and len(trained.curve) == ROUNDS


def test_a_network_of_an_older_version_is_not_trained_again_and_another_is_refused(comparison: Comparison):
    first = comparison.train("plain", PlainUpscaler(4, 1), BATCH, 0.01)
    file = comparison.folder / "plain.safetensors"
    tensors, metadata = checkpoint.load(file)
    del metadata["plain"]["channels"]
    checkpoint.save(file, tensors, metadata)
    again = comparison.train("plain", PlainUpscaler(4, 1), BATCH, 0.01)
    assert again.row() == first.row() and torch.equal(again.network.stem.weight, first.network.stem.weight)
    with pytest.raises(InputError, match="holds another network"):
        comparison.train("plain", PlainUpscaler(4, 2), BATCH, 0.01)


@pytest.mark.parametrize("rates", [(0.03, 0.01), (0.01, 0.03)])
def test_a_rate_at_which_training_fails_or_is_not_finite_is_never_the_best(comparison, monkeypatch, caplog, rates):
    real = comparison.train

    def train(self, name, network, images, rate):
        if rate == 0.1:
            raise FailedError("training failed 6 times")
        trained = real(name, network, images, rate)
        return replace(trained, curve=[nan]) if rate == 0.03 else trained

    monkeypatch.setattr(Comparison, "train", train)
    trials = Trials(BATCH, BATCH, -1, (0.01,))
    contender = Contender("plain", lambda _: PlainUpscaler(4, 1), (0.1, *rates))
    best, tried = comparison.best_rate(contender, trials)
    assert best == 0.01 and len(tried) == 2
    assert "plain-trial-0.1 is left out: training failed 6 times" in caplog.text
    with pytest.raises(FailedError, match="6 times"):
        comparison.best_rate(replace(contender, rates=(0.1,)), trials)


def test_a_teacher_that_was_brought_is_compared_unless_its_outputs_are_the_targets(tmp_path: Path):
    write_images(tmp_path / "train", {"a.png": random_pixels(16, 32, 0)})
    write_images(tmp_path / "val", {f"{seed}.png": random_pixels(16, 32, 1 + seed) for seed in range(3)})
    section = {"folder": str(tmp_path), "crop": 16, "batch": 1, "validation_images": 2}
    data = PairData(PairsSection.model_validate(section), 0)
    job = Job(small_space(), Translation(), data, 0, torch.device("cpu"), teacher=lambda x: 1 - x)  # type: ignore[arg-type]
    outputs = Outputs(tmp_path / "outputs", "a", lambda x: 1 - x, 1 << 20, job.device)
    for alone, last in ((False, "the teacher that was brought"), (True, "the mean image")):
        data.taught = Taught(outputs, 1, alone)
        rows = baselines(job, job.score(["psnr_y"], full=True))
        assert rows[-1]["network"] == last and all(3 < row["psnr_y"] < 30 for row in rows)


def test_images_of_several_sizes_are_compared_without_their_mean(tmp_path: Path):
    write_images(tmp_path / "train", {"a.png": random_pixels(16, 32, 0)})
    write_images(tmp_path / "val", {f"{side}.png": random_pixels(16, 2 * side, side) for side in (16, 24)})
    section = {"folder": str(tmp_path), "load_size": None, "crop": 16, "batch": 1, "validation_images": 2}
    data = PairData(PairsSection.model_validate(section), 0)
    job = Job(small_space(), Translation(), data, 0, torch.device("cpu"))
    assert [row["network"] for row in baselines(job, job.score(["psnr_y"], full=True))] == ["the input itself"]


def test_the_narrow_teacher_is_the_widest_that_exceeds_neither_cost():
    size = (16, 32)
    of_seven, of_five = (network_costs(ResNetGenerator(width), size) for width in (7, 5))
    assert widest_within(of_seven, size) == 7
    assert widest_within({"params": of_seven["params"], "macs": of_five["macs"]}, size) == 5
    assert widest_within({"params": of_five["params"] - 1, "macs": of_seven["macs"]}, size) == 4
    assert widest_within({"params": 10.0, "macs": 10.0}, size) == 0
