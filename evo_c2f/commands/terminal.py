"""Output for people, on standard error: sentences and progress. Standard output is for programs."""

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
    """Print the sentence for people. Brackets in it, as in file names, are not markup."""
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def warn(sentence: str) -> None:
    console.print(Text.assemble(("warning:", "yellow"), " ", sentence), soft_wrap=True)


def say(sentence: str) -> None:
    """Print the sentence on standard error, unless this process is silenced."""
    if not console.quiet:
        click.echo(sentence, err=True)


class ToPeople(logging.Handler):
    """A log handler that prints the libraries' messages for people."""

    def emit(self, record: logging.LogRecord) -> None:
        (warn if record.levelno >= logging.WARNING else tell)(record.getMessage())


def listen() -> None:
    """Print the libraries' log messages from now on."""
    for package in ("evo_c2f", "supernet"):
        logger = logging.getLogger(package)
        logger.setLevel(logging.INFO)
        if not any(isinstance(handler, ToPeople) for handler in logger.handlers):
            logger.addHandler(ToPeople())
