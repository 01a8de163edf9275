"""Pools, schemas and clients, opened the same way for whoever needs them."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Final, TypeVar

import asyncpg

from billing_app.http.issuer_keys import IssuerKeys
from billing_app.http.tokens import TokenVerifier
from billing_app.settings import Settings
from billing_app.shutdown import ShutdownDeadline
from billing_core.errors import ConfigurationError
from billing_postgres.migrate import migrate, pending
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


async def prepare_schema(database_url: str, *, ours: bool) -> None:
    """Bring our own schema up to date; refuse one of the operator's that is behind."""
    if ours:
        await migrate(database_url)
        return
    names = [migration.name for migration in await pending(database_url)]
    if names:
        raise ConfigurationError(
            f"the database lacks {len(names)} migrations ({names[0]} first): run `billing migrate`"
        )


async def open_pool(
    stack: AsyncExitStack, deadline: ShutdownDeadline, database: Database, size: int
) -> "asyncpg.Pool[asyncpg.Record]":
    """Open a pool whose connections are closed politely at the end, or dropped when the server does not answer."""
    pool = await database.open_pool(size=size)

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
async def open_verifier(settings: Settings) -> AsyncIterator[TokenVerifier]:
    """What reads tokens; nothing is asked of their issuer before one comes that it has signed."""
    async with AsyncExitStack() as stack:
        published = None
        if settings.tokens.jwks_url is not None:
            keys = IssuerKeys.open(settings.tokens.jwks_url, refresh=settings.tokens.jwks_refresh)
            published = await stack.enter_async_context(keys)
        yield TokenVerifier(policy=settings.tokens, published=published)
