"""The conversation with the person at the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Dialog(Protocol):
    """Shows texts and asks questions."""

    @property
    def interactive(self) -> bool:
        """Whether there is a person to ask."""
        ...

    def say(self, text: str = "") -> None:
        """Show a line."""
        ...

    def ask(self, question: str) -> str:
        """Return a line that is typed."""
        ...

    def ask_secret(self, question: str) -> str:
        """Return a line that is typed without being shown."""
        ...

    def choose(self, question: str, answers: Sequence[str]) -> int:
        """Return the position of the chosen answer."""
        ...
