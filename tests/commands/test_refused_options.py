"""Options that a command would ignore, or that need what is missing, are refused before anything is written."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from command_line import exit_code, tiny


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("study", "search", "--architectures", "50"), "--architectures is for study ranking, fairness; leave it out"),
        (("study", "ranking", "--size", "0.6"), "--size is for study winners; leave it out"),
        (("study", "stages", "--seeds", "2"), "--seeds is for study ranking, fairness, search, winners, tables"),
        (("study", "search", "--ray-address", "here:1"), "--ray-address goes with --workers ray"),
        (("search", "--gpus-per-worker", "0.5"), "--gpus-per-worker goes with --workers ray"),
    ],
)
def test_options_of_other_studies_and_of_ray_are_refused(
    words: tuple[str, ...], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(*words, "--run", tmp_path / "run") == 2
    assert sentence in capsys.readouterr().err and not (tmp_path / "run").exists()


@pytest.mark.skipif(find_spec("numba") is not None, reason="numba is installed")
def test_an_algorithm_that_lacks_its_package_is_refused_before_the_training(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("search", "--data", photographs, "--run", tmp_path / "run", "--algorithm", "agemoea", *tiny()) == 2
    assert "agemoea needs numba" in capsys.readouterr().err and not (tmp_path / "run").exists()
