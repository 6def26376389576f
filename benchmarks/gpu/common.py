"""What the scripts share: rows that are kept as they are measured, and a table with the card's name."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # the scripts are started as files, as cli.py is

from evo_c2f.files import write_text  # noqa: E402
from evo_c2f.json_text import to_json  # noqa: E402
from evo_c2f.runs.run import read_log  # noqa: E402
from evo_c2f.scores.tables import markdown  # noqa: E402

Row = dict[str, Any]


class Table:
    """The rows of a script, kept as they are measured."""

    def __init__(self, folder: Path, name: str, device: torch.device):
        self.file, self.device = folder / f"{name}.json", device
        self.rows: list[Row] = json.loads(self.file.read_text())["rows"] if self.file.is_file() else []

    def find(self, key: Row) -> Row | None:
        """The row that has these entries, if it was measured before."""
        return next((row for row in self.rows if key.items() <= row.items()), None)

    def add(self, row: Row) -> Row:
        """Keep a row, and write the table."""
        self.rows.append(row)
        machine = f"{card(self.device)}, torch {torch.__version__}"
        write_text(self.file, to_json({"machine": machine, "rows": self.rows}, indent=1) + "\n")
        write_text(self.file.with_suffix(".md"), f"{machine}\n\n{markdown(self.rows)}")
        print(to_json(row), flush=True)
        return row


def card(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def run_for(limit: float, words: Sequence[object]) -> Row:
    """Run a command of cli.py for at most so many seconds; the same call again goes on with it."""
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, str(ROOT / "cli.py"), *map(str, words)])
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # it saves its state
        code = process.wait()
    return {"seconds": round(time.monotonic() - started, 1), "finished": code == 0, "exit code": code}


def latest(run: Path) -> str:
    """What the run's log told last of a training or a search."""
    told = [line for line in read_log(run / "log.jsonl") if line["event"] in ("round", "trained", "evolved")]
    return " ".join(str(told[-1][name]) for name in ("event", "stage", "index") if name in told[-1]) if told else ""
