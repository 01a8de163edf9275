"""Waits of loops: for an event, for no longer than a while, and for the first of several things."""

import asyncio
import contextlib
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any


async def wait_at_most(event: asyncio.Event, span: timedelta) -> None:
    """Return when the event is set, and at the latest after a while."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(span.total_seconds()):
            await event.wait()


async def first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Return when one of these waits ends, whatever its end. The others are canceled."""
    tasks = [asyncio.create_task(each) for each in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
