"""Uses a trained model: evaluates it, exports it, applies it to pictures."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from evo_c2f.errors import InputError
from evo_c2f.files import replacing
from evo_c2f.page.demo import DemoServer
from evo_c2f.runs.find import resolve
from evo_c2f.runs.recipe import Recipe
from evo_c2f.runs.run import RunFolder
from evo_c2f.workers.machine import Machine
from evo_c2f.workflows.session import cores, make_job
from supernet.data.picture_files import tell_others
from supernet.device import choose_device
from supernet.drawing.demo import LoadedModels
from supernet.formats.export import FORMATS, export, metadata_of, sample_images
from supernet.formats.hub import first_inputs, write_hub
from supernet.formats.int8 import Loss, calibration, write_int8
from supernet.formats.onnx_file import write_onnx
from supernet.formats.shapes import AS_IT_IS, How, random_image
from supernet.jobs.job import Job
from supernet.latency.exported import action, milliseconds
from supernet.metrics.qualities import usual
from supernet.metrics.tasks import is_of_rgb, task_of
from supernet.models import pictures
from supernet.models.card import Written, write_card
from supernet.models.judgement import costs_of, judge, latency, read_judged
from supernet.models.model import Model, file_of, load_network, read_model
from supernet.models.seal import is_sealed
from supernet.pictures.pairs import Direction

log = logging.getLogger(__name__)


def prepare(device: str, threads: int | None) -> torch.device:
    """The device with that name. threads: the CPU threads to use; None: one a core."""
    torch.set_num_threads(threads or cores())
    return choose_device(device)


def network_of(model: Path) -> nn.Module:
    """A plain module, frozen: (b, c, h, w) in 0..1 -> its output, not clamped."""
    return load_network(model)


def about(model: Path) -> dict[str, Any]:
    """The metadata of a model's file."""
    return read_model(model).metadata


@dataclass(frozen=True)
class Images:
    """A benchmark folder (HR/, LR_bicubic/X4/), or a folder of A|B pairs.

    split, direction, load_size: only for pairs.
    """

    folder: Path
    split: str = "test"
    direction: Direction = "AtoB"
    load_size: int | None = None


def evaluate(
    model: Path, data: Images, metrics: Sequence[str], output_size: tuple[int, int] | None, device: torch.device
) -> dict[str, Any]:
    """`images`: the metrics of each image; `mean`: their means; `costs`: the model's costs.

    metrics: if empty, PSNR, SSIM and LPIPS, as far as they suit the channels. output_size: (height, width) for the
    costs; None: the size of the first image.
    """
    found = read_model(model, log.warning)
    images = read_judged(found, data.folder, data.split, data.direction, data.load_size, log.warning)
    result = judge(found, images, metrics or usual(found.task), device)
    _, _, height, width = images.batches.shapes[0][1]
    size = output_size or (height, width)
    result["costs"] = costs_of(found, size) | latency(found, size, device) | {"output_size": list(size)}
    return result


def export_model(
    model: Path,
    out: Path | None,
    form: str,
    half: bool = False,
    opset: int | None = None,
    size: tuple[int, int] | None = None,
    transposed: bool = False,
    samples: Sequence[Path] = (),
    overwrite: bool = False,
) -> Path:
    """Write a model as a file that runs without this project, and its card. Returns the file.

    out: None: the model's name with the ending of `form`, beside the model. half, opset, size, transposed: see `How`.
    samples: real images to check the file on. InputError if the file exists and `overwrite` is not set; a plain ONNX
    file takes the place of an earlier one beside the model.
    """
    how = How(half, opset, size, transposed)
    target = target_of(model, out, FORMATS[form].ending, form, overwrite, renews=how == AS_IT_IS)
    found = read_model(model)
    images = sample_images(samples, found.task.frame.input_channels)
    worst = export(found.network, target, form, metadata_of(found, size), images, how)
    log.info(f"{target}: {megabytes(target, form):.3f} MB on disk; it differs from the network by at most {worst:.1g}")
    if FORMATS[form].multiples and (grain := found.network.grain) > 1:  # type: ignore[union-attr]
        log.info(f"the sides of its images must be multiples of {grain}, and at least {2 * grain}")
    keep_card(found, target, FORMATS[form].ending, Written(options_of(how), size))
    return target


def options_of(how: How) -> str:
    """The options of `export` that ask for it, each after a space."""
    words = [" --half"] if how.half else []
    words += [f" --opset {how.opset}"] if how.opset else []
    words += [" --input-size {} {}".format(*how.size)] if how.size else []
    return "".join([*words, " --upsampling transposed"] if how.transposed else words)


def target_of(model: Path, out: Path | None, ending: str, form: str, overwrite: bool, renews: bool) -> Path:
    """The file to write. InputError if it can't be, or if one is there and `overwrite` is not set.

    renews: without `out`, the place of an ONNX file that this project wrote is taken without a question.
    """
    file = file_of(model)
    if file.suffix == ".onnx":
        raise InputError(f"{file} is exported already; name the model that it was made from")
    target, suffix = out or file.with_suffix(ending), Path(f"model{ending}").suffix
    if target.suffix != suffix or target.is_dir():
        raise InputError(f"{target} is no name for a file of the format {form}; end it in {suffix}")
    taken = [file for file in files_of(target, form) if file.exists()]
    if out is None and renews and target.suffix == ".onnx" and taken and is_sealed(target):
        return target
    if taken and not overwrite:
        raise InputError(f"{taken[0]} is there already; name another file, or say --overwrite")
    return target


def files_of(target: Path, form: str) -> list[Path]:
    """The file, and the one beside it in formats of two."""
    beside = FORMATS[form].beside
    return [target, target.with_suffix(beside)] if beside else [target]


def megabytes(target: Path, form: str) -> float:
    return sum(file.stat().st_size for file in files_of(target, form)) / 1e6


def keep_card(found: Model, target: Path, ending: str, written: Written) -> None:
    """Write the model's card beside the target, unless something else is there."""
    stem = target.name.removesuffix(ending) if target.name.endswith(ending) else target.stem
    card = target.with_name(f"{stem}.md")
    if not write_card(found, card, target.name if target.suffix == ".onnx" else f"{stem}.onnx", written):
        log.info(f"{card} is there already, and no card of ours: it is left as it is")


def export_int8(
    model: Path, out: Path | None, run: Path | None, data: Path | None, machine: Machine, overwrite: bool = False
) -> Path:
    """Write a model as an ONNX file in 8 bits, and say what that loses and saves on this machine. Returns the file.

    The training pictures of its run calibrate it, the search's images choose what stays in 32 bits, and all held-out
    images tell the loss. run: None: the folder above the model that holds a run; data: where the run's pictures are
    now, if they were moved.
    """
    target = target_of(model, out, ".int8.onnx", "onnx", overwrite, renews=True)
    found = read_model(model)
    job, settings = job_of(model, found, run, data, machine)
    network: Any = found.network
    with closing(job.batches(0)) as batches:
        pairs = calibration(batches, job.task.frame.output_channels)
    with replacing(target) as partial:
        left = write_int8(network, partial, metadata_of(found), pairs, Loss(network, job.task, job.data.search()))
    loss = Loss(network, job.task, job.data.full())
    size = settings.search.output_size
    lost = tell_int8(network, target, left, loss, (size[0], size[1]))
    keep_card(found, target, ".onnx", Written(" --int8", lost=lost))  # model.int8.md, beside the other file's
    return target


def job_of(model: Path, found: Model, run: Path | None, data: Path | None, machine: Machine) -> tuple[Job, Recipe]:
    """The job of the model's run, for its pictures, and its recipe. run, data: as in `export_int8`. InputError if the
    model lies in no run, or the run is of another task.
    """
    folder = run or next((one for one in file_of(model).absolute().parents if (one / "recipe.yaml").is_file()), None)
    if folder is None:
        raise InputError(f"{model} lies in no run, whose pictures this needs; name the run with --run")
    settings = resolve(None, "", folder, (), data, None)
    job = make_job(settings, machine, run=RunFolder(folder, settings))
    if (job.task.name, job.task.frame) != (found.task.name, found.task.frame):
        raise InputError(f"{folder} is a run of another task than {model}; name its own with --run")
    return job, settings


def hand_over(
    model: Path,
    folder: Path,
    samples: Sequence[Path],
    run: Path | None,
    data: Path | None,
    machine: Machine,
    overwrite: bool = False,
) -> Path:
    """Write a model as the folder that a model hub takes. Returns the folder.

    samples: pictures to show; none: the first held-out pictures of the model's run. run, data: as in `export_int8`.
    InputError if one of the folder's files exists and `overwrite` is not set.
    """
    prepare("cpu", machine.threads)
    file, found = file_of(model), read_model(model)
    if file.suffix == ".onnx":
        raise InputError(f"{file} is exported already; name the model that it was made from")
    if not is_of_rgb(found.task):
        raise InputError(f"{file} is no network of RGB, whose pictures a hub's folder shows; use 'export' without --to")
    images = sample_images(samples, 3) or first_inputs(job_of(model, found, run, data, machine)[0].data.full())
    write_hub(found, file, folder, images, overwrite, log.warning)
    log.info(f"{folder}: a model hub's folder; check the licence in its README.md before you publish it")
    return folder


def tell_int8(network: Any, target: Path, left: Sequence[str], loss: Loss, output_size: tuple[int, int]) -> str:
    """Say the loss, the size and the time of a file in 8 bits, and whether it pays. Returns the loss in words."""
    lost, (height, width) = loss.of(target), (side // network.scale for side in output_size)
    image = random_image((1, network.input_channels, height, width))
    with TemporaryDirectory() as temporary:
        whole = Path(temporary) / "network.onnx"
        write_onnx(network, whole, {})
        before, after = (milliseconds(action(file.read_bytes(), image, image.device)) for file in (whole, target))
        size = f"{target.stat().st_size / 1e6:.3f} MB on disk instead of {whole.stat().st_size / 1e6:.3f}"
    words = f"{lost:.4f} {'of' if loss.metric == 'lpips' else 'dB of'} {loss.metric}"
    log.info(
        f"{target}: {size}; {words} lost on the held-out images; {after:.1f} ms instead of {before:.1f} for "
        f"{output_size[1]}x{output_size[0]} in ONNX Runtime, {torch.get_num_threads()} threads"
    )
    if left:
        log.info(f"these convolutions lose much and stay in 32 bits: {', '.join(left)}")
    reasons = ["it is not faster"] if after >= before else []
    reasons += [f"it loses more than {loss.limit:g}"] if not lost <= loss.limit else []
    if reasons:
        log.warning(f"8 bits do not pay here: {' and '.join(reasons)}")
    return words


def demo(models: Sequence[Path], samples: Sequence[Path], tile: int, port: int, device: torch.device) -> DemoServer:
    """The server of the page that tries models; `serve_forever` starts it. tile: as in `Application.run`.

    samples: pictures that the page offers. InputError if a model or a sample can't be read, or the port is taken.
    """
    return DemoServer(LoadedModels(models, samples, tile, device), port)


class Application:
    """Applies a model to a picture, or to every picture in a folder; the names stay the same in `out`."""

    def __init__(self, model: Path, source: Path, out: Path, overwrite: bool = False, skip: bool = False):
        """overwrite, skip: the treatment of existing outputs. InputError if no input exists, or if an output does."""
        self.network = load_network(model)
        self.channels = task_of(self.network).frame.output_channels
        self.pairs = pictures.plan(source, out, overwrite, skip, self.channels)
        if source.is_dir():
            tell_others(source, log.warning, out)

    def run(self, tile: int, device: torch.device) -> Iterator[Path]:
        """Yields each written picture. tile: side of the tiles in input pixels; smaller tiles need less memory."""
        return pictures.apply(self.network.to(device), self.pairs, tile, device, log.warning, self.channels)
