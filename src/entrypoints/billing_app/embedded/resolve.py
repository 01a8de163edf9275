"""Which Postgres and Redis a process uses: the ones it was given, else local ones.

The modules that run local servers need a Unix, and a process that is given both URLs does not need those modules. They
are therefore imported when a server has to be started.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from billing_app.embedded.errors import EmbeddedUnavailableError
from billing_app.embedded.urls import POSTGRES, VALKEY, ServerUrls
from billing_app.secret import Secret

if TYPE_CHECKING:
    from billing_app.embedded.client import Attached
    from billing_app.settings import Settings

_UNIX_MODULES = frozenset({"fcntl", "pwd"})


@attrs.frozen
class _Running:
    """Local servers by name, and what to release when they are no longer needed; None when they are not ours."""

    urls: dict[str, Secret]
    attached: Attached | None

    def release(self) -> None:
        if self.attached is not None:
            self.attached.release()


@asynccontextmanager
async def resolve_servers(settings: Settings) -> AsyncIterator[ServerUrls]:
    """The given servers; for a URL that is missing, a local server that lives as long as the context.

    Redis is needed by the stream only: with the stream switched off, or served from Postgres, no local one is started.

    Raises: the errors of `embedded_servers`, when a server has to be started.
    """
    given = {POSTGRES: settings.database_url, VALKEY: settings.redis_url}
    needed = (POSTGRES, VALKEY) if settings.enable_stream and settings.stream_fallback == "none" else (POSTGRES,)
    async with _running(settings.data_dir, *(name for name in needed if given[name] is None)) as local:
        yield ServerUrls(
            database_url=settings.database_url or local[POSTGRES],
            redis_url=settings.redis_url or local.get(VALKEY),
        )


@asynccontextmanager
async def embedded_servers(data_dir: Path) -> AsyncIterator[ServerUrls]:
    """A local Postgres and Valkey that live as long as the context, and no longer than this process, however it ends.

    Servers that `billing embedded start` has started in `data_dir` are used instead, and left running.

    Raises: EmbeddedInUseError when another process holds `data_dir`; EmbeddedUnavailableError, with what to do, when
    there are no programs for this machine; EmbeddedStartError when a server does not come up.
    """
    async with _running(data_dir, POSTGRES, VALKEY) as local:
        yield ServerUrls(database_url=local[POSTGRES], redis_url=local[VALKEY])


@contextmanager
def embedded_servers_sync(data_dir: Path) -> Iterator[ServerUrls]:
    """`embedded_servers` for callers without an event loop, such as session fixtures."""
    running = _start(data_dir, (POSTGRES, VALKEY))
    try:
        yield ServerUrls(database_url=running.urls[POSTGRES], redis_url=running.urls[VALKEY])
    finally:
        running.release()


@asynccontextmanager
async def _running(data_dir: Path, *servers: str) -> AsyncIterator[dict[str, Secret]]:
    if not servers:
        yield {}
        return
    starting = asyncio.ensure_future(asyncio.to_thread(_start, data_dir, servers))
    try:
        running = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # The thread cannot be cancelled; what it starts must not be left behind.
        await asyncio.to_thread((await starting).release)
        raise
    try:
        yield running.urls
    finally:
        await asyncio.shield(asyncio.to_thread(running.release))


def _start(data_dir: Path, servers: tuple[str, ...]) -> _Running:
    try:
        from billing_app.embedded import client  # noqa: PLC0415 - see above
        from billing_app.embedded.home import Home  # noqa: PLC0415 - see above
    except ModuleNotFoundError as exc:
        if exc.name not in _UNIX_MODULES:
            raise
        raise EmbeddedUnavailableError(
            "The local servers need Linux or macOS. Run `docker compose up -d` and set DATABASE_URL and REDIS_URL."
        ) from exc
    home = Home.at(data_dir)
    attached = None if client.running_daemon(home) is not None else client.attach(home, servers)
    return _Running({name: client.local_url(home, name) for name in servers}, attached)
