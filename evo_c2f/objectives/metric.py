"""Metrics, and the objectives and limits made of them. The only place where signs are flipped."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evo_c2f.errors import InputError


@dataclass(frozen=True)
class Metric:
    """A measured figure: whether lower or higher is better, whether it is a cost of the network, and its label."""

    name: str
    better: Literal["lower", "higher"]
    kind: Literal["quality", "cost", "static cost"]  # static: known from the genome alone
    label: str

    @property
    def sign(self) -> int:
        """1 if lower is better, -1 if higher is: sign * value is minimised."""
        return 1 if self.better == "lower" else -1


METRICS = {
    metric.name: metric
    for metric in (
        Metric("psnr_y", "higher", "quality", "PSNR on Y (dB)"),
        Metric("ssim_y", "higher", "quality", "SSIM on Y"),
        Metric("psnr_rgb", "higher", "quality", "PSNR on RGB (dB)"),
        Metric("ssim_rgb", "higher", "quality", "SSIM on RGB"),
        Metric("psnr", "higher", "quality", "PSNR on all channels (dB)"),
        Metric("ssim", "higher", "quality", "SSIM on all channels"),
        Metric("lpips", "lower", "quality", "LPIPS (AlexNet)"),
        Metric("fid", "lower", "quality", "FID"),
        Metric("fd_vgg", "lower", "quality", "Frechet distance of VGG16 features"),
        Metric("macs", "lower", "static cost", "MACs"),
        Metric("params", "lower", "static cost", "parameters"),
        Metric("size_mb", "lower", "static cost", "size (MB)"),
        Metric("latency_ms", "lower", "cost", "latency (ms)"),
        Metric("latency_ratio", "lower", "cost", "latency / plain network's"),
        Metric("latency_torch_ms", "lower", "cost", "latency in torch (ms)"),
    )
}


FULL = "_full"  # the suffix of a quality taken on the whole validation images
INT8 = "_int8"  # the suffix, before `_full`, of a figure of the network's file in 8 bits
# A Frechet distance of fewer images than it has dimensions is named by their number: fid_n200.
FEW = re.compile(r"(fid|fd_vgg)_n([1-9]\d*)")


def metric(name: str) -> Metric:
    """The metric of that name, perhaps with suffixes: a quality with `_full`. InputError if there is none."""
    short = name.removesuffix(FULL).removesuffix(INT8)
    few = FEW.fullmatch(short)
    known = METRICS.get(few[1] if few else short)
    if known is None or (name.endswith(FULL) and known.kind != "quality"):
        raise InputError(f"metric {name!r} is unknown; there are {', '.join(METRICS)}")
    return replace(known, name=name)


def is_quality(name: str) -> bool:
    """Whether a quality has that name; False for unknown names."""
    short = name.removesuffix(FULL).removesuffix(INT8)
    few = FEW.fullmatch(short)
    known = METRICS.get(few[1] if few else short)
    return known is not None and known.kind == "quality"


def on_whole_images(objectives: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """The objectives of a final front: qualities measured on the whole validation images."""
    return tuple(metric(o.name + FULL) if o.kind == "quality" else o for o in objectives)


def credited(
    objective: Metric, values: NDArray[np.float64], macs: NDArray[np.float64], credit: float
) -> NDArray[np.float64]:
    """The objective's values (n,) by which networks are ordered: a PSNR with `credit` dB for each factor e in MACs.

    Shared weights rate large networks too low (docs/decisions/0021). Other metrics stay as they are.
    """
    if not objective.name.startswith("psnr"):
        return values
    return values + credit * np.log(np.maximum(macs, 1))


def minimised(values: NDArray[np.float64], objectives: tuple[Metric, ...]) -> NDArray[np.float64]:
    """Raw values (n, m) with signs flipped so that every column is minimised."""
    signed: NDArray[np.float64] = values * np.array([o.sign for o in objectives])
    return signed


@dataclass(frozen=True)
class Limit:
    """A bound on a metric: 'max' is an upper bound, 'min' a lower one."""

    metric: Metric
    side: Literal["max", "min"]
    value: float

    def violation(self, measured: NDArray[np.float64]) -> NDArray[np.float64]:
        """The excess over the limit, relative to it (value / limit - 1); at most 0 if the limit is met."""
        excess = measured - self.value if self.side == "max" else self.value - measured
        relative: NDArray[np.float64] = excess / max(abs(self.value), 1e-12)
        return relative

    def __str__(self) -> str:
        return f"{self.metric.name} {'<=' if self.side == 'max' else '>='} {self.value:g}"


def objectives(names: Sequence[str], limited: Sequence[str], rescored: Sequence[str]) -> tuple[Metric, ...]:
    """The objectives: the first quality that is named, then the costs and then the other qualities, each by name.

    InputError if one is unknown, if there are fewer than two, or no quality, or if a name can't be used: `limited` has
    limits, `rescored` is measured of the final front.
    """
    if len(set(names)) < max(2, len(names)):
        raise InputError(f"objectives are {[*names]}; name at least two, each once")
    for name in (*names, *limited, *rescored):
        if name.endswith((FULL, INT8)):
            short = name.removesuffix(FULL).removesuffix(INT8)
            raise InputError(f"{name} is taken of final fronts alone; search on {short}")
    for name in rescored:
        if metric(name).kind != "quality":
            raise InputError(f"search.rescore names {name}, which is no quality; a front has its costs already")
    found = [metric(name) for name in names]
    first = next((o for o in found if o.kind == "quality"), None)
    if first is None:
        raise InputError(f"objectives are {[*names]}, all of them costs; name a quality too")
    return tuple(sorted(found, key=lambda o: (o != first, o.kind == "quality", o.name)))


def limits(maxima: dict[str, float], minima: dict[str, float]) -> tuple[Limit, ...]:
    """The limits. InputError if a metric is unknown or its two limits contradict each other."""
    for name in maxima.keys() & minima.keys():
        if minima[name] > maxima[name]:
            raise InputError(f"{name} can't be at least {minima[name]:g} and at most {maxima[name]:g}; change one")
    upper = [Limit(metric(name), "max", value) for name, value in maxima.items()]
    return (*upper, *(Limit(metric(name), "min", value) for name, value in minima.items()))


STATIC_COSTS = ("params", "macs", "size_mb")


def wanted_metrics(objectives: Sequence[Metric], limits: Sequence[Limit]) -> list[str]:
    """The metrics of each candidate: objectives, limited metrics and static costs."""
    names = [o.name for o in objectives] + [limit.metric.name for limit in limits]
    return list(dict.fromkeys([*names, *STATIC_COSTS]))


MARGIN = 0.1  # of a side of the box, by which its worst corner is worse than the subnets that it is taken from


def is_behind(objectives: tuple[Metric, ...], baseline: Mapping[str, float], widest: Mapping[str, float]) -> bool:
    """Whether the widest subnet fails to beat the baseline in one of the qualities."""
    return any(o.sign * (baseline[o.name] - widest[o.name]) <= 0 for o in objectives if o.kind == "quality")


@dataclass(frozen=True)
class Box:
    """The box of the hypervolume, fixed before the search with a set of weights.

    Cost runs from the widest subnet (0) to no cost (1). Quality runs from the baseline (0) to the widest subnet (1); a
    network may be better than the widest, so a gain may exceed 1. If the widest doesn't beat the baseline, perhaps no
    subnet does yet, and every hypervolume would be 0. In that case quality runs from a little worse than the worse of
    the widest and the shallowest subnet (0) to the best of these and the baseline (1).
    """

    objectives: tuple[Metric, ...]
    worst: tuple[float, ...]
    best: tuple[float, ...]

    @classmethod
    def between(
        cls,
        objectives: tuple[Metric, ...],
        baseline: Mapping[str, float],
        widest: Mapping[str, float],
        shallowest: Mapping[str, float] | None = None,
    ) -> "Box":
        """baseline: its qualities, without a network; widest, shallowest: all metrics of these subnets.

        shallowest: None if it wasn't measured, or failed; it matters only if `is_behind`.
        """
        behind = is_behind(objectives, baseline, widest)
        worst, best = [], []
        for o in objectives:
            low, high = (baseline[o.name], widest[o.name]) if o.kind == "quality" else (widest[o.name], 0.0)
            if behind and o.kind == "quality":
                subnets = [o.sign * of[o.name] for of in (widest, shallowest) if of]
                most, least = min(o.sign * low, *subnets), max(subnets)
                # Twice the same value is no side: then one natural unit is.
                low, high = o.sign * (least + MARGIN * (least - most or 1.0)), o.sign * most
            worst.append(low)
            best.append(high)
        return cls(objectives, tuple(worst), tuple(best))

    def gains(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Raw values (n, m) -> position of each between worst (0) and best (1), (n, m)."""
        worst, best = np.array(self.worst), np.array(self.best)
        gains: NDArray[np.float64] = (values - worst) / (best - worst)
        return gains
