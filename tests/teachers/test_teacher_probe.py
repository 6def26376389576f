"""What a probe on images finds, and what it refuses."""

import re

import pytest
import torch
import torch.nn.functional as F
from supernet_fixtures import random_pixels
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.data.images import resize_bicubic, to_tensor
from supernet.teachers.found import RANGES, Found, Range
from supernet.teachers.probe import probe

SOURCES = [to_tensor(random_pixels(24, 32, seed))[None] for seed in range(2)]


def enlarged(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0)


def in_range(takes: Range, gives: Range):
    """An enlarger that is not the same in another range."""

    def run(x: Tensor) -> Tensor:
        (low, high), (bottom, top) = RANGES[takes], RANGES[gives]
        y = ((x - low) / (high - low)).clamp(0, 1) ** 1.1
        return enlarged(y) * (top - bottom) + bottom

    return run


def tried(run, scale=2, given: Range | None = None, size=None):
    samples = [(x, resize_bicubic(x, scale) if scale > 1 else x) for x in SOURCES]
    return probe(Found(run, "a test", size=size), samples, scale, "FILE", given)


@pytest.mark.parametrize("takes", RANGES)
@pytest.mark.parametrize("gives", RANGES)
def test_the_range_of_values_is_found(takes, gives):
    teacher = tried(in_range(takes, gives))
    assert (teacher.takes, teacher.gives) == (takes, gives)
    expected = enlarged(SOURCES[0] ** 1.1)
    assert (teacher(SOURCES[0]) - expected).abs().max() < 1e-4


def test_a_network_that_serves_any_range_is_called_in_0_to_1():
    assert tried(enlarged).words == "a test; RGB, values in 0..1, its output is 2 times as large"


def test_a_translation_without_targets_is_told_by_what_is_displayable():
    def tanh_like(x: Tensor) -> Tensor:  # nothing of it resembles the input
        return torch.where(x > x.mean(), -0.9, 0.9) * x.abs().clamp(min=0.5)

    teacher = tried(tanh_like, scale=1)
    assert teacher.gives == "-1..1"


@pytest.mark.parametrize(
    ("run", "scale", "words"),
    [
        (lambda x: enlarged(enlarged(x)), 2, "makes 4 times as large an image of 32x24"),
        (enlarged, 1, "makes 2 times as large an image of 32x24; the recipe's outputs are as large as the input"),
        (lambda x: enlarged(x)[:, :1], 2, "gives [1, 1, 48, 64] for one image"),
        (lambda x: enlarged(x).flatten(1), 2, "gives [1, 9216] for one image"),
        (lambda x: [enlarged(x)], 2, "a test gives no tensor, but list"),
        (lambda x: enlarged(x) * float("nan"), 2, "teacher FILE gives values that are not finite"),
        (lambda x: enlarged(x) * 1e6 + 1e6, 2, "gives no image: 100% of its values lie outside"),
        (lambda x: torch.zeros_like(enlarged(x)), 2, "gives no image: all its values are nearly the same"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(run, scale, words):
    with pytest.raises(InputError, match=re.escape(words)):
        tried(run, scale)


def test_a_flat_picture_among_the_samples_tells_nothing():
    page, run = torch.ones(1, 3, 24, 32), in_range("-1..1", "-1..1")
    samples = [(x, enlarged(x)) for x in (page, SOURCES[0])]
    teacher = probe(Found(run, "a test"), samples, 2, "FILE", None)
    assert (teacher.takes, teacher.gives) == ("-1..1", "-1..1")
    with pytest.raises(InputError, match="all its values are nearly the same"):
        probe(Found(run, "a test"), samples[:1], 2, "FILE", None)


def test_a_teacher_of_one_size_takes_no_other():
    with pytest.raises(InputError, match="a test takes images of 16x16 alone, these are 32x24"):
        tried(enlarged, size=(16, 16))
    assert tried(enlarged, size=(24, 32)).scale == 2


def test_a_range_may_be_given():
    teacher = tried(enlarged, given="-1..1")
    assert (teacher.takes, teacher.gives) == ("-1..1", "-1..1")
    with pytest.raises(InputError, match="outside in the range 0..1; name its range by teacher.range"):
        tried(lambda x: enlarged(x) - 1, given="0..1")
