"""A run's page as one HTML file, with its data, style and scripts inside; it loads nothing else."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from plotly.offline import get_plotlyjs

from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.page.data import page_data
from evo_c2f.runs.run import RunFolder

SCRIPTS = ("format", "theme", "network", "charts", "table", "heat", "subnet", "main")  # in the order that they need


def write_page(run: RunFolder) -> None:
    """Write report.html into the run."""
    write_text(run.report, render(page_data(run)))


def render(data: dict[str, Any], live: bool = False) -> str:
    """The page. live: it polls its server for newer data."""
    plotly, ours = get_plotlyjs().replace("\r", ""), joined(SCRIPTS)  # a browser drops \r; then the hash is another's
    parts = {
        "policy": policy([plotly, ours], connect="'self'" if live else "'none'"),
        "style": read("page.css"),
        "data": as_json({**data, "live": live}),
        "plotly": plotly,
        "scripts": ours,
    }
    return filled("page.html", parts)


def filled(name: str, parts: Mapping[str, str]) -> str:
    """The template of that name, with `[[part]]` replaced by each part."""
    # Split before anything is put in: no user's text is taken for a mark.
    pieces = re.split(r"\[\[(\w+)\]\]", read(name))
    return "".join(parts[piece] if i % 2 else piece for i, piece in enumerate(pieces))


def as_json(data: Any) -> str:
    """JSON for a script element: no '<' that could end the element or begin a comment."""
    text = to_json(data, compact=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def joined(names: tuple[str, ...]) -> str:
    """The scripts of these names, in a scope of their own."""
    return "(() => {\n'use strict';\n" + "\n".join(read(f"{name}.js") for name in names) + "\n})();\n"


def read(name: str) -> str:
    """A file of web/."""
    return files("evo_c2f.page.web").joinpath(name).read_text(encoding="utf-8")


def policy(scripts: Sequence[str], connect: str, images: str = "") -> str:
    """Only these scripts run, and nothing is asked of any network but of the sources in `connect` and `images`."""
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{h}'" for h in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:{images}; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )
