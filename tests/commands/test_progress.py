"""Ctrl-C while a long piece of work is shown."""

import signal
import time

import pytest
from rich.console import Console

from evo_c2f.commands.progress import reporting

CONSOLE = Console(quiet=True)


def test_ctrl_c_waits_for_the_step_to_end() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), reporting(CONSOLE, "work", 3) as reporter:
        signal.raise_signal(signal.SIGINT)
        done.append("the step")
        reporter.step()
        done.append("another")
    assert done == ["the step"]


def test_ctrl_c_after_the_last_step_stops_what_would_come_next() -> None:
    with pytest.raises(KeyboardInterrupt), reporting(CONSOLE, "work", 1) as reporter:
        reporter.step()
        signal.raise_signal(signal.SIGINT)


def test_a_second_ctrl_c_doesn_t_wait() -> None:
    before = signal.getsignal(signal.SIGINT)  # ignored, where the tests run in a shell's background
    with pytest.raises(KeyboardInterrupt), reporting(CONSOLE, "work", 1):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it waited")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_in_the_middle_of_a_destructor_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    class Dying:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), reporting(CONSOLE, "work", 1):
        signal.raise_signal(signal.SIGINT)
        Dying()
        time.sleep(1)
        pytest.fail("it was lost")
    assert "Traceback" not in capsys.readouterr().err
