"""Which versions of Python and of the packages that matter to a result are installed; nothing is imported for it."""

import platform
from importlib import metadata

PACKAGES = ("torch", "numpy", "pymoo", "h5py", "pandas", "scipy", "pillow", "plotly")


def versions() -> dict[str, str]:
    """Name -> version; a package that is not installed is left out."""
    from evo_c2f import __version__

    found = {"evo_c2f": __version__, "python": platform.python_version(), "system": platform.platform(terse=True)}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
