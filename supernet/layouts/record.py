"""A run's record of its pictures and their use, by content, so that the folder may be moved or renamed."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from evo_c2f.errors import DamagedFileError, InputError
from supernet.layouts.folders import names_of

Record = dict[str, list[list[str]]]  # use -> [name, hash of the content] of each picture, in order
# The "use" of pictures that may be missing later. Older versions listed some used pictures here too, first.
NOT_USED = "not used"
Item = TypeVar("Item")


def seeded_order(seed: int) -> Callable[[str], bytes]:
    """A key that sorts names or hashes in an order that the seed decides, in whatever order they come."""
    # A file's name may hold bytes that are no text.
    return lambda text: hashlib.sha256(f"{seed}:{text}".encode(errors="surrogateescape")).digest()


def read_record(path: Path) -> Record | None:
    """The run's record; None if the run is new, or of a version that kept no record.

    DamagedFileError if it can't be read.
    """
    if not path.is_file():
        return None
    try:
        found: Record = json.loads(path.read_text(encoding="utf-8"))
        if all(isinstance(name, str) and isinstance(h, str) for rows in found.values() for name, h in rows):
            return found
        raise ValueError("a picture has no hash")
    except (ValueError, AttributeError, TypeError) as error:
        raise DamagedFileError(f"{path} is damaged ({error}); restore it, or begin another run") from None


def as_before(
    record: Record, found: Sequence[tuple[str, str, Item]], where: str, warn: Callable[[str], None]
) -> dict[str, list[Item]]:
    """Use -> the pictures that the run started with, in their order, taken from those found (name, hash, picture).

    InputError that names missing pictures; `warn` names new ones, which are not used.
    """
    by_hash: Mapping[str, Item] = {digest: item for _, digest, item in found}
    uses = {digest: use for use, rows in record.items() for _, digest in rows}
    needed = {use: rows for use, rows in record.items() if use != NOT_USED}
    missing = {name: uses[digest] for rows in needed.values() for name, digest in rows if digest not in by_hash}
    if missing:
        counts = ", ".join(f"{use}: {n}" for use, n in Counter(missing.values()).items())
        raise InputError(
            f"{where} lacks pictures that the run was begun with ({counts}): {names_of(missing)}; "
            "put them back as they were, or name the folder that holds them with --data"
        )
    new = [name for name, digest, _ in found if digest not in uses]
    if new:
        warn(f"not used of {where}, as the run was begun without them ({len(new)}): {names_of(new)}")
    return {use: [by_hash[digest] for _, digest in rows] for use, rows in needed.items()}
