"""Small real objects that the tests of `supernet` share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from evo_c2f.sections.training import TrainingSection
from evo_c2f.space import Architecture, SearchSpace
from supernet.batches.kept import Kept
from supernet.batches.patches import PatchPairs
from supernet.data.images import Pixels
from supernet.data.photographs import LowAndHigh, Photograph, load
from supernet.data.picture_files import listed
from supernet.jobs.job import OnRound
from supernet.network.generator import Frame, Supernet
from supernet.network.operators import OPERATORS
from supernet.rounds.fairness import FairRounds
from supernet.rounds.students import SharedSubnets
from supernet.training.criterion import Criterion, L1Alone, Terms
from supernet.training.learning import Learning
from supernet.training.loop import Batches, train

SUPER_RESOLUTION = Frame(input_level=2, residual=True, activation="relu")
TRANSLATION = Frame(input_level=0, residual=False, normalise=True)
X3 = Frame(input_level=1, residual=True, activation="relu", first_step=3)
RESTORATION = Frame(input_level=0, residual=True, activation="relu")
GREY = replace(SUPER_RESOLUTION, input_channels=1, output_channels=1)
SEVEN = replace(RESTORATION, input_channels=7, output_channels=7)
COLOURING = replace(TRANSLATION, input_channels=1)


def wide_space(first_level: int = 1, operators: tuple[str, ...] = tuple(OPERATORS)) -> SearchSpace:
    """Six cells, three levels, every operator: what the equalities are tried on."""
    widths = {first_level: (8, 12, 16), first_level + 1: (12, 16, 24), first_level + 2: (16, 24, 32)}
    reference = (first_level + 1,) * 6
    return SearchSpace(6, widths, operators, (0.5, 1.0, 1.5), reference, operators[0])


def small_space() -> SearchSpace:
    """Three cells, two levels, three operators: quick to train."""
    operators = ("pointwise", "residual", "separable")
    return SearchSpace(3, {2: (8, 12), 3: (8, 12, 16)}, operators, (0.5, 1.0), (2, 2, 2), "residual")


@torch.no_grad()
def randomise(module: nn.Module, seed: int) -> nn.Module:
    """The module with normal weights everywhere, so that nothing is at zero and every part shows in the output."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        scale = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return module


def fresh_supernet(space: SearchSpace, frame: Frame = SUPER_RESOLUTION, seed: int = 0) -> Supernet:
    torch.manual_seed(seed)
    return Supernet(space, frame)


def random_supernet(space: SearchSpace, frame: Frame = SUPER_RESOLUTION, seed: int = 0) -> Supernet:
    """With randomised weights, so that a subnet's output shows all its parts."""
    return randomise(Supernet(space, frame), seed)


def random_architectures(space: SearchSpace, n: int, seed: int = 0) -> list[Architecture]:
    return [space.decode(genome) for genome in space.random(n, np.random.default_rng(seed))]


def random_images(*shape: int, seed: int = 0) -> Tensor:
    """Uniform noise in 0..1."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def random_pixels(height: int, width: int, seed: int = 0) -> Pixels:
    """8-bit noise over a slope, as of a photograph: neighbours are alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, size=(height // 12 + 2, width // 12 + 2, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    noisy: Pixels = (smooth + rng.integers(-8, 9, size=smooth.shape)).clip(0, 255).astype(np.uint8)
    return noisy


def write_images(folder: Path, images: dict[str, Pixels]) -> Path:
    """The folder, with these images in it."""
    for name, pixels in images.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


def photographs(folder: Path, n: int = 3, side: int = 48) -> list[Photograph]:
    """n different photographs, written to the folder and read from it."""
    write_images(folder, {f"{seed}.png": random_pixels(side, side, seed) for seed in range(n)})
    return load(listed(folder), 1, unexpected)


def unexpected(sentence: str) -> None:
    """A `warn` that nothing should reach."""
    raise AssertionError(sentence)


def low_and_high_of(photographs: list[Photograph]) -> LowAndHigh:
    """The pairs at x4."""
    return LowAndHigh(photographs, 4, Kept(0))


def patch_pairs(folder: Path, seed: int = 0) -> PatchPairs:
    """Batches of two 8x8 patches, x4."""
    return PatchPairs(low_and_high_of(photographs(folder)), side=8, batch=2, seed=seed)


def training_settings(rounds: int, **others: float | bool | str) -> TrainingSection:
    return TrainingSection.model_validate({"rounds": rounds, "learning_rate": 0.002, **others})


def train_fairly(
    supernet: Supernet,
    rounds: FairRounds,
    batches: Batches,
    settings: TrainingSection,
    state: Path,
    on_round: OnRound = lambda index, loss: None,
    criterion: Criterion | None = None,
) -> dict[str, Tensor]:
    """Train a supernet by L1, or by the criterion."""
    students = SharedSubnets(supernet, rounds, settings.divide_gradients)
    learning = Learning(students, criterion or Criterion(Terms(L1Alone())), settings)
    return train(learning, batches, state, on_round)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order, so that results can be compared bit for bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def write_enlarger(path: Path) -> Path:
    """An ONNX file that no program of this project made: x4 by nearest neighbours, of values in 1..255."""
    from onnx import TensorProto, helper, numpy_helper, save

    image = ["batch", 3, "height", "width"]
    nodes = [
        helper.make_node("Clip", ["x", "low", "high"], ["clipped"]),
        helper.make_node("Resize", ["clipped", "", "scales"], ["y"], mode="nearest"),
    ]
    numbers = {"low": np.float32(1), "high": np.float32(255), "scales": np.array([1, 1, 4, 4], np.float32)}
    graph = helper.make_graph(
        nodes,
        "enlarger",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3, "taller", "wider"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path
