"""Local servers for the length of a block.

The modules that run servers need a Unix. They are imported when a server has to be started, so that this package can
be imported on any system.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from billing_embedded.errors import EmbeddedUnavailableError
from billing_embedded.urls import POSTGRES, VALKEY, ServerUrls

if TYPE_CHECKING:
    from billing_embedded.client import AttachedServers
    from billing_embedded.sharing import SharedServers

_UNIX_MODULES = frozenset({"fcntl", "pwd"})


@attrs.frozen
class _Running:
    """The URLs of local servers by name, and the hold on them; None when they run until they are stopped."""

    urls: dict[str, str] = attrs.field(repr=False)
    used: AttachedServers | SharedServers | None

    def release(self) -> None:
        if self.used is not None:
            self.used.release()


@asynccontextmanager
async def embedded_servers(data_dir: Path) -> AsyncIterator[ServerUrls]:
    """Run a local Postgres and Valkey for the block alone; see `running_servers`.

    Raises also: EmbeddedInUseError when the servers in `data_dir` belong to another process.
    """
    async with _running(data_dir, (POSTGRES, VALKEY), shared=False) as urls:
        yield ServerUrls(database_url=urls[POSTGRES], redis_url=urls[VALKEY])


@contextmanager
def embedded_servers_sync(data_dir: Path) -> Iterator[ServerUrls]:
    """`embedded_servers` for callers without an event loop, such as session fixtures."""
    running = _start(data_dir, (POSTGRES, VALKEY), shared=False)
    try:
        yield ServerUrls(database_url=running.urls[POSTGRES], redis_url=running.urls[VALKEY])
    finally:
        running.release()


@asynccontextmanager
async def running_servers(data_dir: Path, *servers: str) -> AsyncIterator[Mapping[str, str]]:
    """Run the named local servers and yield their URLs by name; without a name, do nothing.

    Processes that use the same `data_dir` share its servers: they stop with the last of these processes, however each
    of them ends. Servers that `billing embedded start` has started are used, too, and left running.

    Raises: EmbeddedUnavailableError, with what to do, when there are no programs for this machine; EmbeddedStartError
    when a server does not start.
    """
    if not servers:
        yield {}
        return
    async with _running(data_dir, servers, shared=True) as urls:
        yield urls


@asynccontextmanager
async def _running(data_dir: Path, servers: tuple[str, ...], *, shared: bool) -> AsyncIterator[Mapping[str, str]]:
    starting = asyncio.ensure_future(asyncio.to_thread(_start, data_dir, servers, shared=shared))
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


def _start(data_dir: Path, servers: tuple[str, ...], *, shared: bool) -> _Running:
    try:
        from billing_embedded import client, sharing  # noqa: PLC0415 - see above
        from billing_embedded.data_directory import DataDirectory  # noqa: PLC0415 - see above
    except ModuleNotFoundError as exc:
        if exc.name not in _UNIX_MODULES:
            raise
        raise EmbeddedUnavailableError(
            "The local servers need Linux or macOS. Run `docker compose up -d` and set DATABASE_URL and REDIS_URL."
        ) from exc
    directory = DataDirectory.at(data_dir)
    used: AttachedServers | SharedServers | None
    if shared:
        used = sharing.use(directory, servers)
    else:
        used = None if client.running_daemon(directory) is not None else client.attach(directory, servers)
    return _Running({name: client.local_url(directory, name) for name in servers}, used)
