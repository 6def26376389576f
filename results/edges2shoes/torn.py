"""Tears pairs apart, as CycleGAN publishes them: edges of one half of train/, photographs of the other; val/ whole.

python -P results/edges2shoes/torn.py PAIRS UNPAIRED
"""

import sys
from pathlib import Path

from PIL import Image


def half(file: Path, right: bool, folder: Path) -> None:
    """Write the left or the right half of a pair to a folder, as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(file) as pair:
        middle, left = pair.width // 2, pair.width // 2 if right else 0
        pair.convert("RGB").crop((left, 0, left + middle, pair.height)).save(folder / f"{file.stem}.png")


def main(pairs: Path, out: Path) -> None:
    train, val = (sorted((pairs / split).iterdir(), key=number) for split in ("train", "val"))
    middle = len(train) // 2
    for name, files, right in (
        ("trainA", train[:middle], True),  # the edges are on the right
        ("trainB", train[middle:], False),
        ("testA", val, True),
        ("testB", val, False),
    ):
        for file in files:
            half(file, right, out / name)


def number(file: Path) -> int:
    return int(file.stem.split("_")[0])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
