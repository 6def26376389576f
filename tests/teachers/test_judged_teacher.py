"""The figures of a teacher that was brought, where the final front has more images than the search."""

from pathlib import Path
from types import SimpleNamespace

import torch
from supernet_fixtures import random_pixels, small_space, write_images

from evo_c2f.objectives.metric import metric
from evo_c2f.sections.data import PairsSection
from evo_c2f.workflows.search import judge_teacher
from supernet.data.pair_data import PairData
from supernet.jobs.job import Job
from supernet.metrics.tasks import Translation
from supernet.teachers.outputs import Outputs, Taught


class Halved:
    words = "a function"

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x / 2


def test_a_frechet_distance_of_a_teacher_counts_the_images_of_the_final_front(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {f"{seed}.png": random_pixels(16, 32, seed) for seed in range(3)})
    write_images(tmp_path / "val", {f"{seed}.png": random_pixels(16, 32, 9 + seed) for seed in range(4)})
    write_images(tmp_path / "test", {f"{seed}.png": random_pixels(16, 32, 99 + seed) for seed in range(6)})
    section = PairsSection.model_validate({"folder": str(tmp_path), "crop": 16, "batch": 1, "validation_images": 4})
    data, cpu = PairData(section, 0), torch.device("cpu")
    job = Job(small_space(), Translation(), data, 0, cpu, teacher=Halved())  # type: ignore[arg-type]
    data.taught = Taught(Outputs(tmp_path / "outputs", "a", Halved(), 1 << 20, cpu), 1, alone=False)
    kept: dict[str, dict[str, float]] = {}
    session = SimpleNamespace(
        job=job,
        first_quality=metric("fd_vgg_n4"),
        run=SimpleNamespace(log_file=tmp_path / "log.jsonl", log=lambda event, **line: kept.update(line)),
        settings=SimpleNamespace(teacher=SimpleNamespace(file="f", digest="d")),
        rescored=["psnr_y"],
    )
    judge_teacher(session)  # type: ignore[arg-type]
    whole = job.score(["fd_vgg_n6", "psnr_y"], full=True).of(Halved())
    assert kept["metrics"] == job.score(["fd_vgg_n4"]).of(Halved()) | {
        "fd_vgg_n4_full": whole["fd_vgg_n6"],
        "psnr_y_full": whole["psnr_y"],
    }
