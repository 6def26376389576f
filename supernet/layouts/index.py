"""What is known of the files of a set, so that none is read twice to learn it."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from evo_c2f.files import write_text
from evo_c2f.json_text import to_json

SETTLED_NS = 2_000_000_000  # a file that changed since may change again at the same time of its disk's clock


class Facts(NamedTuple):
    """What is known of a picture's file.

    size: (height, width) of the upright picture; digest: the hash of its content; losses: the parts of the file that
    are not used, in words; fault: why it can't be read, or ''.
    """

    size: tuple[int, int]
    digest: str
    losses: tuple[str, ...] = ()
    fault: str = ""


def unseen(done: int, total: int) -> None:
    """The progress of reading files, which nobody sees."""


class Index:
    """Facts of files, by name. A file whose size and time of change are as they were is not read again.

    Names are as seen from a folder, which may be moved.
    """

    def __init__(self, root: Path | str = "", file: Path | None = None):
        """file: where the facts are kept; None, or a file that can't be read: all are learned anew."""
        self.prefix, self.file = f"{root}{os.sep}", file
        self.before = read_rows(file) if file else {}
        self.rows, self.unsettled = dict[str, list[Any]](), set[str]()

    def known(self, path: Path) -> Facts | None:
        """The facts of a file; None if they are not known, or the file has changed."""
        name = str(path).removeprefix(self.prefix)
        row, about = self.rows.get(name) or self.before.get(name), about_file(path)
        if row is None or about is None or row[:2] != [about.st_size, about.st_mtime_ns]:
            return None
        self.rows[name] = row
        return facts_in(row)

    def of(self, path: Path, read: Callable[[Path], Facts]) -> Facts:
        """The facts of a file, which are read if they are not known."""
        return self.known(path) or self.keep(path, about_file(path), read(path))

    def keep(self, path: Path, about: os.stat_result | None, facts: Facts) -> Facts:
        """Keep the facts of a file. about: of the file, before it was read; None: it is not there."""
        if about is None:
            return facts
        name = str(path).removeprefix(self.prefix)
        self.rows[name] = [about.st_size, about.st_mtime_ns, *facts]
        if about.st_mtime_ns > time.time_ns() - SETTLED_NS:
            self.unsettled.add(name)
        return facts

    def facts(self) -> dict[str, Facts]:
        """The facts of all files that were asked for, by name."""
        return {name: facts_in(row) for name, row in self.rows.items()}

    def save(self) -> None:
        """Write the facts of all files that were asked for, unless they are written."""
        settled = {name: row for name, row in self.rows.items() if name not in self.unsettled}
        if self.file and (settled != self.before or not self.file.exists()):
            write_text(self.file, to_json(settled))


def about_file(path: Path) -> os.stat_result | None:
    """Its size and time of change; None if it is not there, as behind a link that leads nowhere."""
    try:
        return path.stat()
    except OSError:
        return None


def facts_in(row: list[Any]) -> Facts:
    _, _, (height, width), digest, losses, fault = row
    return Facts((height, width), digest, tuple(losses), fault)


def read_rows(file: Path) -> dict[str, list[Any]]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        return {name: row for name, row in rows.items() if len(row) == 6}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
