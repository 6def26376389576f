"""Progress that people see: a bar on a terminal, a plain line now and then elsewhere; and Ctrl-C."""

import _thread
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

SECONDS_BETWEEN_LINES = 15.0


class Reporter:
    """Shows how far one long piece of work is. Make it with `reporting`."""

    def __init__(self, console: Console, title: str, total: int):
        self.console, self.title, self.total = console, title, total
        self.start = self.last = time.monotonic()
        self.first: int | None = None
        self.steps = 0
        self.bar: Progress | None = None
        self.interrupted = False

    def update(self, done: int, note: str) -> None:
        """Show it. KeyboardInterrupt if Ctrl-C was pressed since: this is a place where stopping loses nothing."""
        if self.bar:
            self.bar.update(self.bar.task_ids[0], completed=done, note=note)
        else:
            self._line(done, note)
        self.pause()

    def pause(self) -> None:
        """Between two steps that are not counted. Raises as `update` does."""
        if self.interrupted:
            raise KeyboardInterrupt

    def step(self) -> None:
        """One more is done. Raises as `update` does."""
        self.steps += 1
        self.update(self.steps, "")

    def _line(self, done: int, note: str) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = done - 1  # a resumed run starts later; its speed counts from there
        if now - self.last < SECONDS_BETWEEN_LINES and done < self.total:
            return
        self.last = now
        left = (now - self.start) / (done - self.first) * (self.total - done)
        self.console.print(
            f"{self.title} {done}/{self.total}  {note}  {left:.0f} s left",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


class NotedProgress(Progress):
    """A bar over the whole width, and below it the note, on as many lines as it needs: no figure is cut."""

    def get_renderables(self) -> Iterator[RenderableType]:
        for task in self.tasks:
            yield self.make_tasks_table([task])
            yield Text(task.fields["note"])


@contextmanager
def reporting(console: Console, title: str, total: int) -> Iterator[Reporter]:
    """A Reporter; meanwhile the first Ctrl-C waits for its next `update`, or the end, a second one stops at once."""
    reporter = Reporter(console, title, total)

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if reporter.interrupted:
            raise KeyboardInterrupt
        reporter.interrupted = True
        console.print("stopping after this step; Ctrl-C again stops at once")

    def on_unraisable(found: "sys.UnraisableHookArgs") -> None:
        if issubclass(
            found.exc_type, KeyboardInterrupt
        ):  # it came in the middle of a destructor, which can't pass it on
            threading.Timer(0.01, _thread.interrupt_main).start()  # once that is over
        else:
            unraisable(found)

    before, unraisable = signal.signal(signal.SIGINT, on_interrupt), sys.unraisablehook
    sys.unraisablehook = on_unraisable
    try:
        if console.is_terminal:
            described = TextColumn("{task.description}", table_column=Column(overflow="fold"))
            columns = (BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            with NotedProgress(described, *columns, console=console, expand=True) as reporter.bar:
                reporter.bar.add_task(escape(title), total=total, note="")
                yield reporter
        else:
            yield reporter
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = unraisable
    reporter.pause()
