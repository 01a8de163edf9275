"""The base of errors that the operator of the application can fix."""

from __future__ import annotations


class OperatorError(Exception):
    """A wrong or missing setting, file, program or process. The message says what to do and never holds a secret.

    The command line prints only the message, without a traceback, and exits with `exit_code`.
    """

    exit_code = 2


class StartRefusedError(OperatorError):
    """A server or worker refuses to start. The message holds every fault that was found.

    Its exit status is EX_CONFIG, so that a supervisor can tell it from a crash, which a restart may cure.
    """

    exit_code = 78
