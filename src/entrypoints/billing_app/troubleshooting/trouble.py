"""The form of a row of the troubleshooting matrix."""

from __future__ import annotations

from enum import Enum
from typing import Final

MATRIX: Final = "docs/billing/stripe-setup.md"


class Trouble(Enum):
    """One row of the troubleshooting matrix, which a message about that fault names as `str(row)`.

    A table of the page is a subclass; its members are the rows, `NAME = (symptom, cause, fix)` in Markdown. Their names
    are unique over all tables, because they are the anchors.
    """

    def __init__(self, symptom: str, cause: str, fix: str) -> None:
        self.symptom = symptom
        self.cause = cause
        self.fix = fix

    @property
    def anchor(self) -> str:
        """The name in the form of an anchor, such as `key-is-publishable`."""
        return self.name.lower().replace("_", "-")

    def __str__(self) -> str:
        """Return the address of the row, such as `docs/billing/stripe-setup.md#key-is-publishable`."""
        return f"{MATRIX}#{self.anchor}"
