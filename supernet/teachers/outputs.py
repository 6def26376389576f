"""A teacher's outputs of whole images, kept on disk, and pairs that have them as targets or beside their targets."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from evo_c2f.errors import FailedError, InputError
from supernet.data.images import Pixels, to_pixels, to_tensor

Run = Callable[[Tensor], Tensor]
SHARERS = 8  # processes that may fill the folder at once
HEADER = 128  # bytes that a file takes beside the pixels


class Outputs:
    """The 8-bit output of each image, by the hash of its pixels. Threads and processes may share the folder.

    The folder holds a folder for each teacher and way to call it, so none gets another's. If the files would take more
    than `most_bytes`, the oldest are removed, also what a killed process left half written.
    """

    def __init__(self, folder: Path, key: str, teacher: Run, most_bytes: int, device: torch.device):
        """key: of the teacher, and of how it is called. teacher: (1, 3, h, w) in 0..1 -> its output in 0..1."""
        self.root, self.key, self.folder = folder, key, folder / key
        self.teacher, self.most_bytes, self.device = teacher, most_bytes, device
        self.free = 0  # bytes to write before the next look at what all processes have written
        self.runs = 0  # of the teacher, by this process
        self.lock = Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return Outputs, (self.root, self.key, self.teacher, self.most_bytes, self.device)

    def name_of(self, source: Pixels) -> str:
        """The hash of an image."""
        return hashlib.sha256(f"{source.shape}".encode() + np.ascontiguousarray(source).tobytes()).hexdigest()[:32]

    def of(self, source: Pixels, name: str | None = None) -> Pixels:
        """The output for an image (h, w, 3), perhaps mapped from the disk. name: its `name_of`, if known."""
        path = self.folder / f"{name or self.name_of(source)}.npy"
        found = self._kept(path)
        if found is not None:
            return found
        with self.lock:
            found = self._kept(path)
            if found is None:
                found = self._made(source)
                self._keep(path, found)
            return found

    def _kept(self, path: Path) -> Pixels | None:
        try:
            found: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
            return found
        except (FileNotFoundError, ValueError, EOFError):  # absent, or cut short by a crash of the machine
            return None

    def _made(self, source: Pixels) -> Pixels:
        self.runs += 1
        return to_pixels(self.teacher(to_tensor(source)[None].to(self.device))[0])

    def _keep(self, path: Path, output: Pixels) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._made_room(output.nbytes + HEADER):
                return
            partial = path.with_name(f".{path.stem}.{os.getpid()}.partial")
            try:
                with partial.open("wb") as file:
                    np.save(file, output, allow_pickle=False)
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise FailedError(
                f"{self.root} is full, where the teacher's outputs are kept; make room, set a smaller teacher.cache_gb "
                "or another teacher.cache, and run the same command again"
            ) from None

    def _made_room(self, size: int) -> bool:
        """Remove the oldest files until there is room. Returns whether there is."""
        if size > self.most_bytes:
            return False
        if size > self.free:
            files = sorted((stat.st_mtime_ns, str(path), stat.st_size) for path, stat in self._files())
            room = self.most_bytes - sum(taken for _, _, taken in files)
            for _, path, freed in files:
                if room >= size:
                    break
                Path(path).unlink(missing_ok=True)
                room += freed
            self.free = max(size, room // SHARERS)
        self.free -= size
        return True

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        for path in self.root.glob("*/*"):
            try:
                found.append((path, path.stat()))
            except FileNotFoundError:  # another process has removed it
                continue
        return found


def refuse_no_folder(folder: Path) -> None:
    """InputError if the folder can't be made or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"teacher.cache {folder} can't be made ({error.strerror}); name another folder") from None


class Target:
    """A target whose channels are cut out of a picture, if there is one, and of the teacher's output, read when needed.

    Patches are cut from it as from an array (h, w, 3 or 6).
    """

    def __init__(self, target: Pixels | None, source: Pixels, name: str, outputs: Outputs, scale: int):
        self.target, self.source, self.name, self.outputs = target, source, name, outputs
        height, width = source.shape[:2]
        self.shape = (scale * height, scale * width, 3 if target is None else 6)

    def __getitem__(self, places: Any) -> Pixels:
        output = self.outputs.of(self.source, self.name)[places]
        return output if self.target is None else np.concatenate([self.target[places], output], axis=-1)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Pixels:
        whole: Pixels = np.asarray(self[:], dtype=dtype)
        return whole


class Taught:
    """What a job's data do with a teacher: put its outputs beside the targets of pairs, or in their place."""

    def __init__(self, outputs: Outputs, scale: int, alone: bool):
        """alone: the outputs are the targets."""
        self.outputs, self.scale, self.alone = outputs, scale, alone

    @property
    def key(self) -> str:
        """Of the teacher, and of how it is called."""
        return self.outputs.key

    def __call__(self, pairs: Any) -> Any:
        """The same pairs (source, target), with targets as `Target` gives them."""
        return TaughtPairs(pairs, self)


class TaughtPairs:
    """Pairs whose targets are `Target`s; all else is asked of the pairs themselves."""

    def __init__(self, pairs: Any, taught: Taught):
        self.pairs, self.taught, self.names = pairs, taught, dict[int, str]()

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, number: int) -> tuple[Pixels, Any]:
        source, target = self.pairs[number]
        if number not in self.names:
            self.names[number] = self.taught.outputs.name_of(source)
        kept = None if self.taught.alone else target
        return source, Target(kept, source, self.names[number], self.taught.outputs, self.taught.scale)

    def __iter__(self) -> Iterator[tuple[Pixels, Any]]:
        return (self[number] for number in range(len(self)))

    def make(self) -> TaughtPairs:
        """Run the teacher where its output is not kept yet: here, with all cores. Threads that read have one each."""
        for _, target in self:
            target[:1, :1]
        return self

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            if name in ("pairs", "taught", "names"):  # while it is unpickled
                raise AttributeError(name)
            return getattr(self.pairs, name)
