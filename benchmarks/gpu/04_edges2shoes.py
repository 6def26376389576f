"""The trainings of edges2shoes at 256x256: the teacher's, then the supernet's. Run it again to go on.

python benchmarks/gpu/04_edges2shoes.py --data PAIRS --out results/edges2shoes/gpu
"""

from pathlib import Path

import click
from common import Table, latest, run_for

from supernet.device import choose_device


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True, help="A folder of pairs.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--minutes", default=7.5, help="Of both together.")
@click.option("--images", default=100_000, help="For the teacher.")
@click.option("--device", default="auto")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE")
def main(data: Path, out: Path, minutes: float, images: int, device: str, changes: tuple[str, ...]) -> None:
    """Add two rows to 04_edges2shoes.json and 04_edges2shoes.md in --out."""
    run, table = out / "04_edges2shoes", Table(out, "04_edges2shoes", choose_device(device))
    sitting = len(table.rows) // 2 + 1
    for command, more in (("train-teacher", ["--images", images]), ("train-supernet", [])):
        words = [command, *more, "--recipe", "edges2shoes", "--data", data, "--run", run, "--device", device]
        words += [word for change in changes for word in ("--set", change)]
        found = run_for(30 * minutes, words)
        table.add({"sitting": sitting, "command": command, **found, "came to": latest(run)})


if __name__ == "__main__":
    main()
