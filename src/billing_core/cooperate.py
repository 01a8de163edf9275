"""Long loops that let other tasks run in between: webhooks have to be answered meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")

_ITEMS = 16
"""Items of some tens of microseconds each, so that no task waits more than a millisecond or two."""


async def cooperate(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield the items, and let other tasks run after every few of them."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % _ITEMS == 0:
            await asyncio.sleep(0)
