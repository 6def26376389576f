"""What people see: sentences and progress on standard error; what programs read goes to standard output."""

import logging
from functools import partial

import rich_click as click
from rich.console import Console
from rich.text import Text

from evo_c2f.commands.progress import reporting
from evo_c2f.workflows.progress import Show

console = Console(stderr=True)
show: Show = partial(reporting, console)


def tell(sentence: str) -> None:
    """To people. A name in it may hold brackets, which are no markup."""
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def warn(sentence: str) -> None:
    console.print(Text.assemble(("warning:", "yellow"), " ", sentence), soft_wrap=True)


def say(sentence: str) -> None:
    """On standard error, unless another process says the same."""
    if not console.quiet:
        click.echo(sentence, err=True)


class ToPeople(logging.Handler):
    """Shows what the library has to say."""

    def emit(self, record: logging.LogRecord) -> None:
        (warn if record.levelno >= logging.WARNING else tell)(record.getMessage())


def listen() -> None:
    """Show what the library says from here on."""
    for package in ("evo_c2f", "supernet"):
        logger = logging.getLogger(package)
        logger.setLevel(logging.INFO)
        if not any(isinstance(handler, ToPeople) for handler in logger.handlers):
            logger.addHandler(ToPeople())
