"""Pairs of a translation: pix2pix's files A|B side by side, or the files of two folders; CycleGAN's without pairs."""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from itertools import groupby, islice
from math import prod
from pathlib import Path

import numpy as np
import torch

from evo_c2f.errors import InputError
from supernet.batches.ahead import in_order
from supernet.batches.fixed import Batch, Fixed, Shape
from supernet.batches.kept import Kept
from supernet.data.images import Pixels, resized, to_tensor
from supernet.data.picture_files import listed, tell_losses
from supernet.layouts.folders import SPLITS, Folders, folders_in, splits_of
from supernet.layouts.index import Index, unseen
from supernet.layouts.partners import Item, Partners, files_of, partners, places, relative_names
from supernet.layouts.record import seeded_order
from supernet.pictures.decoding import RGB, Reading
from supernet.pictures.pairs import Direction, Layout, facts_of, read_pair, refuse_odd

EVALUATION_BATCH = 64
BATCH_PIXELS = EVALUATION_BATCH * 256 * 256  # of a batch of larger images
KEPT_BYTES = 1 << 30  # of decoded pairs, if all fit; of a larger set, half as much
ALIGNED = "an aligned folder holds train/ and val/ or test/, or two folders such as inputs/ and targets/"
UNPAIRED = "an unpaired folder holds trainA/, trainB/, testA/ and testB/"


def is_unpaired(root: Path) -> bool:
    """Whether the folder holds pictures of two domains A and B without pairs, or a part of them."""
    splits = [f"{split}{domain}" for split in SPLITS for domain in "AB"]
    return not (root / "train").is_dir() and any((root / split).is_dir() for split in splits)


def split_files(root: Path, split: str) -> list[Item]:
    """The files of one split, by name; of two folders, the partners. InputError if it is missing or empty."""
    return items_in(split_folders(root, split))


def split_folders(root: Path, split: str, inputs: Path | None = None) -> Folders:
    """The folders of one split. InputError if it is missing."""
    folders = splits_of(root, inputs).get(split) or Folders(root / split)
    if not folders.pictures.is_dir():
        layout = UNPAIRED if split.endswith(("A", "B")) else ALIGNED
        raise InputError(f"{folders.pictures} is absent; {layout}{folders_in(folders.pictures.parent)}")
    return folders


def items_in(folders: Folders, scale: int = 1) -> list[Item]:
    """The pictures of a folder, or the partners of two. InputError if there are none, or one has no partner."""
    if folders.inputs is None:
        return [*listed(folders.pictures)]
    return [*partners(folders, listed(folders.inputs), listed(folders.pictures, folders.inputs), scale)]


def held_out(root: Path, domain: str = "", inputs: Path | None = None) -> tuple[str, str]:
    """(split to search on, split to judge on): val/ and test/; if only one exists, it serves for both.

    domain: A or B of an unpaired folder. inputs: the folder of inputs, if it is apart.
    """
    if not root.is_dir():
        raise InputError(f"{root} is no folder; --data takes an aligned folder, which holds train/ and val/ or test/")
    names = [f"val{domain}", f"test{domain}"]
    found = splits_of(root, inputs)
    there = [split for split in names if split in found or (root / split).is_dir()]
    if not there:
        layout = (UNPAIRED if domain else ALIGNED) + folders_in(root)
        raise InputError(f"{root} has neither {names[0]}/ nor {names[1]}/; {layout}")
    return there[0], there[-1]


def unpaired_folders(root: Path, direction: Direction) -> dict[str, Folders]:
    """The folders of an unpaired folder by use; those of the target's domain are named 'real ...'.

    InputError if a split is missing.
    """
    source, target = direction[0], direction[-1]
    searched, judged = (split.removesuffix(source) for split in held_out(root, source))
    uses = {"train": "train", "search": searched, "full": judged}
    found = {use: split_folders(root, f"{split}{source}") for use, split in uses.items()}
    return found | {f"real {use}": split_folders(root, f"{split}{target}") for use, split in uses.items()}


def split_off(root: Path, out: Path, n_test: int, seed: int) -> dict[str, int]:
    """Write a folder of pairs `out` from root's files, with n_test of train/ as its test/; the number of pairs of each
    split.

    The hash of the seed and the names decides, so everyone with the same images gets the same test/. val/ stays. The
    files are hard links if the disk allows, else copies. InputError if too few training files would remain.
    """
    if out.exists():
        raise InputError(f"{out} exists already; name a new folder")
    files = split_files(root, "train")
    if len(files) <= n_test:
        raise InputError(f"{root / 'train'} holds {len(files)} images; that leaves none to train on beside {n_test}")
    order = by_hash(files, seed)
    splits = {"train": order[n_test:], "test": order[:n_test]}
    if "val" in splits_of(root):
        splits["val"] = split_files(root, "val")
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for name, members in splits.items():
        for path in (path for item in members for path in files_of(item)):
            folders = path.relative_to(root).parts
            at = next(i for i, folder in enumerate(folders) if folder.lower() in SPLITS)
            target = partial.joinpath(*folders[:at], name, *folders[at + 1 :])
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                target.hardlink_to(path.resolve())
            except OSError:
                shutil.copy2(path, target)
    os.replace(partial, out)
    return {name: len(members) for name, members in splits.items()}


def by_hash(items: Sequence[Item], seed: int) -> list[Item]:
    """Ordered by a hash of the seed and the names, since neighbours in a folder are often alike."""
    names, order = relative_names(items), seeded_order(seed)
    return sorted(items, key=lambda item: order(names[item]))


def check_sizes(
    items: Sequence[Item],
    warn: Callable[[str], None] = lambda sentence: None,
    layout: Layout = "AtoB",
    load_size: int | None = None,
    index: Index | None = None,
    readings: tuple[Reading, Reading] = (RGB, RGB),
) -> dict[Item, tuple[int, int]]:
    """(height, width) of each pair's pictures, or of the square that they are resized to, read from the headers alone.

    warn: gets a message about the files' losses. InputError naming the first file that can't be read or halved, or the
    first partners of different sizes.
    """
    index, names = index or Index(), places(items)
    sizes, losses = dict[Item, tuple[int, int]](), dict[str, list[str]]()
    for item in items:
        found = facts_of(item, layout, index, *readings)
        for path, facts in zip(files_of(item), found, strict=True):
            if facts.fault:
                raise InputError(f"{path} can't be read: {facts.fault}")
        losses[names[item]] = [loss for facts in found for loss in facts.losses]
        height, width = found[0].size
        if isinstance(item, Partners):
            refuse_unequal(item, [facts.size for facts in found], load_size)
        elif layout != "alone":
            refuse_odd(item, width)
            width //= 2
        sizes[item] = (load_size, load_size) if load_size else (height, width)
    tell_losses(losses, warn)
    return sizes


def tell_pixel_losses(
    names: Mapping[Item, str],
    warn: Callable[[str], None],
    layout: Layout,
    index: Index,
    readings: tuple[Reading, Reading],
    on_read: Callable[[int, int], None] = unseen,
) -> None:
    """Decode all pairs, and tell what their pixels lose and their headers don't show. names: by item.

    InputError if one can't be decoded.
    """

    def lost(item: Item) -> list[str]:
        told = {loss for facts in facts_of(item, layout, index, *readings) for loss in facts.losses}
        return [loss for loss in read_pair(item, layout, *readings).losses if loss not in told]

    losses = dict[str, list[str]]()
    for name, found in zip(names.values(), in_order(lost, names, torch.get_num_threads()), strict=True):
        losses[name] = found
        on_read(len(losses), len(names))
    tell_losses(losses, warn)


def refuse_unequal(item: Partners, sizes: Sequence[tuple[int, int]], load_size: int | None) -> None:
    (height, width), (other_height, other_width) = sizes
    if load_size is None and sizes[0] != sizes[1]:
        raise InputError(
            f"{item.input} is {width}x{height}, and its partner {item.target} {other_width}x{other_height}; make "
            "them of one size, or set data.load_size, to which all are resized"
        )


def resize(pixels: Pixels, side: int | None) -> Pixels:
    """Bicubic to a square of `side`, as pix2pix loads images; None keeps the size."""
    if side is None or pixels.shape[:2] == (side, side):
        return pixels
    return resized(pixels, side)


class Pairs:
    """The pairs of one split, decoded when they are needed, and kept while they fit in memory."""

    scale = 1

    def __init__(
        self,
        items: Sequence[Item],
        direction: Layout,
        load_size: int | None,
        sizes: Mapping[Item, tuple[int, int]] | None = None,
        readings: tuple[Reading, Reading] = (RGB, RGB),
    ):
        """load_size: side of the square that images are resized to; None keeps their sizes. sizes: (height, width) of
        each one's images then; None: of all, as of the first.
        """
        self.items, self.direction, self.load_size = list(items), direction, load_size
        self.readings, self.losses = readings, dict[Item, tuple[str, ...]]()  # losses: of those that were read
        self.known = [sizes[item] for item in self.items] if sizes else []
        pixel = sum(reading.bytes_a_pixel for reading in readings)
        fits = sum(pixel * height * width for height, width in self.known) <= KEPT_BYTES
        self.kept = Kept(KEPT_BYTES if fits else KEPT_BYTES // 2)

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of the halves of each pair."""
        if self.known:
            return self.known
        height, width = self[0][0].shape[:2]
        return [(height, width)] * len(self)

    def __getitem__(self, number: int) -> tuple[Pixels, Pixels]:
        """(source, target)."""
        source, target = self.kept.get(number, lambda: self.read(self.items[number]))
        return source, target

    def read(self, item: Item) -> tuple[Pixels, Pixels]:
        pair = read_pair(item, self.direction, *self.readings)
        self.losses[item] = pair.losses
        return resize(pair.source, self.load_size), resize(pair.target, self.load_size)

    @property
    def at_hand(self) -> bool:
        """Whether all pairs are in memory."""
        return len(self.kept) == len(self)

    def forget(self) -> None:
        """Keep no pair so far."""
        self.kept.clear()


def in_batches(pairs: Pairs, n: int) -> Fixed:
    """All pairs in order, at most n neighbours of one size at a time, as (source, target) in 0..1."""
    members, shapes = list[list[int]](), list[tuple[Shape, Shape]]()
    first, second = (reading.channels for reading in pairs.readings)
    for size, numbers in groupby(range(len(pairs)), pairs.sizes.__getitem__):
        most = max(1, min(n, BATCH_PIXELS // prod(size)))
        while batch := [*islice(numbers, most)]:
            members.append(batch)
            shapes.append(((len(batch), first, *size), (len(batch), second, *size)))
    return Fixed(shapes, partial(read_batch, pairs, members))


def read_batch(pairs: Pairs, members: Sequence[Sequence[int]], number: int) -> Batch:
    source, target = zip(*(pairs[member] for member in members[number]), strict=True)
    return to_tensor(np.stack(source)), to_tensor(np.stack(target))


def unique(found: Mapping[str, Sequence[Item]]) -> list[Item]:
    """Each file once, in order."""
    return list(dict.fromkeys(item for items in found.values() for item in items))


def fingerprint(items: Sequence[Item], *protocol: object) -> str:
    """A short hash of the files' bytes and of their use."""
    digest = hashlib.sha256(repr(protocol).encode())
    for item in items:
        for path in files_of(item):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
