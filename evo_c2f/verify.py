"""Whether the files of a run are as they were written."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from evo_c2f import analysis
from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.recipe import load_run
from evo_c2f.run import read_log
from evo_c2f.store import read_scores

NOT_CHECKED = {".md", ".txt"}


@dataclass(frozen=True)
class Finding:
    """A file, and what is wrong with it and what to do, in a sentence; None if it is whole."""

    path: Path
    fault: str | None


Read = Callable[[Path], object]  # raises as `read_scores` does


def verify(folder: Path, readers: Mapping[str, Read]) -> Iterator[Finding]:
    """One finding a file of the run, in the order of their names. readers: by suffix, of what this package can't read.

    What can't be told from its own bytes (text) is left out. InputError if the folder holds no run.
    """
    if not (folder / "recipe.yaml").is_file():
        raise InputError(f"{folder} holds no run; name the folder of one, such as results/quick")
    for path in sorted(folder.rglob("*")):
        hidden = path.name.startswith(".") and ".partial" not in path.name
        if path.is_file() and not hidden and path.suffix not in NOT_CHECKED:
            yield Finding(path, _fault(path, readers))


def _fault(path: Path, readers: Mapping[str, Read]) -> str | None:
    if ".partial" in path.name:
        return f"{path} was left by a process that was killed; remove it"
    try:
        if path.name == "recipe.yaml":
            load_run(path)
        elif path.name == "log.jsonl":
            read_log(path)
        elif path.parent.name == "fronts" and path.suffix == ".csv":
            analysis.read_front(path)
        elif path.suffix == ".h5":
            read_scores(path)
        elif path.suffix in readers:
            readers[path.suffix](path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".png":
            with Image.open(path) as picture:
                picture.load()
    except (DamagedFileError, InputError) as error:
        return str(error)
    except (ValueError, OSError, SyntaxError, UnidentifiedImageError) as error:
        return f"{path} is damaged ({error}); remove it, and run the command that wrote it again"
    return None
