"""Data sets, statistics of real images, the check of a run's files, and what things cost on this machine."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from evo_c2f.errors import FailedError, InputError
from evo_c2f.objectives.metric import wanted_metrics
from evo_c2f.runs.recipe import Recipe
from evo_c2f.runs.verify import Finding, verify
from evo_c2f.studies.bench import bench_processes, bench_store
from evo_c2f.workers.machine import Machine
from evo_c2f.workers.processes import Task
from evo_c2f.workflows.progress import Reporter, Show
from evo_c2f.workflows.session import make_job, rendering
from evo_c2f.workflows.use import Images, prepare
from supernet import checkpoint
from supernet.batches.ahead import in_order
from supernet.batches.fixed import Side
from supernet.data import aligned, openmoji
from supernet.data.images import Pixels, most_detailed
from supernet.data.picture_files import listed, place_of, tell_losses, tell_others
from supernet.jobs.bench import bench, bench_latencies
from supernet.layouts.record import NOT_USED, Record
from supernet.metrics import frechet, qualities
from supernet.models.seal import check_export
from supernet.pictures.decoding import RGB, read
from supernet.spandrel import check_spandrel, is_for_spandrel

log = logging.getLogger(__name__)


def write_openmoji(out: Path, size: int) -> None:
    """Write OpenMoji as a folder of pairs, each image with sides of `size` pixels."""
    openmoji.write_folder(out, size, rendering)
    log.info(f"{out}: {openmoji.LICENCE.strip()}")


def check_data(settings: Recipe, machine: Machine, show: Show) -> dict[str, Any]:
    """What a search would use of a folder, every file of which is read: `folders`, `used` and `not used` (numbers of
    pictures), `unreadable` and `copies` (names), `sizes` (the least and the largest), `told` (all other messages).

    InputError if no search could start.
    """
    told = list[str]()

    def warn(sentence: str) -> None:
        log.warning(sentence)
        told.append(sentence)

    job = make_job(settings, machine)
    data: Any = job.data
    data.warn = warn
    with ExitStack() as stack:
        reporters = list[Reporter]()

        def on_read(done: int, total: int) -> None:
            if done == 1:  # inputs are read after their targets
                stack.close()
                reporters[:] = [stack.enter_context(show("reading pictures", total))]
            reporters[0].update(done, "")

        data.on_read = on_read
        search, training = settings.search, settings.training
        # Of pictures without pairs a teacher is trained first, which the losses need.
        rescored = qualities.named_by_count(search.rescore, job.data.counts()[1][0])
        job.check(None if job.data.unpaired else training, wanted_metrics(search.metrics(), search.limits()), rescored)
        record = job.data.record()
    known = job.data.index.facts()
    sizes = sorted({facts.size for facts in known.values() if not facts.fault}, key=lambda size: size[0] * size[1])
    named = dict[str, list[str]]()
    for name, digest in unique(record):
        named.setdefault(digest, []).append(name)
    return {
        "folders": {use or "all": [str(side) for side in both if side] for use, both in data.folders.items()},
        "used": {use: len(rows) for use, rows in record.items() if use != NOT_USED},
        NOT_USED: len(record.get(NOT_USED, [])),
        "unreadable": [name for name, facts in known.items() if facts.fault],
        "copies": [names for names in named.values() if len(names) > 1],
        "sizes": [sizes[0], sizes[-1]],
        "told": told,
    }


def unique(record: Record) -> list[tuple[str, str]]:
    """(name, hash) of each picture once; one may have several uses."""
    return list(dict.fromkeys((name, digest) for rows in record.values() for name, digest in rows))


def cut_pictures(folder: Path, out: Path, side: int, show: Show) -> int:
    """Write the most detailed square of each picture under the same name, as a PNG; smaller ones whole. Their number.

    InputError if `out` exists, if a picture can't be read, or if two would get one name.
    """
    if out.exists():
        raise InputError(f"{out} exists already; name a new folder")
    paths, losses = listed(folder), dict[str, tuple[str, ...]]()
    tell_others(folder, log.warning)
    targets = {path: path.relative_to(folder).with_suffix(".png") for path in paths}
    if len({*targets.values()}) < len(paths):
        raise InputError(f"two pictures in {folder} differ in their suffixes alone; rename one")

    def cut(path: Path) -> tuple[Pixels, tuple[str, ...]]:
        try:
            pixels, lost = read(path, RGB)
        except ValueError as error:
            raise InputError(f"{path} can't be read: {error}; remove it") from None
        ((_, rows, columns),) = most_detailed([pixels], min(side, *pixels.shape[:2]), 1)
        return (pixels[rows, columns] if min(pixels.shape[:2]) > side else pixels), lost

    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with show("cutting pictures", len(paths)) as reporter:
        for path, (pixels, lost) in zip(paths, in_order(cut, paths, torch.get_num_threads()), strict=True):
            (partial / targets[path]).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(partial / targets[path])
            losses[place_of(path)] = lost
            reporter.step()
    tell_losses(losses, log.warning)
    os.replace(partial, out)
    return len(paths)


def split_pairs(data: Path, out: Path, n_test: int, seed: int) -> dict[str, int]:
    """Copy a folder of pairs with a test/ of n_test images taken from its train/; the images in each folder."""
    for folder in (data / "train", data / "val"):
        if folder.is_dir():
            tell_others(folder, log.warning)
    return aligned.split_off(data, out, n_test, seed)


def cache_statistics(images: Images, metric: str, machine: Machine) -> Path:
    """Compute and cache what a Frechet distance needs of the real images of pairs; the file.

    InputError if the metric is no such distance. FailedError if the file can't be written.
    """
    if not qualities.is_frechet(metric):
        raise InputError(f"metric {metric!r} needs no statistics; name fid or fd_vgg")
    paths = aligned.split_files(images.folder, images.split)
    tell_others(aligned.split_folders(images.folder, images.split).pictures, log.warning)
    sizes = aligned.check_sizes(paths, log.warning, images.direction, images.load_size)
    pairs = aligned.Pairs(paths, images.direction, images.load_size, sizes)
    targets = Side(aligned.in_batches(pairs, aligned.EVALUATION_BATCH), 1)
    frechet.refuse_few(metric, len(paths))
    path = frechet.Frechet(metric, targets, prepare(machine.device, machine.threads)).file
    if path is None or not path.is_file():
        raise FailedError(f"{path} can't be written; set XDG_CACHE_HOME to a folder that can be")
    return path


def what_fid_needs() -> dict[str, str]:
    """The file of Inception's weights, for people: where to fetch it, its hash, its place, and whether it is there."""
    try:
        found = f"yes, {frechet.inception_file()}"
    except InputError as error:
        found = f"no: {error}"
    fetch = ", or the same from ".join(frechet.INCEPTION)
    place = str(frechet.inception_places()[0].parent)
    return {"file": fetch, "sha256": frechet.INCEPTION_SHA256, "place": place, "found": found}


def verify_run(run: Path) -> Iterator[Finding]:
    """Each file of a run, and what is wrong with it."""
    readers: dict[str, Callable[[Path], object]] = dict.fromkeys(
        (".onnx", ".pt2"), partial(check_export, warn=log.warning)
    )
    return verify(run, {**readers, ".safetensors": check_weights})


def check_weights(path: Path) -> None:
    """Read a file of weights: our own, or one that was exported for spandrel."""
    if is_for_spandrel(path):
        check_spandrel(path)
    else:
        checkpoint.load(path)


class Benchmark:
    """Measures what a recipe's subnets and their scores cost on this machine."""

    def __init__(self, settings: Recipe, machine: Machine):
        search = settings.search
        self.settings, self.job = settings, make_job(settings, machine)
        # Latencies are sums of a table, which only --latency-table makes here.
        wanted = wanted_metrics(search.metrics(), search.limits())
        self.measured, self.size = [n for n in wanted if not n.startswith("latency_")], search.output_size
        self.rng = np.random.default_rng(settings.seed)

    def latencies(self, table: Path) -> dict[str, Any]:
        """Time every part of the space, and write the table."""
        return bench_latencies(self.job, self.size, table, log.info)

    def processes(self, n: int) -> dict[str, Any]:
        """n measuring processes beside one."""
        measure = self.job.measure(self.job.supernet(), self.measured, self.size)
        return bench_processes(n, Task(measure, tuple(measure.names)), self.settings.space, self.rng)

    def everything(self, rows: int) -> dict[str, Any]:
        """A subnet, a round, an evaluation, and a store of so many rows."""
        results = bench(self.job, self.settings.training, self.measured, self.size, log.info)
        store = bench_store(self.settings.space, rows, self.rng)
        log.info("the store: " + ", ".join(f"{name} {value:.4g}" for name, value in store.items()))
        return {**results, **store}
