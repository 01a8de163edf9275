"""The location of each shard's keys: one server, or the masters of a cluster.

All keys of a shard share a hash tag and with it a slot, so a shard is always on one node, and there are only as many
locations as shards. So few can be tracked here, with plain clients; an unavailable node then affects its own shards
only.
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
from redis.exceptions import AskError, ClusterDownError, MovedError, ReadOnlyError, RedisError

from billing_core.errors import EventBusUnavailableError
from billing_redis.errors import describe
from billing_redis.packing import packing_in_c

_RELOAD_PAUSE: Final = 0.5
"""Seconds before the cluster's slots are loaded again."""

Address = str
"""`host:port`; empty for the one server of a deployment without a cluster."""

ONE_SERVER: Final[Address] = ""


class RedisNodes:
    """Clients for every node, each with its own pool. Create it with `open`, which closes them."""

    def __init__(self, url: str, *, timeout: timedelta, connections: int) -> None:
        self._url = url
        self._timeout = timeout
        self._connections = connections
        self._clients: dict[Address, Redis] = {}
        self._slots: Sequence[_Slots] | None = None
        """The slots of each master; empty without a cluster, None until they are loaded."""
        self._loaded_at = -_RELOAD_PAUSE
        self._stale = False
        self._loading = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        timeout: timedelta,  # noqa: ASYNC109 - of each call, not of this one
        connections: int = 8,
    ) -> "AsyncIterator[RedisNodes]":
        """Yield clients that connect when first used, and detect a cluster then.

        Args:
            url: redis://, rediss:// or unix://; may hold a password. For a cluster: any node, or a name for all.
            timeout: longest wait for one call, and for a connection.
            connections: maximum number of connections to each node; `dedicated` ones come on top.
        """
        nodes = cls(url, timeout=timeout, connections=connections)
        try:
            yield nodes
        finally:
            for client in nodes._clients.values():
                await client.aclose()

    @property
    def timeout(self) -> timedelta:
        """The longest wait for one call."""
        return self._timeout

    @asynccontextmanager
    async def answered(self, operation: str, *, within: timedelta | None = None) -> AsyncIterator[None]:
        """Bound a whole call, however many replies it takes, and translate its errors.

        The text names the server and the type of the error only: the driver's own text may hold keys and values.
        """
        try:
            async with asyncio.timeout((within or self._timeout).total_seconds()):
                yield
        except (RedisError, OSError, TimeoutError) as exc:
            self.note_failure(exc)
            if isinstance(exc, ReadOnlyError):
                await self._drop_idle_connections()
            seconds = (within or self._timeout).total_seconds()
            raise EventBusUnavailableError(f"{operation}: {describe(exc, self._url, within=seconds)}") from exc

    def note_failure(self, exc: BaseException) -> None:
        """Load the slots again before the next call, if a move or a failover may have caused this failure."""
        if isinstance(exc, (MovedError, AskError, ClusterDownError, ReadOnlyError, OSError, TimeoutError)):
            self._stale = True

    async def clustered(self) -> bool:
        """Return whether there is a cluster. Raises the driver's errors, as do the methods below."""
        return bool(await self._current_slots())

    async def address(self, key: str) -> Address:
        """Return the node of a key."""
        slots = await self._current_slots()
        if not slots:
            return ONE_SERVER
        slot = key_slot(key.encode())
        for each in slots:
            if each.first <= slot <= each.last:
                return each.address
        raise ClusterDownError("no node serves the slot")

    async def grouped(self, keys: Collection[str]) -> Mapping[Address, Sequence[str]]:
        """Return the keys by node."""
        groups: dict[Address, list[str]] = {}
        for key in keys:
            groups.setdefault(await self.address(key), []).append(key)
        return groups

    async def addresses(self) -> Collection[Address]:
        """Return every node that keeps keys."""
        return {each.address for each in await self._current_slots()} or {ONE_SERVER}

    def client(self, address: Address) -> Redis:
        """Return the client of a node, shared by all callers."""
        if address not in self._clients:
            # One retry: it covers a pooled connection that the server closed, and every call here may be repeated.
            pool = BlockingConnectionPool.from_url(
                self._url_of(address), max_connections=self._connections, **self._options(retries=1)
            )
            pool.connection_class = packing_in_c(pool.connection_class)
            self._clients[address] = Redis.from_pool(pool)
        return self._clients[address]

    def dedicated(self, address: Address) -> Redis:
        """Return a client with one connection of its own, for blocking reads. The caller closes it."""
        return Redis.from_url(self._url_of(address), single_connection_client=True, **self._options(retries=0))

    async def _drop_idle_connections(self) -> None:
        """Connect again before the next call: a demoted master keeps its connections, and the name leads elsewhere."""
        for client in self._clients.values():
            with contextlib.suppress(RedisError, OSError):
                await client.connection_pool.disconnect(inuse_connections=False)

    async def _current_slots(self) -> Sequence["_Slots"]:
        if self._slots is None or (self._stale and monotonic() >= self._loaded_at + _RELOAD_PAUSE):
            async with self._loading:
                if self._slots is None or (self._stale and monotonic() >= self._loaded_at + _RELOAD_PAUSE):
                    await self._load_slots()
        return self._slots or ()

    async def _load_slots(self) -> None:
        """Load the slots from the first node that answers; keep the known ones while none does."""
        self._loaded_at = monotonic()
        if self._slots is not None and not self._slots:  # one server stays one server
            self._stale = False
            return
        failure: Exception | None = None
        for address in (ONE_SERVER, *self._clients.keys() - {ONE_SERVER}):
            try:
                # A node that does not answer must not use up the caller's timeout: the next one may answer.
                async with asyncio.timeout(self._timeout.total_seconds() / 3):
                    self._slots = await _slots(self.client(address))
            except (RedisError, OSError, TimeoutError) as exc:
                failure = exc
            else:
                self._stale = False
                return
        if self._slots is None and failure is not None:
            raise failure

    def _url_of(self, address: Address) -> str:
        """Return the configured URL with a node's address: user, password and TLS are the same for all nodes."""
        if address == ONE_SERVER:
            return self._url
        parts = urlsplit(self._url)
        login, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{login}{at}{address}"))

    def _options(self, *, retries: int) -> dict[str, Any]:
        return {
            # Whole calls are bounded in `answered`. The driver's own timeout would wrap each write in `wait_for`, which
            # in Python 3.11 can lose a cancellation: a follower would then outlive its server.
            "socket_timeout": None,
            "socket_connect_timeout": self._timeout.total_seconds(),
            "retry": Retry(NoBackoff(), retries),
            "decode_responses": True,
            "protocol": 2,  # replies have one shape in every version of the driver
        }


@attrs.frozen
class _Slots:
    """The range of slots, `first` to `last`, of the master at `address`."""

    first: int
    last: int
    address: Address


async def _slots(client: Redis) -> Sequence[_Slots]:
    """Return the slots of each master; () for a server that is not part of a cluster."""
    info = await client.info("cluster")
    if not int(info.get("cluster_enabled", 0)):
        return ()
    slots = []
    asked = client.connection_pool.connection_kwargs.get("host", "")
    # As two words: driver versions that know the command differ in how they parse its reply.
    ranges = await client.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
    for first, last, (host, port, *_), *_ in ranges:
        place = f"[{host}]" if ":" in (host or asked) else host or asked  # a node that does not know its own name
        slots.append(_Slots(int(first), int(last), f"{place}:{port}"))
    return slots


@asynccontextmanager
async def closing(client: Redis) -> AsyncIterator[Redis]:
    """Close a client at the end, whatever state its connection is in."""
    try:
        yield client
    finally:
        with contextlib.suppress(RedisError, OSError):
            await client.aclose()
