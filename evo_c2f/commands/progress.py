"""Progress for people: a bar on a terminal; elsewhere, a plain line at intervals."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from evo_c2f.workflows.progress import Reporter, stopping_between_steps

SECONDS_BETWEEN_LINES = 15.0


class Lines:
    """Prints a plain line, at most every SECONDS_BETWEEN_LINES."""

    def __init__(self, console: Console):
        self.console = console
        self.start = self.last = time.monotonic()
        self.first: int | None = None

    def show(self, title: str, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = done - 1  # a resumed run starts above 0; its speed is measured from there
        if now - self.last < SECONDS_BETWEEN_LINES and done < total:
            return
        self.last = now
        left = (now - self.start) / (done - self.first) * (total - done)
        self.console.print(
            f"{title} {done}/{total}  {note}  {left:.0f} s left", markup=False, highlight=False, soft_wrap=True
        )


class Bar(Progress):
    """A bar over the whole width, and the note below it, wrapped so that no figure is cut off."""

    def get_renderables(self) -> Iterator[RenderableType]:
        for task in self.tasks:
            yield self.make_tasks_table([task])
            yield Text(task.fields["note"])

    def show(self, title: str, done: int, total: int, note: str) -> None:
        self.update(self.task_ids[0], completed=done, note=note)


@contextmanager
def reporting(console: Console, title: str, total: int) -> Iterator[Reporter]:
    """A context with a Reporter that shows progress on the console."""

    def interrupted() -> None:
        console.print("stopping after this step; Ctrl-C again stops at once")

    if not console.is_terminal:
        with stopping_between_steps(Reporter(title, total, Lines(console).show), interrupted) as reporter:
            yield reporter
        return
    described = TextColumn("{task.description}", table_column=Column(overflow="fold"))
    columns = (BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    bar = Bar(described, *columns, console=console, expand=True)
    with stopping_between_steps(Reporter(title, total, bar.show), interrupted) as reporter, bar:
        bar.add_task(escape(title), total=total, note="")
        yield reporter
