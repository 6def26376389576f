"""Users' picture files: which files of a folder are read, and the sentences about them."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from evo_c2f.errors import InputError
from supernet.pictures.opening import SUFFIXES

KEPT_BY_SYSTEMS = {"thumbs.db", "desktop.ini"}  # beside those whose names begin with a dot
MOST_NAMES = 10  # in one sentence


def place_of(path: Path) -> str:
    """A picture's name with its folder's, since another split may use the same name."""
    return f"{path.parent.name}/{path.name}"


def is_hidden(path: Path) -> bool:
    """Whether it is a system's own file, such as macOS's `._1.png`, not a user's."""
    return path.name.startswith(".") or path.name.lower() in KEPT_BY_SYSTEMS


def is_picture(path: Path) -> bool:
    """Whether its name is that of a picture."""
    return path.suffix.lower() in SUFFIXES and not is_hidden(path)


def pictures_in(folder: Path) -> list[Path]:
    """The folder's pictures, by name. Subfolders are not searched."""
    return sorted(path for path in folder.iterdir() if is_picture(path))


def listed(folder: Path) -> list[Path]:
    """The image files of a folder, by name. InputError if it is not a folder, or holds no images."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; --data takes a folder of photographs")
    paths = pictures_in(folder)
    if not paths:
        deeper = next((p.parent for p in sorted(folder.glob("*/*")) if is_picture(p)), None)
        hint = f"; folders within it are not looked into, name one, such as {deeper}" if deeper else ""
        raise InputError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))}){hint}")
    return paths


def tell_others(folder: Path, warn: Callable[[str], None], but: Path | None = None) -> None:
    """Count and name, in one sentence, the ignored entries of the folder: other files, and folders."""
    others = [path for path in sorted(folder.iterdir()) if not (is_picture(path) or is_hidden(path) or path == but)]
    if others:
        warn(f"left out of {folder}, not named like pictures ({len(others)}): {names_of(p.name for p in others)}")


def tell_losses(losses: Mapping[str, Iterable[str]], warn: Callable[[str], None]) -> None:
    """losses: name of a picture -> its losses; one sentence for each kind of loss."""
    for loss in dict.fromkeys(loss for some in losses.values() for loss in some):
        names = [name for name, some in losses.items() if loss in some]
        warn(f"not used as in the file ({len(names)}), {loss}: {names_of(names)}")


def names_of(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - MOST_NAMES} others" if len(every) > MOST_NAMES else ""
    return ", ".join(every[:MOST_NAMES]) + more
