"""Epochs: which history the numbers of messages belong to.

Numbers count upwards within one history. A database that is restored from a backup, or fails over to a replica that
was behind, goes back to an earlier number and counts anew from there: the same numbers now stand for other messages.
So each such history is an epoch with a name of its own. The bus keeps its logs under that name, a place in the stream
carries it, and a process lives in one epoch only: when the database begins another, it starts anew.
"""

import re
from typing import Final

import attrs

POSITION: Final = "([0-9]{1,18})(?:-([a-z][a-z0-9]{0,31}))?"
"""The form of a place in the stream, as a regular expression of the whole."""

_POSITION: Final = re.compile(POSITION).fullmatch
_TOKEN: Final = re.compile(r"[a-z][a-z0-9]{0,31}").fullmatch


def _a_token(_instance: object, _attribute: object, value: str) -> None:
    if not _TOKEN(value):
        raise ValueError(f"not a token: {value!r}")


@attrs.frozen(kw_only=True)
class Epoch:
    """One history. `number` counts them from 1; `token`, a letter and then letters and digits, is never used twice."""

    number: int = attrs.field(validator=attrs.validators.ge(1))
    token: str = attrs.field(validator=_a_token)

    def position(self, sequence: int) -> str:
        """A place in a tenant's stream as clients are told: the number alone as long as there was no other history."""
        return str(sequence) if self.number == 1 else f"{sequence}-{self.token}"

    def sequence(self, position: str) -> int | None:
        """The number that a client's place stands for; None for a place in another history.

        Raises: ValueError for what `position` never makes.
        """
        match = _POSITION(position)
        if match is None:
            raise ValueError("not a position")
        return int(match[1]) if match[2] == (None if self.number == 1 else self.token) else None


FIRST_EPOCH: Final = Epoch(number=1, token="first")  # noqa: S106 - no secret
