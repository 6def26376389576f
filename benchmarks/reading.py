"""What reading pictures costs a training: its share of the time, the memory, and the rate beside torch's DataLoader.

    python benchmarks/reading.py hidden
    python benchmarks/reading.py memory FOLDER
    python benchmarks/reading.py held-out FOLDER
    python benchmarks/reading.py pairs FOLDER

hidden: rounds a second of sr-x4's fine-tuning if each photograph takes 50 ms to read and none is kept, relative to
photographs in memory; in turns, so that a drifting machine cancels out. memory: the peak of a training on 800
photographs of DIV2K's size, which are made in FOLDER, from those that scikit-image carries, unless they are there.
held-out: the peak of measuring one network of restore's space on 20 photographs of 24 megapixels, made likewise.
pairs: pairs a second that are decoded, cropped and flipped of the aligned folder FOLDER, and CPU seconds for each, by a
training's reader and by a DataLoader with two workers; in turns, nothing is kept in memory.
"""

import resource
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a file, as cli.py is

from evo_c2f.json_text import to_json
from evo_c2f.runs import recipe
from evo_c2f.sections.data import PairsSection
from evo_c2f.workers.machine import Machine
from evo_c2f.workflows.session import make_job
from supernet.batches.ahead import READERS
from supernet.batches.kept import Kept
from supernet.batches.patches import Pairs
from supernet.data.images import Pixels, read_rgb
from supernet.data.pair_data import PairData
from supernet.data.photograph_data import PhotographData
from supernet.data.photographs import embedded
from supernet.jobs.alone import TrainingAlone
from supernet.jobs.finetune import plan_of

COMMAND = Path(__file__).parents[1] / "cli.py"
SIZE_MB = 1.49  # of the network, as of the published ones that results/sr-x4 compares with
WARM_UP = 10  # rounds that are not counted, of each training
SIZE = (2040, 1356)  # (width, height) of most of DIV2K
BYTES = 1 if sys.platform == "darwin" else 1024  # in which getrusage counts memory


class Slow:
    """Pairs that are never in memory, and take some seconds to read."""

    at_hand = False

    def __init__(self, pairs: Pairs, seconds: float):
        self.pairs, self.seconds = pairs, seconds
        self.scale, self.sizes = pairs.scale, pairs.sizes

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, number: int) -> tuple[Pixels, Pixels]:
        time.sleep(self.seconds)
        return self.pairs[number]

    def forget(self) -> None:
        """There is nothing to forget."""


@click.group()
def main() -> None:
    """What reading pictures costs a training."""


@main.command()
@click.option("--rounds", default=40, help="of each training")
@click.option("--repeats", default=3, help="trainings of each kind")
def hidden(rounds: int, repeats: int) -> None:
    """The rate of rounds with a slow reader, relative to photographs in memory."""
    changes = ("data.folder=embedded", "data.validation_images=2", f"finetune.rounds={rounds + WARM_UP}")
    settings = recipe.load("sr-x4", changes)
    job = make_job(settings, Machine("cpu", threads=1))
    assert isinstance(job.data, PhotographData)
    places, plan = job.data.places, plan_of(settings.finetune, settings.training.losses, None)
    pairs = {"in memory": places.pairs, "50 ms each": Slow(places.pairs, 0.05)}
    seconds: dict[str, list[float]] = {name: [] for name in pairs}
    costs = job.costs((256, 256))
    subnets = [job.space.decode(genome) for genome in job.space.random(500, np.random.default_rng(0))]
    network = min(subnets, key=lambda subnet: abs(costs(subnet)["size_mb"] - SIZE_MB))
    _ = [places.pairs[number] for number in range(len(places.pairs))]  # all are in memory now
    for _ in range(repeats):
        for name, of_name in pairs.items():
            places.pairs, times = of_name, list[float]()
            with TemporaryDirectory() as folder:
                target = Path(folder) / "model.safetensors"
                training = TrainingAlone(job, settings.for_finetuning(), plan)
                training.run(job.fresh(network), target, {}, lambda index, loss: times.append(time.perf_counter()))  # noqa: B023
            seconds[name].append((times[-1] - times[WARM_UP - 1]) / rounds)
    medians = {name: median(some) for name, some in seconds.items()}
    ratio = median(a / b for a, b in zip(*seconds.values(), strict=True))
    print(to_json({"size_mb": costs(network)["size_mb"], "batch": settings.finetune.batch, "readers": READERS,
                   "seconds_a_round": medians, "rate_ratio": ratio}, indent=1))  # fmt: skip


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--n", default=800, help="photographs")
@click.option("--rounds", default=30)
def memory(folder: Path, n: int, rounds: int) -> None:
    """The peak of the resident memory of sr-x4's training on FOLDER."""
    folder = make_photographs(folder, n, SIZE)
    started = time.monotonic()
    with TemporaryDirectory() as run:
        words = ["train-supernet", "--recipe", "sr-x4", "--data", str(folder), "--run", run, "--device", "cpu"]
        command = [sys.executable, str(COMMAND), *words, "--set", f"training.rounds={rounds}"]
        subprocess.run(command, check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * BYTES
    found = {"photographs": n, "size": SIZE, "rounds": rounds, "seconds": time.monotonic() - started}
    print(to_json(found | {"peak_gb": peak / 1e9}, indent=1))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--n", default=20, help="photographs")
@click.option("--size", type=(int, int), default=(6000, 4000), help="their width and height in pixels")
def held_out(folder: Path, n: int, size: tuple[int, int]) -> None:
    """The peak of the resident memory of a final front's measure, and its time for one network."""
    folder = make_photographs(folder, n + 1, size)
    settings = recipe.load("restore", (f"data.folder={folder}", f"data.validation_images={n}"))
    job = make_job(settings, Machine("cpu"))
    started = time.monotonic()
    measure = job.full_measure(job.supernet(), ["psnr_y"], settings.search.output_size)
    prepared = time.monotonic()
    measure([job.space.decode(job.space.reference)])
    seconds = {"seconds_to_prepare": prepared - started, "seconds_a_network": time.monotonic() - prepared}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES
    print(to_json({"photographs": n, "size": size} | seconds | {"peak_gb": peak / 1e9}, indent=1))


class Plain(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """The same pairs as others read them: each item is one random crop, perhaps flipped."""

    def __init__(self, paths: list[Path], crop: int, n: int):
        self.paths, self.crop, self.n = paths, crop, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng(number)
        with Image.open(self.paths[rng.integers(len(self.paths))]) as file:
            pixels = np.asarray(file.convert("RGB"))
        height, width = pixels.shape[0], pixels.shape[1] // 2
        top, left = rng.integers(height - self.crop + 1), rng.integers(width - self.crop + 1)
        step = rng.choice([1, -1])
        halves = (pixels[top : top + self.crop, at : at + self.crop][:, ::step] for at in (left, width + left))
        source, target = (torch.from_numpy(half.copy()).permute(2, 0, 1).float() / 255 for half in halves)
        return source, target


def cpu_seconds() -> float:
    """Of this process and of the workers that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--n", default=1600, help="pairs in each turn")
@click.option("--crop", default=128)
@click.option("--repeats", default=3, help="turns of each kind")
def pairs(folder: Path, n: int, crop: int, repeats: int) -> None:
    """Pairs a second by a training's reader, relative to a DataLoader with two workers."""
    torch.set_num_threads(1)
    changes = (f"data.folder={folder}", "data.load_size=null", f"data.crop={crop}")
    settings = recipe.load("edges2shoes-64", changes).data
    assert isinstance(settings, PairsSection)
    data = PairData(settings, 0)
    of_reader: Any = data.places.pairs
    of_reader.kept = Kept(0)
    plain = Plain([item for item in data.splits["train"] if isinstance(item, Path)], crop, n)

    def read(turn: int) -> None:
        with closing(data.training((turn,))) as batches:
            for index in range(n // settings.batch):
                batches[index]

    def load(turn: int) -> None:
        for _ in DataLoader(plain, settings.batch, num_workers=2):
            pass

    found: dict[str, list[tuple[float, float]]] = {"reader": [], "DataLoader": []}
    for turn in range(repeats):
        for name, work in (("reader", read), ("DataLoader", load)):
            started, cpu = time.perf_counter(), cpu_seconds()
            work(turn)
            found[name].append((n / (time.perf_counter() - started), (cpu_seconds() - cpu) / n))
    rates = {name: median(rate for rate, _ in turns) for name, turns in found.items()}
    cpu_each = {name: median(cpu for _, cpu in turns) for name, turns in found.items()}
    ratio = median(a / b for (a, _), (b, _) in zip(*found.values(), strict=True))
    print(to_json({"pairs_a_second": rates, "cpu_seconds_each": cpu_each, "rate_ratio": ratio}, indent=1))


def make_photographs(folder: Path, n: int, size: tuple[int, int]) -> Path:
    """A folder within it with n parts, enlarged to (width, height), of the embedded photographs; those there stay."""
    folder = folder / f"{size[0]}x{size[1]}"
    folder.mkdir(parents=True, exist_ok=True)
    sources = [Image.fromarray(read_rgb(path)) for path in embedded()]
    rng = np.random.default_rng(0)
    for number in range(n):
        source, path = sources[number % len(sources)], folder / f"{number:04}.jpg"
        corners = [*rng.uniform(0, 0.3, 2), *rng.uniform(0.7, 1, 2)]
        if not path.exists():
            box = [share * side for share, side in zip(corners, source.size * 2, strict=True)]
            source.resize(size, Image.Resampling.BICUBIC, tuple(box)).save(path, quality=90)
    return folder


if __name__ == "__main__":
    main()
