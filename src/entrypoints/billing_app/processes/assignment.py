"""The message of a supervisor to a process that says what it runs."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Coroutine
from typing import Any, BinaryIO

import attrs

from billing_app.settings import Settings

Run = Callable[..., Coroutine[Any, Any, None]]
"""A function of `tasks`, with its arguments. It gets the settings, the account and the pipes of its process."""


@attrs.frozen(kw_only=True)
class Assignment:
    """A process of a group. It uses the settings that its supervisor checked, and reads neither environment nor files.

    They are sent through a pipe, because arguments and the environment of a process can be read by others.
    """

    name: str
    """Its name in the log, such as `serve-2`."""
    settings: Settings
    run: Run
    account_id: str | None
    """The account of the API key, if it is known."""

    def encode(self) -> bytes:
        """Return the message: its length in bytes, on a line of its own, and the pickled assignment."""
        body = pickle.dumps(self)
        return b"%d\n%b" % (len(body), body)


def receive(stream: BinaryIO) -> Assignment:
    """Read the message that a supervisor sends first. Raises EOFError if it has ended."""
    length = stream.readline()
    if not length:
        raise EOFError
    assignment: Assignment = pickle.loads(stream.read(int(length)))  # noqa: S301 - the supervisor is our parent
    return assignment
