"""Where the keys of each shard live: one server, or the masters of a cluster.

All keys of a shard share a hash tag and with it a slot, so a shard is always on one node and there are only as many
places to know as there are shards. That is little enough to keep by ourselves, with plain clients: one node that is
away then costs its own shards and nobody else's.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import attrs
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError

from billing_core.errors import EventBusUnavailableError

_LOOK_AGAIN: Final = 0.5
"""Seconds before the cluster is asked once more where its slots are."""

Address = str
"""`host:port`; empty for the one server of a deployment without a cluster."""

ONE_SERVER: Final[Address] = ""


class RedisNodes:
    """Clients of every node, each with its own pool. Use `open`, which closes them."""

    def __init__(self, url: str, *, timeout: timedelta, connections: int) -> None:
        self._url = url
        self._timeout = timeout
        self._connections = connections
        self._clients: dict[Address, Redis] = {}
        self._slots: Sequence[_Slots] | None = None
        """What each master has; empty without a cluster, None while nobody has been asked."""
        self._looked_at = -_LOOK_AGAIN
        self._doubted = False
        self._looking = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        timeout: timedelta,  # noqa: ASYNC109 - of each call, not of this one
        connections: int = 8,
    ) -> "AsyncIterator[RedisNodes]":
        """Clients that connect when first used, and find out then whether there is a cluster.

        Args:
            url: redis://, rediss:// or unix://; may hold a password. Of a cluster any node, or a name for all of them.
            timeout: longest wait for one call, and for a connection.
            connections: most connections to each node; `dedicated` ones come on top.
        """
        nodes = cls(url, timeout=timeout, connections=connections)
        try:
            yield nodes
        finally:
            for client in nodes._clients.values():
                await client.aclose()

    @property
    def timeout(self) -> timedelta:
        """Longest wait for one call."""
        return self._timeout

    @asynccontextmanager
    async def answered(self, operation: str, *, within: timedelta | None = None) -> AsyncIterator[None]:
        """Bound a whole call, whatever number of replies it takes, and translate what goes wrong.

        The text names the kind of failure only: the driver's own may hold addresses.
        """
        try:
            async with asyncio.timeout((within or self._timeout).total_seconds()):
                yield
        except (RedisError, OSError, TimeoutError) as exc:
            self.uncertainty(exc)
            raise EventBusUnavailableError(f"{operation}: {type(exc).__name__}") from exc

    def uncertainty(self, exc: BaseException) -> None:
        """Learn of a failure: after one that a move or a failover may have caused, slots are looked up anew."""
        if isinstance(exc, (MovedError, AskError, ClusterDownError, OSError, TimeoutError)) or (
            isinstance(exc, RedisError) and "READONLY" in str(exc)
        ):
            self._doubted = True

    async def clustered(self) -> bool:
        """Whether there is a cluster. Raises what the driver raises, as all the following do."""
        return bool(await self._current_slots())

    async def address(self, key: str) -> Address:
        """The node that has a key."""
        slots = await self._current_slots()
        if not slots:
            return ONE_SERVER
        slot = key_slot(key.encode())
        for each in slots:
            if each.first <= slot <= each.last:
                return each.address
        raise ClusterDownError("a slot that no node serves")

    async def grouped(self, keys: Collection[str]) -> Mapping[Address, Sequence[str]]:
        """Which node has which of the keys."""
        groups: dict[Address, list[str]] = {}
        for key in keys:
            groups.setdefault(await self.address(key), []).append(key)
        return groups

    async def addresses(self) -> Collection[Address]:
        """Every node that keeps keys."""
        return {each.address for each in await self._current_slots()} or {ONE_SERVER}

    def client(self, address: Address) -> Redis:
        """The client of a node, shared by all callers."""
        if address not in self._clients:
            # One retry only: it covers a pooled connection that the server closed, and no call of ours minds it.
            pool = BlockingConnectionPool.from_url(
                self._url_of(address), max_connections=self._connections, **self._options(retries=1)
            )
            self._clients[address] = Redis.from_pool(pool)
        return self._clients[address]

    def dedicated(self, address: Address) -> Redis:
        """A client with one connection of its own, for reads that block. The caller closes it."""
        return Redis.from_url(self._url_of(address), single_connection_client=True, **self._options(retries=0))

    async def _current_slots(self) -> Sequence["_Slots"]:
        if self._slots is None or (self._doubted and monotonic() >= self._looked_at + _LOOK_AGAIN):
            async with self._looking:
                if self._slots is None or (self._doubted and monotonic() >= self._looked_at + _LOOK_AGAIN):
                    await self._look()
        return self._slots or ()

    async def _look(self) -> None:
        """Ask whoever answers first; what was known is kept while nobody does."""
        self._looked_at = monotonic()
        if self._slots is not None and not self._slots:  # one server stays one server
            self._doubted = False
            return
        failure: Exception | None = None
        for address in (ONE_SERVER, *self._clients.keys() - {ONE_SERVER}):
            try:
                # One that does not answer must not use up the caller's time: the next one may know.
                async with asyncio.timeout(self._timeout.total_seconds() / 3):
                    self._slots = await _slots(self.client(address))
            except (RedisError, OSError, TimeoutError) as exc:
                failure = exc
            else:
                self._doubted = False
                return
        if self._slots is None and failure is not None:
            raise failure

    def _url_of(self, address: Address) -> str:
        """The configured URL with a node's own address: user, password and TLS are the same everywhere."""
        if address == ONE_SERVER:
            return self._url
        parts = urlsplit(self._url)
        login, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{login}{at}{address}"))

    def _options(self, *, retries: int) -> dict[str, Any]:
        return {
            # Whole calls are bounded in `answered`. The driver's own timeout would wrap each write in `wait_for`, which
            # in Python 3.11 can lose a cancellation: a follower would then live on after its server has stopped.
            "socket_timeout": None,
            "socket_connect_timeout": self._timeout.total_seconds(),
            "retry": Retry(NoBackoff(), retries),
            "decode_responses": True,
            "protocol": 2,  # one shape of replies in every version of the driver
        }


@attrs.frozen
class _Slots:
    """The slots `first` to `last` are on the master at `address`."""

    first: int
    last: int
    address: Address


async def _slots(client: Redis) -> Sequence[_Slots]:
    """Which master has which slots; nothing for a server that is no part of a cluster."""
    info = await client.info("cluster")
    if not int(info.get("cluster_enabled", 0)):
        return ()
    slots = []
    asked = client.connection_pool.connection_kwargs.get("host", "")
    # As two words: versions of the driver that know the command differ in what they make of its reply.
    ranges = await client.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
    for first, last, (host, port, *_), *_ in ranges:
        place = f"[{host}]" if ":" in (host or asked) else host or asked  # a node that does not know its own name
        slots.append(_Slots(int(first), int(last), f"{place}:{port}"))
    return slots


@asynccontextmanager
async def closing(client: Redis) -> AsyncIterator[Redis]:
    """Close a client at the end, without minding how its connection fares."""
    try:
        yield client
    finally:
        with contextlib.suppress(RedisError, OSError):
            await client.aclose()
