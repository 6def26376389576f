"""What can go wrong for a user: one sentence each, that names the thing and the way out."""


class InputError(Exception):
    """Wrong usage or input. The command line exits with 2."""

    exit_code = 2


class DamagedFileError(Exception):
    """A file of a run that can't be read. The command line exits with 1."""

    exit_code = 1


class FailedError(Exception):
    """Something that was tried again and again failed for good; one sentence with the way out."""

    exit_code = 1
