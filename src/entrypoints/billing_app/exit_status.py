"""The end of a program by an error: its exit status, and one line for the operator."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from billing_app.errors import OperatorError


@contextmanager
def errors_end_the_program() -> Iterator[None]:
    """End the program with one line on standard error, without a traceback, for an error that the operator can fix.

    Exit status: as `OperatorError.exit_code` says; 2 for another fault of the configuration, 1 for other known errors.
    """
    try:
        yield
    except OperatorError as exc:
        _end(str(exc), exc.exit_code)
    except Exception as exc:
        from billing_core.errors import BillingError, ConfigurationError  # noqa: PLC0415 - most commands need neither

        if not isinstance(exc, BillingError):
            raise
        _end(f"{exc.code}: {exc}", 2 if isinstance(exc, ConfigurationError) else 1)


def _end(message: str, status: int) -> None:
    sys.stderr.write(f"billing: {message}\n")
    sys.exit(status)
