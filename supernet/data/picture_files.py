"""Users' picture files: which files of a folder are read, and the sentences about them."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

from evo_c2f.errors import InputError
from supernet.layouts.folders import names_of
from supernet.pictures.opening import SUFFIXES

KEPT_BY_SYSTEMS = {"thumbs.db", "desktop.ini"}  # beside those whose names begin with a dot


def place_of(path: Path) -> str:
    """A picture's name with its folder's, since another split may use the same name."""
    return f"{path.parent.name}/{path.name}"


def is_hidden(name: str) -> bool:
    """Whether it is the name of a system's own file, such as macOS's `._1.png`, not of a user's."""
    return name.startswith(".") or name.lower() in KEPT_BY_SYSTEMS


def is_picture(path: Path | str) -> bool:
    """Whether its name is that of a picture."""
    name = os.path.basename(path)
    return os.path.splitext(name)[1].lower() in SUFFIXES and not is_hidden(name)


def files_in(folder: Path, *but: Path) -> Iterator[str]:
    """The files in a folder and in the folders within, without hidden ones. but: folders to leave out.

    Links to folders are followed, and a folder is searched once.
    """
    seen = {identity(path) for path in but if path.exists()}
    for place, folders, names in os.walk(folder, onerror=raised, followlinks=True):
        if identity(Path(place)) in seen and Path(place) != folder:
            folders.clear()
            continue
        seen.add(identity(Path(place)))
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.join(place, name) for name in names if not is_hidden(name))


def identity(folder: Path) -> tuple[int, int]:
    about = folder.stat()
    return about.st_dev, about.st_ino


def raised(error: OSError) -> None:
    raise error


def pictures_in(folder: Path, *but: Path) -> list[Path]:
    """The pictures among these files, by name."""
    return [Path(file) for file in sorted(filter(is_picture, files_in(folder, *but)))]


def listed(folder: Path, *but: Path) -> list[Path]:
    """The pictures in a folder and in the folders within. InputError if it is no folder, or holds none.

    but: folders to leave out.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; --data takes a folder of pictures")
    paths = pictures_in(folder, *but)
    if not paths:
        raise InputError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))})")
    return paths


def tell_others(folder: Path, warn: Callable[[str], None], *but: Path) -> None:
    """Count and name, in one sentence, the files in the folder and in those within that are no pictures."""
    others = [Path(os.path.relpath(file, folder)).as_posix() for file in files_in(folder, *but) if not is_picture(file)]
    if others:
        warn(f"left out of {folder}, not named like pictures ({len(others)}): {names_of(sorted(others))}")


def tell_unused(root: Path, folders: Collection[Path], warn: Callable[[str], None]) -> None:
    """Count and name, in one sentence, the pictures under the root that lie in none of the folders that are used."""
    left = [] if root in folders else [path.relative_to(root).as_posix() for path in pictures_in(root, *folders)]
    if left:
        there = ", ".join(os.path.relpath(folder, root) for folder in folders)
        warn(f"left out of {root}, of which {there} are used ({len(left)}): {names_of(left)}")


def tell_losses(losses: Mapping[str, Iterable[str]], warn: Callable[[str], None]) -> None:
    """losses: name of a picture -> its losses; one sentence for each kind of loss."""
    for loss in dict.fromkeys(loss for some in losses.values() for loss in some):
        names = [name for name, some in losses.items() if loss in some]
        warn(f"not used as in the file ({len(names)}), {loss}: {names_of(names)}")
