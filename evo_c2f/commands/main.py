"""The group of all commands. Loads plugins, and turns an error into one sentence and an exit code."""

import errno
import io
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points

import rich_click as click

from evo_c2f import __version__
from evo_c2f.commands import compare, files, models, search
from evo_c2f.commands.terminal import listen, say
from evo_c2f.errors import DamagedFileError, FailedError, InputError

GROUPS = {
    "Search": search.COMMANDS,
    "From a front to a model": models.COMMANDS,
    "Compare": compare.COMMANDS,
    "Data, files and machines": files.COMMANDS,
}


@click.group()
@click.version_option(__version__, prog_name="evo-c2f")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Search small image generators: train a supernet fairly, then evolve paths, operators and channels."""


def load_plugins(context: click.Context, parameter: click.Parameter, modules: tuple[str, ...]) -> None:
    """Import the plugins, which add operators, objectives and datasets. Without any, torch is not imported."""
    if modules or entry_points(group="evo_c2f.plugins"):
        from supernet import plugins

        plugins.load(modules)


for title, commands in GROUPS.items():
    cli.add_panel(click.RichCommandPanel(title, commands=[command.name or "" for command in commands]))
    for command in commands:
        command.params.append(
            click.Option(["--plugin"], multiple=True, metavar="MODULE", is_eager=True, expose_value=False,
                         callback=load_plugins, help="Add operators, objectives or datasets: a module or a .py file.")
        )  # fmt: skip
        cli.add_command(command)
listen()


def speak_utf8() -> None:
    """Use UTF-8 for file names and texts in every locale, and let any character be printed on any terminal.

    If the locale uses another encoding, the process restarts itself in Python's UTF-8 mode.
    """
    if os.name == "posix" and sys.getfilesystemencoding() != "utf-8":
        line = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execve(sys.executable, line, {**os.environ, "PYTHONUTF8": "1"})
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code; an error is one sentence."""
    debug = "--debug" in (sys.argv if arguments is None else arguments)
    if arguments is None:  # called as a program, not from Python
        speak_utf8()
    try:
        if any("\0" in word for word in arguments or ()):  # possible only from Python: no shell passes one on
            raise InputError("a word holds a zero byte; leave it out")
        code = cli.main(arguments, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (InputError, DamagedFileError, FailedError) as error:
        if debug:
            raise
        say(f"error: {error}")
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        if arguments is None:  # a third Ctrl-C must not disturb the exit
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        say("interrupted; the same command goes on from here")
        sys.exit(130)
    except OSError as error:
        if debug:
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        say(f"error: {error}{'; make room, and run the same command again' if full else ''}")
        # EEXIST, ENOTDIR, EISDIR: a file where a folder should be, or the other way round.
        sys.exit(2 if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR) else 1)
