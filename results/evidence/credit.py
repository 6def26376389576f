"""How a credit for MACs changes what shared scores know of the order, from the committed tables alone.

python results/evidence/credit.py

The weight is chosen on the architectures that are for choices, and judged on those that are held out.
"""

from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
WEIGHTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)  # dB of PSNR for each factor e in MACs
OURS = ("fair, widest", "fair, divided")  # the trainings of recipes
TABLES = ("gpu/fairness.csv", "seeds/fairness.csv", "adam/fairness.csv", "divided/fairness.csv")


def taus(frame: pd.DataFrame, score: str, weight: float) -> list[float]:
    """Kendall's tau against training alone: of all, and of each third by MACs."""
    frame = frame.sort_values("macs")
    credited, alone = frame[score] + weight * np.log(frame["macs"]), frame["alone_psnr_y_full"]
    parts = [np.arange(len(frame)), *np.array_split(np.arange(len(frame)), 3)]
    return [credited.iloc[rows].corr(alone.iloc[rows], method="kendall") for rows in parts]


rows = []
for table in TABLES:
    every = pd.read_csv(HERE / table)
    trainings = dict.fromkeys(name.rpartition(" ")[0] for name in every if name.rpartition(" ")[2].isdigit())
    for training in trainings:
        seeds = [name for name in every if name.rpartition(" ")[0] == training]
        for held_out, frame in every.groupby("held_out"):
            for weight in WEIGHTS:
                mean = np.mean([taus(frame, seed, weight) for seed in seeds], axis=0)
                about = {"table": table, "training": training, "seeds": len(seeds), "held_out": held_out}
                rows.append(
                    {**about, "credit": weight, **dict(zip(("tau", "small", "middle", "large"), mean, strict=True))}
                )
found = pd.DataFrame(rows)
ours = found["training"].isin(OURS) & ~found["table"].str.startswith("adam")
chosen = found[ours & ~found["held_out"]].groupby("credit")["tau"].mean()
print(f"mean tau of {' and '.join(OURS)} by Muon, on the architectures for choices:\n{chosen.round(3).to_string()}\n")
shown = found[found["held_out"] & found["credit"].isin([0.0, chosen.idxmax()])]
print(shown.drop(columns="held_out").round(3).to_string(index=False))
