"""The command line: `python cli.py --help`."""

from evo_c2f.commands.main import cli, main

__all__ = ["cli", "main"]

if __name__ == "__main__":
    main()
