"""What TensorBoard shows of a training: each round once, whatever happened, and training as without it."""

import sys
from pathlib import Path

import pytest
import torch
from command_line import exit_code, tiny
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from supernet.drawing.board import Board
from supernet.metrics.tasks import SuperResolution, Translation

CPU = torch.device("cpu")


def shown(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()


def steps(folder: Path, tag: str = "loss") -> dict[int, float]:
    """Round -> value; a round that is there twice fails."""
    events = shown(folder).Scalars(tag)
    assert len({event.step for event in events}) == len(events)
    return {event.step: event.value for event in events}


def drawn(folder: Path, rounds: range, loss: float, last: int = 12) -> None:
    images = [(torch.zeros(6, 3, 8, 8), torch.ones(6, 3, 8, 8))]
    follow = Board(folder, Translation(), lambda: images, CPU).following("model", lambda x: x, last, stop_at(rounds))
    for index in rounds:
        try:
            follow(index, loss)
        except KeyboardInterrupt:
            assert index == rounds[-1]


def stop_at(rounds: range):
    def on_round(index: int, loss: float) -> None:
        if index == rounds[-1]:
            raise KeyboardInterrupt

    return on_round


def test_a_resumed_training_goes_on_in_the_same_curve(tmp_path: Path) -> None:
    drawn(tmp_path, range(1, 9), 1.0)
    drawn(tmp_path, range(5, 13), 2.0)  # its state was that of round 4
    assert steps(tmp_path / "model") == {index: 1.0 if index < 5 else 2.0 for index in range(1, 13)}


def test_rounds_that_a_setback_undid_are_drawn_anew(tmp_path: Path) -> None:
    board = Board(tmp_path, SuperResolution(2), lambda: [(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 16, 16))], CPU)
    follow = board.following("joint", torch.nn.Upsample(scale_factor=2), 4, lambda index, loss: None)
    for index, loss in [(1, 5.0), (2, 5.0), (3, 5.0), (2, 3.0), (3, 3.0), (4, 3.0)]:
        follow(index, loss)
    assert steps(tmp_path / "joint") == {1: 5.0, 2: 3.0, 3: 3.0, 4: 3.0}


def test_the_commands_draw_what_they_train_and_train_the_same(photographs: Path, tmp_path: Path) -> None:
    for name, more in (("drawn", ["--tensorboard"]), ("not", [])):
        words = ("--run", tmp_path / name, "--threads", 1, *more)
        assert exit_code("train-supernet", "--data", photographs, *words, *tiny()) == 0
    weights = [(tmp_path / name / "supernet" / "path.safetensors").read_bytes() for name in ("drawn", "not")]
    assert weights[0] == weights[1] and not (tmp_path / "not" / "tensorboard").exists()
    events = shown(tmp_path / "drawn" / "tensorboard" / "path")
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 7))
    assert [event.step for event in events.Images("bicubic,_output,_target")] == [1, 6]
    assert 5 < events.Scalars("psnr_y")[-1].value < 60


def test_without_tensorboard_one_sentence_says_what_to_install(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    words = ("train-supernet", "--data", photographs, "--run", tmp_path / "r", "--tensorboard", *tiny())
    assert exit_code(*words) == 2 and not (tmp_path / "r").exists()
    assert capsys.readouterr().err == "error: --tensorboard needs tensorboard; run 'pip install tensorboard'\n"
