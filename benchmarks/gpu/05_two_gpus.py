"""Two GPUs against one: the same supernet, the same batches; the weights should be equal.

python benchmarks/gpu/05_two_gpus.py --data PHOTOGRAPHS --out results/sr-x4/gpu
"""

from pathlib import Path

import click
from common import Table, run_for
from torch import Tensor

from supernet import checkpoint
from supernet.device import choose_device


@click.command()
@click.option("--data", default="embedded", help="A folder of photographs.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--rounds", default=600, help="Both must end, so that their weights can be compared.")
@click.option("--minutes", default=3.5, help="For each of the two.")
@click.option("--device", default="auto")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE")
def main(data: str, out: Path, rounds: int, minutes: float, device: str, changes: tuple[str, ...]) -> None:
    """Write 05_two_gpus.json and 05_two_gpus.md to --out."""
    table, weights = Table(out, "05_two_gpus", choose_device(device)), list[dict[str, Tensor]]()
    changes = (*changes, f"training.rounds={rounds}", "training.precision=float32")
    for n in (1, 2):
        run = out / "05_two_gpus" / str(n)
        words = ["train-supernet", "--recipe", "sr-x4-gpu", "--data", data, "--run", run, "--device", device]
        words += ["--devices", n, *(word for change in changes for word in ("--set", change))]
        if not table.find({"gpus": n}):
            table.add({"gpus": n, **run_for(60 * minutes, words)})
        weights.append(checkpoint.load(run / "supernet" / "path.safetensors")[0])
    apart = max(float((one - weights[1][name]).abs().max()) for name, one in weights[0].items())
    table.add({"gpus": "1 and 2", "averaged weights differ by at most": apart})


if __name__ == "__main__":
    main()
