"""Decisions drawn by hypothesis, in the form of a `random.Random`, and how many of them the expensive tests try."""

from collections.abc import Iterable, MutableSequence, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st

shrinks_slowly = pytest.mark.timeout(900)
"""For tests that run longer than others once they fail: shrinking tries hundreds of examples."""


def scaled(examples: int) -> int:
    """Return the number of examples of an expensive test: as many as given in CI, fewer on a laptop."""
    return max(1, examples * settings().max_examples // 100)


class Choices(Random):
    """Decisions that are read from drawn bytes, so that a failure shrinks to the plainest story that still fails.

    Hypothesis draws all bytes at once: drawing each decision by itself takes ten times as long. A zero is the plainest
    decision, and so is every one after the last byte: the lowest number, the first of some, "no", no change of order.
    """

    def __new__(cls, drawn: bytes) -> "Choices":
        return super().__new__(cls)

    def __init__(self, drawn: bytes) -> None:
        super().__init__(0)
        self._drawn = drawn
        self._taken = 0

    def __repr__(self) -> str:
        """Return an expression that makes the same decisions again."""
        return f"Choices({self._drawn!r})"

    def random(self) -> float:
        """Return a number in [0, 1). The highest one is the plainest: it is above every probability."""
        return (255 - self.getrandbits(8)) / 256

    def getrandbits(self, k: int, /) -> int:
        """Return a number of `k` bits."""
        count = (k + 7) // 8
        taken = self._drawn[self._taken : self._taken + count]
        self._taken += count
        return int.from_bytes(taken, "little") & ((1 << k) - 1)

    def shuffle(self, x: MutableSequence[Any]) -> None:
        """Change the order in place."""
        for position in range(len(x) - 1, 0, -1):
            other = position - self.randrange(position + 1)
            x[position], x[other] = x[other], x[position]

    def sample(self, population: Sequence[Any], k: int, *, counts: Iterable[int] | None = None) -> list[Any]:
        """Draw without repetition. Unlike `Random`'s, it ends when all further decisions are zeros."""
        assert counts is None
        rest = list(population)
        return [rest.pop(self.randrange(len(rest))) for _ in range(k)]


def choices(block: int = 128) -> st.SearchStrategy[Choices]:
    """Draw decisions, about seven blocks of them and one byte for each; shrinking drops whole blocks first."""
    blocks = st.lists(st.binary(min_size=block, max_size=block), min_size=2)
    return blocks.map(lambda drawn: Choices(b"".join(drawn).rstrip(b"\0")))
