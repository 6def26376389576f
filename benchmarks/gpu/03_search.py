"""The whole search of `sr-x4-gpu`. Run it again until it says that it is finished: it goes on where it stopped.

python benchmarks/gpu/03_search.py --data PHOTOGRAPHS --out results/sr-x4/gpu
"""

from pathlib import Path

import click
from common import Table, latest, run_for

from supernet.device import choose_device


@click.command()
@click.option("--data", default="embedded", help="A folder of photographs.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--minutes", default=7.5)
@click.option("--device", default="auto")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE")
def main(data: str, out: Path, minutes: float, device: str, changes: tuple[str, ...]) -> None:
    """Add a row to 03_search.json and 03_search.md in --out."""
    run = out / "03_search"
    table = Table(out, "03_search", choose_device(device))
    words = ["search", "--recipe", "sr-x4-gpu", "--data", data, "--run", run, "--device", device]
    words += [word for change in changes for word in ("--set", change)]
    found = run_for(60 * minutes, words)
    table.add({"sitting": len(table.rows) + 1, **found, "came to": latest(run)})


if __name__ == "__main__":
    main()
