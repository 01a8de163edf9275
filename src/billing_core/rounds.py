"""Work that is done every so often until somebody says stop."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta

from billing_core.errors import StoreUnavailableError


async def go_rounds(step: Callable[[], Awaitable[None]], *, every: timedelta, stopping: asyncio.Event) -> None:
    """Do `step` now and after each pause, until `stopping`; while the store is away there is nothing to do."""
    while not stopping.is_set():
        with contextlib.suppress(StoreUnavailableError):
            await step()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), every.total_seconds())
