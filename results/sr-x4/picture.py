"""Details of photographs that come with scikit-image, enlarged four times by three means: picture.png beside this file.

python -P results/sr-x4/picture.py
"""

from functools import partial
from pathlib import Path

import torch
from skimage import data

from supernet import load_model
from supernet.data.images import resize_bicubic, to_tensor
from supernet.data.photographs import low_and_high
from supernet.drawing.sheet import draw_sheet, sample_columns

DETAILS = {"chelsea": (60, 120), "astronaut": (20, 150), "motorcycle": (200, 250)}  # top, left
SIDE = 160
MODELS = {"plain, 1.50 MB": "plain-32000", "searched, 0.6 MB": "0.6MB-scratch-32000", "1.49 MB": "1.49MB-scratch-32000"}


def main() -> None:
    here, pairs = Path(__file__).parent, []
    for name, (top, left) in DETAILS.items():
        whole = data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()
        low, high = low_and_high(whole[top : top + SIDE, left : left + SIDE], 4)
        pairs.append((to_tensor(low)[None], to_tensor(high)[None]))
    networks = {"bicubic": partial(resize_bicubic, scale=4)}
    networks |= {title: load_model(here / "models" / name).eval() for title, name in MODELS.items()}
    draw_sheet(sample_columns(pairs, networks, torch.device("cpu")), here / "picture.png", dots=160)


if __name__ == "__main__":
    main()
