"""Pools and clients, opened and closed the same way for servers and workers."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Final, TypeVar

import asyncpg

from billing_app.http.issuer_keys import IssuerKeys
from billing_app.settings import TokenSettings
from billing_app.shutdown import ShutdownDeadline
from billing_postgres.pool import Database

_POLITELY: Final = timedelta(seconds=2)
"""Time for the server to acknowledge the end of a pool's connections."""

Resource = TypeVar("Resource")


async def enter(
    stack: AsyncExitStack, deadline: ShutdownDeadline, name: str, context: AbstractAsyncContextManager[Resource]
) -> Resource:
    """Open a resource that the stack closes, no longer than until the deadline."""
    resource = await context.__aenter__()

    async def close() -> None:
        await deadline.finish(name, _leave(context))

    stack.push_async_callback(close)
    return resource


async def _leave(context: AbstractAsyncContextManager[object]) -> None:
    await context.__aexit__(None, None, None)


async def open_pool(
    stack: AsyncExitStack, deadline: ShutdownDeadline, database: Database, size: int, *, read_only: bool = False
) -> "asyncpg.Pool[asyncpg.Record]":
    """Open a pool whose connections are closed politely at the end, or dropped when the server does not answer."""
    pool = await database.open_pool(size=size, read_only=read_only)

    async def close() -> None:
        try:
            closed = await deadline.finish("pool", pool.close(), at_most=_POLITELY)
        except OSError:
            closed = False
        if not closed:
            pool.terminate()

    stack.push_async_callback(close)
    return pool


@asynccontextmanager
async def open_issuer_keys(tokens: TokenSettings) -> AsyncIterator[IssuerKeys | None]:
    """Yield the keys that the issuer of tokens publishes, if it is configured; they are fetched at their first use."""
    if tokens.jwks_url is None:
        yield None
        return
    async with IssuerKeys.open(tokens.jwks_url, refresh=tokens.jwks_refresh) as keys:
        yield keys
