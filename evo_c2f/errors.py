"""Errors for users: each is one sentence that names the problem and the way out."""


class InputError(Exception):
    """Wrong usage or input. The command line exits with 2."""

    exit_code = 2


class DamagedFileError(Exception):
    """A file of a run is unreadable. The command line exits with 1."""

    exit_code = 1


class FailedError(Exception):
    """Repeated attempts failed for good; the message is one sentence with the way out."""

    exit_code = 1
