"""Scores as tidy pandas frames, one row a subnet, and statistics of them. The only module that imports pandas."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.files import replacing
from evo_c2f.objectives import pareto
from evo_c2f.objectives.metric import Box, Metric, credited, metric, minimised
from evo_c2f.objectives.pareto import Values
from evo_c2f.scores.layout import Scores
from evo_c2f.scores.store import read_scores
from evo_c2f.space import STAGES, Genomes, SearchSpace, genome_texts, subnet_ids

Frame = pd.DataFrame
Series = pd.Series
GENE = re.compile(r"(path|operator|inner|width)_\d+")

DEFAULT_OBJECTIVES = ("psnr_y", "macs")


def load_scores(path: str | Path, objectives: Sequence[str] | None = DEFAULT_OBJECTIVES) -> Frame:
    """One row a measured subnet: id, context, stage, generation, genes in words, every metric, front.

    path: a run folder or its scores.h5. `front` is 0 for the Pareto front of its context over the objectives (metric
    names), 1 for the next one, and so on; NaN in a context that lacks an objective; None leaves the column out. A
    search prints a different front: that of one stage, within the limits, and in the end on the whole images
    (`evo_c2f.runs.fronts`). A failed metric is NaN. Its row gives the reason and is in the last front of all if that
    metric is an objective.
    """
    scores = read_scores(_store(path))
    frames = [frame_of(s) for s in scores if len(s.rows)]
    if not frames:
        raise InputError(f"{path} holds no scores yet; run 'python cli.py evolve --stage path' first")
    if objectives is not None:
        measured = [frame for frame in frames if set(objectives) <= set(frame.columns)]
        for frame in measured or frames:  # the latter only to be refused by name
            frame["front"] = pareto.ranks(_minimised(frame, objectives))
    return joined(frames)


def joined(frames: Sequence[Frame]) -> Frame:
    """The rows of all the frames, at least one, in order."""
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def _store(path: str | Path) -> Path:
    file = Path(path)
    if not file.exists() and file.suffix != ".h5":
        raise InputError(f"{file} does not exist; name the folder of a run, such as results/quick")
    return file / "scores.h5" if file.is_dir() else file


def frame_of(scores: Scores) -> Frame:
    """One context's rows, in the order of measurement."""
    space, rows = SearchSpace.from_dict(scores.space), scores.rows
    genomes = np.ascontiguousarray(rows["genome"])
    failure = np.full(len(rows), "", dtype=object)
    for row, failed in scores.failures.items():
        failure[row] = _why(failed)
    stages = rows["stage"].tolist()
    words = {stage: stage.decode() for stage in set(stages)}
    return pd.DataFrame(
        {
            "id": subnet_ids(genomes),
            "context": scores.context,
            "stage": list(map(words.__getitem__, stages)),
            "generation": rows["generation"],
            **gene_columns(space, genomes),
            **scores.metrics,
            "seconds": rows["seconds"],
            "time": pd.to_datetime((rows["time"] * 1e6).astype(np.int64), unit="us", utc=True),
            "failure": failure,
            "genome": genome_texts(genomes),
        }
    )


def _why(failed: Mapping[str, str]) -> str:
    """Such as 'out of memory; not finite: psnr_y, macs'."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in failed.items():
        by_reason.setdefault(reason, []).append(name)
    return "; ".join(
        f"{reason}; not finite: {', '.join(names)}".removeprefix("; ") for reason, names in by_reason.items()
    )


def front_frame(space: SearchSpace, genomes: Genomes, metrics: dict[str, Values], survivors: Genomes) -> Frame:
    """One row a genome (n, n_genes): id, metrics, whether it seeds the next stage, genes in words, genome."""
    kept = {genome.tobytes() for genome in survivors}
    return sample_frame(space, genomes, {**metrics, "survivor": [genome.tobytes() in kept for genome in genomes]})


def sample_frame(space: SearchSpace, genomes: Genomes, columns: dict[str, Any]) -> Frame:
    """One row a genome (n, n_genes): id, the given columns (n,), genes in words, genome."""
    return pd.DataFrame(
        {
            "id": subnet_ids(genomes),
            **columns,
            **gene_columns(space, genomes),
            "genome": genome_texts(genomes),
        }
    )


def rows_frame(rows: Sequence[Mapping[str, Any]]) -> Frame:
    """One row a mapping."""
    return pd.DataFrame(rows)


def curves_frame(curves: Mapping[tuple[str, int], Values]) -> Frame:
    """(strategy, seed) -> hypervolume after each subnet, as rows of strategy, seed, evaluations, hypervolume."""
    parts = [
        pd.DataFrame(
            {"strategy": name, "seed": seed, "evaluations": np.arange(1, len(curve) + 1), "hypervolume": curve}
        )
        for (name, seed), curve in curves.items()
    ]
    return pd.concat(parts, ignore_index=True)


def gene_columns(space: SearchSpace, genomes: Genomes) -> dict[str, "pd.Categorical[Any]"]:
    """Each gene in words; '' where it says nothing about its network."""
    active = space.active(genomes)
    columns = {}
    for gene, name in enumerate(space.gene_names):
        words = [space.gene_text(gene, value) for value in range(int(space.n_choices[gene]))]
        codes = np.where(active[:, gene], genomes[:, gene].astype(np.int8) + 1, 0)
        columns[name] = pd.Categorical.from_codes(codes, pd.Index(["", *words]))
    return columns


def front(frame: Frame, objectives: Sequence[str] = DEFAULT_OBJECTIVES) -> Frame:
    """The rows that no other row dominates, ordered by the first objective, best first, then by the next."""
    kept = frame[pareto.non_dominated(_minimised(frame, objectives))]
    return best_first(kept, [metric(name) for name in objectives])


def best_first(frame: Frame, objectives: Sequence[Metric]) -> Frame:
    """The rows ordered by the first objective, best first, then by the next."""
    ascending = [o.better == "lower" for o in objectives]
    return frame.sort_values([o.name for o in objectives], ascending=ascending, kind="stable")


def varied(frame: Frame, space: SearchSpace, objective: Metric, n: int, credit: float = 0.0) -> Frame:
    """Up to n different networks of a run's scores, of all depths and operators.

    Subnets whose cells only lie in other places are one network, and the best of them stands for it. Scores with
    different weights can't be compared, so subnets are ordered by their rank within their stage. The best of each depth
    and most frequent operator come first, then the second best, and so on.

    credit: in dB of PSNR for each factor e in MACs.
    """
    if credit and "macs" in frame:
        values = credited(objective, frame[objective.name].to_numpy(), frame["macs"].to_numpy(), credit)
        frame = frame.assign(**{objective.name: values})
    parts = []
    for stage in (*STAGES, "joint"):
        rows = frame[frame["stage"] == stage]
        rows = rows[rows["context"] == rows["context"].get(rows.index.max())]  # the newest weights of the stage
        parts.append(rows.assign(rank=rows[objective.name].rank(ascending=objective.better == "lower", pct=True)))
    every: Frame = pd.concat(parts).sort_values("rank", kind="stable").drop_duplicates("genome")
    if every.empty:
        return every
    keys = pd.Series([space.decode(genome).key for genome in genomes_of(every)], index=every.index)
    every = every[~keys.duplicated()]
    operators = every.filter(regex=r"^operator_\d+$").astype(str)
    kind = pd.DataFrame({"depth": (operators != "").sum(axis=1)}, index=every.index)
    kind["operator"] = operators.replace("", np.nan).mode(axis=1)[0]
    turn = every.groupby([kind["depth"], kind["operator"]]).cumcount()
    chosen: Frame = every.assign(turn=turn).sort_values(["turn", "rank"], kind="stable").head(n)
    return chosen


def box(path: str | Path, objectives: Sequence[str] = DEFAULT_OBJECTIVES) -> Box:
    """The hypervolume's box in the newest context; path as in `load_scores`."""
    scores, wanted = read_scores(_store(path))[-1], tuple(metric(name) for name in objectives)
    try:
        found = box_of(scores, wanted)
    except KeyError as error:
        words = f"no finite baseline of {error.args[0]}, or no scores of it"
        raise InputError(f"{path} has {words}; name another objective, or evolve anew") from None
    if found is None:
        raise InputError(f"{path} holds no score of the widest subnet yet; evolve a stage first")
    return found


def box_of(scores: Scores, objectives: tuple[Metric, ...]) -> Box | None:
    """The box of a context's hypervolume, as `search.fix_box` fixed it; None if the widest subnet wasn't measured.

    KeyError if an objective was not measured.
    """
    space = SearchSpace.from_dict(scores.space)
    names = [o.name for o in objectives]
    widest, shallowest = (_metrics_of(scores, genome, names) for genome in (space.reference, space.shallowest))
    if widest is None:
        return None
    return Box.between(objectives, scores.baseline, widest, shallowest)


def _metrics_of(scores: Scores, genome: Genomes, names: Sequence[str]) -> dict[str, float] | None:
    """These metrics of one subnet (n_genes,); None if one of them was not measured, or failed."""
    row = np.flatnonzero((scores.rows["genome"] == genome).all(axis=1))
    known = {name: float(scores.metrics[name][i]) for name in names for i in row}
    return known if known and np.isfinite([*known.values()]).all() else None


def hypervolume_curve(frame: Frame, box: Box) -> "pd.Series[float]":
    """The hypervolume of the box's objectives after each of the frame's rows."""
    losses = 1 - box.gains(frame[[o.name for o in box.objectives]].to_numpy(dtype=float))
    kept, volume, curve = losses[:0], 0.0, []
    for row in losses:
        # A row that is dominated, or not finite, changes nothing.
        if np.isfinite(row).all() and (row < 1).all() and not (kept <= row).all(axis=1).any():
            kept = np.vstack([kept[~(row <= kept).all(axis=1)], row])
            volume = pareto.hypervolume(kept, np.ones(len(row)))
        curve.append(volume)
    return pd.Series(curve, index=pd.RangeIndex(1, len(curve) + 1, name="evaluations"), name="hypervolume")


def gene_effects(frame: Frame, value: str = "psnr_y") -> Frame:
    """For each choice of each gene: the mean of a metric over its subnets, its difference from the overall mean, n."""
    genes = [c for c in frame.columns if isinstance(frame[c].dtype, pd.CategoricalDtype)]
    overall = frame[value].mean()
    parts = []
    for gene in genes:
        grouped = frame[frame[gene] != ""].groupby(gene, observed=True)[value].agg(["mean", "count"])
        parts.append(grouped.rename_axis("choice").reset_index().assign(gene=gene))
    effects = pd.concat(parts, ignore_index=True)
    effects["effect"] = effects["mean"] - overall
    return effects[["gene", "choice", "mean", "effect", "count"]]


def records(frame: Frame) -> list[dict[str, Any]]:
    """Each row as a plain dict, ready for JSON."""
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return rows


def write_front(frame: Frame, path: Path) -> None:
    """Write a front as CSV, under a temporary name first."""
    with replacing(path) as partial:
        frame.to_csv(partial, index=False)


def read_front(path: Path) -> Frame:
    """Read the file that `write_front` wrote. DamagedFileError if it can't be read."""
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        if subnet_ids(genomes_of(frame)) != frame["id"].tolist():
            raise ValueError("an id is not that of its genome")
        survivors = [{"True": True, "False": False}[text] for text in frame["survivor"]]
        frame["survivor"] = np.array(survivors, dtype=bool)
        words = ("id", "genome", "survivor", *(name for name in frame if GENE.fullmatch(str(name))))
        figures = [name for name in frame if name not in words]
        # An empty figure is one in 8 bits that failed.
        return frame.replace({name: {"": "nan"} for name in figures}).astype(dict.fromkeys(figures, float))
    except (ValueError, KeyError, TypeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = " ".join(str(error).split())
        raise DamagedFileError(f"{path} is damaged ({reason}); evolve that stage again") from None


def genomes_of(frame: Frame) -> Genomes:
    """The genomes (n, n_genes) of a frame's rows."""
    return np.array([np.frombuffer(bytes.fromhex(text), dtype=np.uint8) for text in frame["genome"]], dtype=np.uint8)


def _minimised(frame: Frame, objectives: Sequence[str]) -> Values:
    metrics: tuple[Metric, ...] = tuple(metric(name) for name in objectives)
    missing = [name for name in objectives if name not in frame.columns]
    if missing:
        raise InputError(f"{missing[0]} was never measured in this run; evolve with --objective {missing[0]}")
    return minimised(frame[list(objectives)].to_numpy(dtype=float), metrics)
