"""The installed versions of Python and of packages that affect a result, found without importing them."""

import platform
from functools import cache
from importlib import metadata

PACKAGES = ("torch", "numpy", "pymoo", "h5py", "pandas", "scipy", "pillow", "plotly")


@cache  # a search logs them for each stage and training
def versions() -> dict[str, str]:
    """Name -> version; packages that are not installed are left out."""
    from evo_c2f import __version__

    found = {"evo_c2f": __version__, "python": platform.python_version(), "system": platform.platform(terse=True)}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
