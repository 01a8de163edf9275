"""The base of every error that the operator of the application has to put right."""

from __future__ import annotations


class OperatorError(Exception):
    """A wrong or missing setting, file, binary or process. The message says what to do; it never holds a secret.

    The command line prints the message alone, without a traceback, and exits with `exit_code`.
    """

    exit_code = 2
