"""Progress of long work, passed to a callback, and Ctrl-C, deferred until stopping loses nothing."""

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

OnProgress = Callable[[str, int, int, str], None]  # (title, done, total, note)


class Reporter:
    """Counts the steps of one piece of work, and passes the count to `show`."""

    def __init__(self, title: str, total: int, show: OnProgress = lambda title, done, total, note: None):
        self.title, self.total, self.show = title, total, show
        self.steps = 0
        self.interrupted = False

    def update(self, done: int, note: str) -> None:
        """Show the progress. KeyboardInterrupt if Ctrl-C was pressed: stopping here loses nothing."""
        self.show(self.title, done, self.total, note)
        self.pause()

    def pause(self) -> None:
        """Call this between steps that are not counted. Raises as `update` does."""
        if self.interrupted:
            raise KeyboardInterrupt

    def step(self) -> None:
        """Count one more step. Raises as `update` does."""
        self.steps += 1
        self.update(self.steps, "")


Show = Callable[[str, int], AbstractContextManager[Reporter]]  # (title, total) -> a context around the work


def silent(title: str, total: int) -> AbstractContextManager[Reporter]:
    """A Show that shows nothing."""
    return stopping_between_steps(Reporter(title, total), lambda: None)


def calling(on_progress: OnProgress) -> Show:
    """A Show that calls on_progress(title, done, total, note) after each step."""

    def show(title: str, total: int) -> AbstractContextManager[Reporter]:
        return stopping_between_steps(Reporter(title, total, on_progress), lambda: None)

    return show


@contextmanager
def stopping_between_steps(reporter: Reporter, on_interrupt: Callable[[], None]) -> Iterator[Reporter]:
    """The first Ctrl-C takes effect at the reporter's next `update` or at the end; a second one stops at once.

    on_interrupt: called at the first Ctrl-C. Outside the main thread this does nothing: only the main thread receives
    Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread():
        yield reporter
        return

    def wait(number: int, frame: FrameType | None) -> None:
        if reporter.interrupted:
            raise KeyboardInterrupt
        reporter.interrupted = True
        on_interrupt()

    def on_unraisable(found: "sys.UnraisableHookArgs") -> None:
        if issubclass(found.exc_type, KeyboardInterrupt):
            # A destructor was running, and can't raise. Send Ctrl-C again once it has returned.
            threading.Timer(0.01, _thread.interrupt_main).start()
        else:
            unraisable(found)

    before, unraisable = signal.signal(signal.SIGINT, wait), sys.unraisablehook
    sys.unraisablehook = on_unraisable
    try:
        yield reporter
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = unraisable
    reporter.pause()
