"""Which Postgres and Redis a process uses: the ones it was given, else local ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from billing_app.embedded import client, postgres, valkey
from billing_app.embedded.home import Home
from billing_app.embedded.servers import ALL_SERVERS
from billing_app.secret import Secret

if TYPE_CHECKING:
    from billing_app.settings import Settings


@attrs.frozen(kw_only=True)
class ServerUrls:
    """Where Postgres and Redis are. `redis_url` is None only when the stream is switched off and none was given."""

    database_url: Secret
    redis_url: Secret | None


@asynccontextmanager
async def resolve_servers(settings: Settings) -> AsyncIterator[ServerUrls]:
    """The given servers; for a URL that is missing, a local server that lives as long as the context.

    Raises: EmbeddedUnavailableError when a server is missing and cannot be started here, and the others of
    `embedded_servers`.
    """
    missing = []
    if settings.database_url is None:
        missing.append(postgres.NAME)
    if settings.redis_url is None and settings.enable_stream:
        missing.append(valkey.NAME)
    async with _local(settings.data_dir, missing) as local:
        database_url = settings.database_url or local[postgres.NAME]
        yield ServerUrls(database_url=database_url, redis_url=settings.redis_url or local.get(valkey.NAME))


@asynccontextmanager
async def embedded_servers(data_dir: Path) -> AsyncIterator[ServerUrls]:
    """A local Postgres and Valkey that live as long as the context, and no longer than this process, however it ends.

    Servers that `billing embedded start` has started in `data_dir` are used instead, and left running.

    Raises: EmbeddedInUseError when another process holds `data_dir`; EmbeddedUnavailableError when there are no
    programs for this machine; EmbeddedStartError when a server does not come up.
    """
    async with _local(data_dir, ALL_SERVERS) as local:
        yield ServerUrls(database_url=local[postgres.NAME], redis_url=local[valkey.NAME])


@contextmanager
def embedded_servers_sync(data_dir: Path) -> Iterator[ServerUrls]:
    """The same for callers without an event loop, such as session fixtures."""
    home, attached = _acquire(data_dir, ALL_SERVERS)
    try:
        local = _urls(home, ALL_SERVERS)
        yield ServerUrls(database_url=local[postgres.NAME], redis_url=local[valkey.NAME])
    finally:
        _release(attached)


@asynccontextmanager
async def _local(data_dir: Path, servers: Sequence[str]) -> AsyncIterator[dict[str, Secret]]:
    if not servers:
        yield {}
        return
    starting = asyncio.ensure_future(asyncio.to_thread(_acquire, data_dir, servers))
    try:
        home, attached = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # The thread cannot be cancelled; what it starts must not be left behind.
        _, attached = await starting
        await asyncio.to_thread(_release, attached)
        raise
    try:
        yield _urls(home, servers)
    finally:
        await asyncio.shield(asyncio.to_thread(_release, attached))


def _acquire(data_dir: Path, servers: Sequence[str]) -> tuple[Home, client.Attached | None]:
    home = Home.at(data_dir)
    if client.running_daemon(home) is not None:
        return home, None
    return home, client.attach(home, servers)


def _release(attached: client.Attached | None) -> None:
    if attached is not None:
        attached.release()


def _urls(home: Home, servers: Sequence[str]) -> dict[str, Secret]:
    to_url = {postgres.NAME: postgres.postgres_url, valkey.NAME: valkey.valkey_url}
    return {name: Secret(to_url[name](home.endpoint(name))) for name in servers}
