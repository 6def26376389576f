"""Measures the cost of the score store on this machine, and the speedup by more workers."""

import time
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from evo_c2f.scores.analysis import load_scores
from evo_c2f.scores.layout import Context
from evo_c2f.scores.store import ScoreStore
from evo_c2f.space import SearchSpace
from evo_c2f.workers.processes import Processes, Task

BATCH = 500
BLOCK, TURNS = 16, 5


def bench_store(space: SearchSpace, n_rows: int, rng: np.random.Generator) -> dict[str, float]:
    """Rows a second in batches, ms of one row (flushed), us of a look-up, s of opening and of load_scores.

    With n_rows scores, and without computing front numbers.
    """
    genomes = np.unique(space.random(2 * n_rows, rng), axis=0)[:n_rows]
    genomes = genomes[rng.permutation(len(genomes))]
    context = Context(space.to_dict(), "bench", "bench", "bench")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "scores.h5"
        with ScoreStore(path, context) as store:
            start = time.perf_counter()
            for begin in range(0, len(genomes), BATCH):
                batch = genomes[begin : begin + BATCH]
                rows = [{"psnr_y": 30.0, "macs": 1e9} for _ in batch]
                store.append(batch, rows, "path", 1, [0.1] * len(batch))
            rate = len(genomes) / (time.perf_counter() - start)
            start = time.perf_counter()
            for genome in genomes[:1000]:
                store.get(genome)
            look_up = (time.perf_counter() - start) / min(1000, len(genomes))
            start = time.perf_counter()
            singles = space.random(50, rng)
            for genome in singles:
                store.append(genome[None], [{"psnr_y": 30.0, "macs": 1e9}], "path", 2, [0.1])
            single = (time.perf_counter() - start) / len(singles)
        start = time.perf_counter()
        ScoreStore(path, context).__exit__(None, None, None)
        opening = time.perf_counter() - start
        start = time.perf_counter()
        load_scores(path, objectives=None)
        loading = time.perf_counter() - start
    return {
        "store_rows": float(len(genomes)),
        "append_rows_per_s": rate,
        "append_one_ms": 1e3 * single,
        "look_up_us": 1e6 * look_up,
        "open_s": opening,
        "load_scores_s": loading,
    }


def bench_processes(n: int, task: Task, space: SearchSpace, rng: np.random.Generator) -> dict[str, float]:
    """Subnets a minute by one worker of one thread, and by n, alternating on the same subnets; and their ratio."""
    architectures = [space.decode(genome) for genome in space.random(BLOCK * n, rng)]
    with closing(Processes(1, task, threads=1)) as one, closing(Processes(n, task, threads=1)) as many:
        rates: dict[int, list[float]] = {1: [], n: []}
        for turn in range(TURNS + 1):
            for workers in (one, many):
                start = time.perf_counter()
                for ticket, architecture in enumerate(architectures):
                    workers.submit(ticket, architecture)
                left = len(architectures)
                while left:
                    left -= workers.finished(60.0) is not None
                if turn:  # in the first, they start
                    rates[workers.n].append(60 * len(architectures) / (time.perf_counter() - start))
    slow, fast = median(rates[1]), median(rates[n])
    return {"subnets_per_minute_1": slow, f"subnets_per_minute_{n}": fast, "ratio": fast / slow}
