"""Loops that run as long as an application."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import structlog
from aiohttp import web

log = structlog.get_logger()


def running(loop: Callable[[], Awaitable[None]]) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a context for `cleanup_ctx` in which the loop runs; it is cancelled at the end."""

    async def context(_app: web.Application) -> AsyncIterator[None]:
        task = asyncio.ensure_future(loop())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return context


async def restarted(loop: Callable[[], Awaitable[None]]) -> None:
    """Run a loop that must not end: a failure is logged and ends nothing else."""
    while True:
        try:
            await loop()
        except Exception:
            log.exception("loop.failed", loop=repr(loop))
        await asyncio.sleep(1)
