"""Which Postgres and Redis a process uses: the ones it was given, else local ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from billing_app.embedded import client, postgres, valkey
from billing_app.embedded.home import Home
from billing_app.embedded.servers import ALL_SERVERS
from billing_app.embedded.urls import ServerUrls, local_database_url, local_redis_url, local_urls

if TYPE_CHECKING:
    from billing_app.settings import Settings


@asynccontextmanager
async def resolve_servers(settings: Settings) -> AsyncIterator[ServerUrls]:
    """The given servers; for a URL that is missing, a local server that lives as long as the context.

    Redis is needed by the stream only: with the stream switched off no local one is started.

    Raises: the errors of `embedded_servers`, when a server has to be started.
    """
    missing = []
    if settings.database_url is None:
        missing.append(postgres.NAME)
    if settings.redis_url is None and settings.enable_stream:
        missing.append(valkey.NAME)
    if settings.database_url is not None and not missing:
        yield ServerUrls(database_url=settings.database_url, redis_url=settings.redis_url)
        return
    async with _running(settings.data_dir, missing) as home:
        yield ServerUrls(
            database_url=settings.database_url or local_database_url(home),
            redis_url=local_redis_url(home) if valkey.NAME in missing else settings.redis_url,
        )


@asynccontextmanager
async def embedded_servers(data_dir: Path) -> AsyncIterator[ServerUrls]:
    """A local Postgres and Valkey that live as long as the context, and no longer than this process, however it ends.

    Servers that `billing embedded start` has started in `data_dir` are used instead, and left running.

    Raises: EmbeddedInUseError when another process holds `data_dir`; EmbeddedUnavailableError, with what to do, when
    there are no programs for this machine; EmbeddedStartError when a server does not come up.
    """
    async with _running(data_dir, ALL_SERVERS) as home:
        yield local_urls(home)


@contextmanager
def embedded_servers_sync(data_dir: Path) -> Iterator[ServerUrls]:
    """`embedded_servers` for callers without an event loop, such as session fixtures."""
    home = Home.at(data_dir)
    attached = _attach_unless_running(home, ALL_SERVERS)
    try:
        yield local_urls(home)
    finally:
        _release(attached)


@asynccontextmanager
async def _running(data_dir: Path, servers: Sequence[str]) -> AsyncIterator[Home]:
    home = Home.at(data_dir)
    starting = asyncio.ensure_future(asyncio.to_thread(_attach_unless_running, home, servers))
    try:
        attached = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # The thread cannot be cancelled; what it starts must not be left behind.
        await asyncio.to_thread(_release, await starting)
        raise
    try:
        yield home
    finally:
        await asyncio.shield(asyncio.to_thread(_release, attached))


def _attach_unless_running(home: Home, servers: Sequence[str]) -> client.Attached | None:
    return None if client.running_daemon(home) is not None else client.attach(home, servers)


def _release(attached: client.Attached | None) -> None:
    if attached is not None:
        attached.release()
