"""Kendall's tau of scores of paths and operators against training alone, and the front's hypervolume.

python results/quick-alone/tables.py
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))  # started as a file, as cli.py is

from evo_c2f.objectives import pareto  # noqa: E402

CREDIT = 0.1  # search.macs_credit: dB for each factor e in MACs; chosen elsewhere (docs/decisions/0021)
WEIGHT = 0.4  # the same, chosen on these paths
BICUBIC = 30.256  # dB, on the search's crops

paths = pd.read_csv(HERE / "paths.csv", dtype={"path": str})
paths["corrected"] = paths["shared"] + WEIGHT * np.log(paths["macs"])
paths["corrected_300"] = paths["alone_300"] + WEIGHT * np.log(paths["macs"])
paths["credited"] = paths["shared"] + CREDIT * np.log(paths["macs"])
for name in ("macs", "shared", "credited", "corrected", "alone_300", "corrected_300"):
    print(f"paths by {name}: tau {paths[name].corr(paths['alone_1500'], method='kendall'):.2f}")

operators = pd.read_csv(HERE / "operators.csv")
operators["credited"] = operators["shared"] + CREDIT * np.log(operators["macs"])
for trunk, rows in [*operators.groupby("trunk"), ("both", operators)]:
    others = rows[rows["operator"] != "residual"]
    for name in ("macs", "shared", "credited"):
        tau, tau_others = (of[name].corr(of["alone_1500"], method="kendall") for of in (rows, others))
        print(f"trunk {trunk} by {name}: tau {tau:.2f}, others {tau_others:.2f}")
    print(f"trunk {trunk}: the others' shared scores span {np.ptp(others['shared']):.2f} dB")

subnets = pd.read_csv(HERE / "subnets.csv").sort_values("macs")
subnets["path_weights_credited"] = subnets["path_weights"] + CREDIT * np.log(subnets["macs"])
for name in ("macs", "path_weights", "path_weights_credited", "operator_weights", "channel_weights"):
    thirds = (subnets.iloc[rows] for rows in np.array_split(np.arange(len(subnets)), 3))
    tau, *each = (of[name].corr(of["alone_1500"], method="kendall") for of in (subnets, *thirds))
    print(f"subnets by {name}: tau {tau:.2f}, within thirds by MACs {', '.join(f'{value:.2f}' for value in each)}")

sets = {name: pd.read_csv(HERE / f"{name}.csv") for name in ("front", "front-without-credit")} | {
    "operators": operators
}
dearest = max(rows["macs"].max() for rows in sets.values()) / 1e9
for name, rows in sets.items():
    values = np.stack([-rows["alone_1500"], rows["macs"] / 1e9], axis=1)
    volume = pareto.hypervolume(values, np.array([-BICUBIC, 1.001 * dearest]))
    print(f"{name}: hypervolume {volume:.2f} dB x GMACs, above bicubic and below {dearest:.2f} GMACs")
