"""Loops that run as long as an application."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from aiohttp import web


def running(loop: Callable[[], Awaitable[None]]) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a context for `cleanup_ctx` in which the loop runs; it is cancelled at the end."""

    async def context(_app: web.Application) -> AsyncIterator[None]:
        task = asyncio.ensure_future(loop())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return context
