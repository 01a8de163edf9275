"""Epochs: the history that message numbers belong to.

Numbers count upwards within one history. A database that is restored from a backup, or fails over to a replica that
was behind, goes back to an earlier number and reuses the later ones for other messages. So each such history is an
epoch with a name of its own. The bus keeps its logs under that name, a position in the stream carries it, and a process
lives in one epoch only: when the database begins another, the process restarts.
"""

import re
from typing import Final

import attrs

POSITION: Final = "([0-9]{1,18})(?:-([a-z][a-z0-9]{0,31}))?"
"""The form of a position in the stream, as a regular expression of the whole."""

_POSITION: Final = re.compile(POSITION).fullmatch
_TOKEN: Final = re.compile(r"[a-z][a-z0-9]{0,31}").fullmatch


def _a_token(_instance: object, _attribute: object, value: str) -> None:
    if not _TOKEN(value):
        raise ValueError(f"not a token: {value!r}")


@attrs.frozen(kw_only=True)
class Epoch:
    """One history. `number` counts from 1; `token`, a letter followed by letters and digits, is never reused."""

    number: int = attrs.field(validator=attrs.validators.ge(1))
    token: str = attrs.field(validator=_a_token)

    def position(self, sequence: int) -> str:
        """Return a position in a tenant's stream as clients see it: the number alone within the first epoch."""
        return str(sequence) if self.number == 1 else f"{sequence}-{self.token}"

    def sequence(self, position: str) -> int | None:
        """Return the number of a client's position; None for a position in another epoch.

        Raises: ValueError for a text that `position` never returns.
        """
        match = _POSITION(position)
        if match is None:
            raise ValueError("not a position")
        return int(match[1]) if match[2] == (None if self.number == 1 else self.token) else None


FIRST_EPOCH: Final = Epoch(number=1, token="first")  # noqa: S106 - no secret
