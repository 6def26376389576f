"""The user's cache. If it is missing, full or not writable, work continues without it."""

import os
from pathlib import Path


def folder() -> Path:
    """The folder for results that take long to compute. OSError if the user has no home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evo_c2f"
    except RuntimeError as error:
        raise OSError(str(error)) from None
