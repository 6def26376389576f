"""Benchmarks of super-resolution such as Set14, in the common layouts."""

from collections.abc import Callable, Iterable
from pathlib import Path

from evo_c2f.errors import InputError
from supernet.batches.fixed import Batch, Fixed, Shape
from supernet.batches.kept import Kept
from supernet.data.images import Pixels, to_tensor
from supernet.data.picture_files import is_picture, listed, place_of, tell_losses
from supernet.layouts.folders import SIDES, two_sides
from supernet.layouts.partners import partners, relative_names
from supernet.pictures.decoding import RGB, Reading, read

KEPT_BYTES = 512 << 20  # of a benchmark's pictures


def read_benchmark(
    folder: Path, scale: int, warn: Callable[[str], None] = lambda sentence: None, reading: Reading = RGB
) -> tuple[list[str], Fixed]:
    """The names of a benchmark folder's images, in a common layout, and (low, high) of each as a batch of one.

    `HR/x.png` with `LR_bicubic/X4/x.png` (or `xx4.png`), flat `x_SRF_4_HR.png` with `x_SRF_4_LR.png`, or `gt/x.png`
    with `lq/x.png` and the like.
    warn: gets a message about the files' losses.
    InputError if the folder or its layout is wrong, an image is broken or lacks its partner, two have the same name, or
    sizes don't match.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; name a benchmark such as Set14")
    both = two_sides(folder, SIDES)
    if both and both.inputs:
        items = partners(both, listed(both.inputs), listed(both.pictures), scale)
        names = [Path(name).with_suffix("").as_posix() for name in relative_names(items).values()]
        found, lows = ({name: item[side] for name, item in zip(names, items, strict=True)} for side in (1, 0))
    else:
        found, lows = _in_benchmark(folder, scale)
    shapes, losses, kept = list[tuple[Shape, Shape]](), dict[str, tuple[str, ...]](), Kept(KEPT_BYTES)
    for name, path in found.items():
        if name not in lows:
            raise InputError(f"{path} has no low-resolution partner at x{scale}")
        low, high = _read_judged(lows[name], reading, losses), _read_judged(path, reading, losses)
        height, width = low.shape[0] * scale, low.shape[1] * scale
        if not (0 <= high.shape[0] - height < scale and 0 <= high.shape[1] - width < scale):
            size = f"{high.shape[1]}x{high.shape[0]}"
            raise InputError(f"{path.name} is {size}, not {scale} times its low-resolution partner")
        kept.put(name, (low, high[:height, :width]))
        shapes.append(((1, low.shape[2], *low.shape[:2]), (1, high.shape[2], height, width)))
    tell_losses(losses, warn)
    names = [*found]

    def read_again(name: str, height: int, width: int) -> tuple[Pixels, Pixels]:
        low, high = (_read_judged(of_name[name], reading, {}) for of_name in (lows, found))
        return low, high[:height, :width]

    def batch(number: int) -> Batch:
        name, (_, _, height, width) = names[number], shapes[number][1]
        low, high = kept.get(name, lambda: read_again(name, height, width))
        return to_tensor(low)[None], to_tensor(high)[None]

    return names, Fixed(shapes, batch)


def _in_benchmark(folder: Path, scale: int) -> tuple[dict[str, Path], dict[str, Path]]:
    """(high ones, low ones) by name, in one of the two common layouts."""
    if (folder / "HR").is_dir():
        low_folder, low_end, high_end = folder / "LR_bicubic" / f"X{scale}", f"x{scale}", ""
    else:
        low_folder, low_end, high_end = folder, f"_SRF_{scale}_LR", f"_SRF_{scale}_HR"
    highs = (folder / "HR" if not high_end else folder).glob("*")
    found = _by_name([p for p in highs if p.stem.endswith(high_end)], high_end)
    if not found:
        layouts = f"neither HR/ with LR_bicubic/X{scale}/, nor lq/ with gt/, nor *_SRF_{scale}_HR.png"
        raise InputError(f"{folder} is no x{scale} benchmark: {layouts}")
    # In the flat layout the name's end alone tells what is a low one.
    return found, _by_name((p for p in low_folder.glob("*") if not high_end or p.stem.endswith(low_end)), low_end)


def benchmark_highs(folder: Path) -> list[Path]:
    """The high-resolution files of a benchmark folder in any layout. InputError if there are none."""
    both = two_sides(folder, SIDES)
    if both or (folder / "HR").is_dir():
        return listed(both.pictures if both else folder / "HR")
    highs = [path for path in listed(folder) if path.stem.endswith("_HR")]
    if not highs:
        raise InputError(f"{folder} is no benchmark: neither HR/ nor *_HR.png")
    return highs


def _by_name(paths: Iterable[Path], end: str) -> dict[str, Path]:
    """The images among the files by name, in order; `end` of a name is left out. InputError if two have the same."""
    found: dict[str, Path] = {}
    for path in sorted(p for p in paths if is_picture(p)):
        other = found.setdefault(path.stem.removesuffix(end), path)
        if other != path:
            raise InputError(f"{path} has the name of {other.name}: their pairs can't be told apart; rename one")
    return found


def _read_judged(path: Path, reading: Reading, losses: dict[str, tuple[str, ...]]) -> Pixels:
    try:
        pixels, losses[place_of(path)] = read(path, reading)
        return pixels
    except ValueError as error:
        raise InputError(f"{path} can't be read: {error}") from None
