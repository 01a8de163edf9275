"""Pools, schemas and clients, opened the same way for whoever needs them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg

from billing_app.http.issuer_keys import IssuerKeys
from billing_app.http.tokens import TokenPolicy, TokenVerifier
from billing_app.settings import Settings
from billing_core.errors import ConfigurationError
from billing_postgres.migrate import migrate, pending
from billing_postgres.pool import Database


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


async def open_pool(stack: AsyncExitStack, database: Database, size: int) -> "asyncpg.Pool[asyncpg.Record]":
    """A pool whose connections are closed politely at the end, or dropped when the server does not answer."""
    pool = await database.open_pool(size=size)

    async def close() -> None:
        try:
            async with asyncio.timeout(2):
                await pool.close()
        except (TimeoutError, OSError):
            pool.terminate()

    stack.push_async_callback(close)
    return pool


@asynccontextmanager
async def open_verifier(settings: Settings) -> AsyncIterator[TokenVerifier]:
    """What reads tokens; nothing is asked of their issuer before one comes that it has signed."""
    async with AsyncExitStack() as stack:
        published = None
        if settings.jwt_jwks_url is not None:
            keys = IssuerKeys.open(settings.jwt_jwks_url, refresh=settings.jwt_jwks_refresh)
            published = await stack.enter_async_context(keys)
        yield TokenVerifier(policy=TokenPolicy.of(settings), shared=settings.jwt_secrets, published=published)
