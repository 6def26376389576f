"""The user's cache, which may be absent, full or closed: then work goes on without it."""

import os
from pathlib import Path


def folder() -> Path:
    """Where this project keeps what costs time to make. OSError if the user has no home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evo_c2f"
    except RuntimeError as error:
        raise OSError(str(error)) from None
