"""Checks that the files of a run are as they were written."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.runs.recipe import load_run
from evo_c2f.runs.run import read_log
from evo_c2f.scores import analysis
from evo_c2f.scores.store import read_scores

OURS = {".lock", ".log.lock", ".writer.json"}  # who writes; they hold nothing of the run
# The lines of engine/steady.py; a killed writer leaves half a line.
ORDER = re.compile(r"[0-9a-f]{64}( [0-9]+)?\n([0-9a-f]+( failed)?\n)*[0-9a-f]*( [a-z]*)?")


@dataclass(frozen=True)
class Finding:
    """A file, and one sentence with its problem and the way out; None if it is intact, or was not checked."""

    path: Path
    fault: str | None
    checked: bool = True


Read = Callable[[Path], object]  # raises as `read_scores` does


def verify(folder: Path, readers: Mapping[str, Read]) -> Iterator[Finding]:
    """One finding for each file of the run, ordered by name. readers: by suffix, for files that this package can't
    read.

    A file of another kind is listed, but not checked: damage in text can't be detected. InputError if the folder holds
    no run.
    """
    if not (folder / "recipe.yaml").is_file():
        raise InputError(f"{folder} holds no run; name the folder of one, such as results/quick")
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and path.name not in OURS:
            yield _finding(path, _reader(path, readers))


def _finding(path: Path, read: Read | None) -> Finding:
    if ".partial" in path.name:
        return Finding(path, f"{path} was left by a process that was killed; remove it")
    if read is None:
        return Finding(path, None, checked=False)
    return Finding(path, _fault(path, read))


def _reader(path: Path, readers: Mapping[str, Read]) -> Read | None:
    """What reads such a file; None if nothing does."""
    if path.parent.name == "fronts" and path.suffix in (".csv", ".order"):
        return analysis.read_front if path.suffix == ".csv" else _read_order
    named: Mapping[str, Read] = {"recipe.yaml": load_run, "log.jsonl": read_log}
    known: Mapping[str, Read] = {".h5": read_scores, ".json": _read_json, ".png": _read_picture}
    return named.get(path.name) or readers.get(path.suffix) or known.get(path.suffix)


def _read_json(path: Path) -> object:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_picture(path: Path) -> None:
    with Image.open(path) as picture:
        picture.load()


def _read_order(path: Path) -> None:
    """ValueError if it is not what `steady.Order` writes."""
    if not ORDER.fullmatch(path.read_text(encoding="utf-8")):
        raise ValueError("it is no order of subnets")


def _fault(path: Path, read: Read) -> str | None:
    try:
        read(path)
    except PermissionError:
        return f"{path} can't be read by this account; ask its owner"
    except (DamagedFileError, InputError) as error:
        return str(error)
    except (ValueError, OSError, SyntaxError, UnidentifiedImageError) as error:
        return f"{path} is damaged ({error}); remove it, and run the command that wrote it again"
    return None
