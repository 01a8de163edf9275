"""The event bus on Redis or Valkey Streams.

Each tenant has a log, `billing:{<shard>}:tenant:<tenant>`, whose entry ids are the message numbers. Each shard has one
live stream, `billing:{<shard>}:live`, which every server process follows: a read over a few fixed keys costs the same
for ten tenants as for ten thousand. The hash tag keeps a log and its live stream on one node of a cluster, so that one
script writes both.
"""

import asyncio
import hashlib
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any, Final, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from billing_core.errors import ConfigurationError, EventBusUnavailableError
from billing_core.events import BillingEvent
from billing_core.model import EventId, TenantId

_APPEND: Final = files(__package__).joinpath("append.lua").read_text(encoding="utf-8")
_APPEND_SHA: Final = hashlib.sha1(_APPEND.encode(), usedforsecurity=False).hexdigest()  # the name EVALSHA knows it by

_BLOCK: Final = timedelta(seconds=2)
"""How long one blocking read waits. Short, so that a connection that died silently is noticed soon after."""

_READ_COUNT: Final = 500
"""Entries per live stream and read: bounds what one wake-up holds in memory."""

Entry = tuple[str, Mapping[str, str]]
"""What the driver makes of a stream entry; its own annotation covers every mode it has, so replies are cast to this."""


class RedisEventBus:
    """EventBus on Streams. Use `open`, which owns the connections."""

    def __init__(
        self,
        client: Redis,
        *,
        url: str,
        timeout: timedelta,
        shards: int,
        log_length: int,
        live_length: int,
        namespace: str,
    ) -> None:
        self._client = client
        self._url = url
        self._timeout = timeout
        self._log_length = log_length
        self._live_length = live_length
        self._shards = [f"{namespace}:{{{shard}}}" for shard in range(shards)]

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        timeout: timedelta,  # noqa: ASYNC109 - of each call, not of this one
        shards: int = 16,
        log_length: int = 10_000,
        live_length: int = 1_000,
        connections: int = 8,
        namespace: str = "billing",
    ) -> "AsyncIterator[RedisEventBus]":
        """A bus with its own pool, closed at the end; connects when first used.

        Args:
            url: redis://, rediss:// or unix://; may hold a password.
            timeout: longest wait for one call, and for a connection.
            shards: number of live streams; the same in every process, or tenants go unheard until the next look.
            log_length: newest messages kept of each tenant, roughly.
            live_length: newest messages kept in each live stream, roughly: what a follower may fall behind.
            connections: most connections for `append` and `read`; each `follow` has one more.
            namespace: first part of every key.
        """
        # One retry only: it covers a pooled connection that the server closed, and the script makes it harmless.
        pool = BlockingConnectionPool.from_url(
            url, max_connections=connections, **_connection_options(timeout, retries=1)
        )
        client = Redis.from_pool(pool)
        try:
            yield cls(
                client,
                url=url,
                timeout=timeout,
                shards=shards,
                log_length=log_length,
                live_length=live_length,
                namespace=namespace,
            )
        finally:
            await client.aclose()

    async def ping(self) -> None:
        """Return when the server answers. Raises EventBusUnavailableError."""
        async with self._answered("ping"):
            await self._client.ping()

    async def check(self) -> None:
        """Refuse a server that may evict keys: it would drop whole logs and live streams without an error.

        Raises: ConfigurationError, EventBusUnavailableError.
        """
        async with self._answered("check"):
            memory = await self._client.info("memory")
        policy = memory.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise ConfigurationError(
                f"REDIS_URL: the server has maxmemory-policy {policy} and may evict the billing streams. "
                "Set maxmemory-policy to noeviction, or give billing a server of its own."
            )

    async def append(self, events: Sequence[BillingEvent]) -> Mapping[TenantId, int]:
        """See EventBus: one script call per shard, all of them in one round trip."""
        shards = self._by_shard(events)
        async with self._answered("append"):
            replies = await self._append(shards)
            if any(isinstance(reply, NoScriptError) for reply in replies):  # a new server, or its scripts were flushed
                await self._client.script_load(_APPEND)
                replies = await self._append(shards)
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return {
            tenant_id: head
            for runs, heads in zip(shards.values(), replies, strict=True)
            for tenant_id, head in zip(runs, heads, strict=True)
        }

    async def _append(self, shards: Mapping[str, Mapping[TenantId, Sequence[BillingEvent]]]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for shard, runs in shards.items():
            arguments: list[str | int] = [self._log_length, self._live_length]
            for tenant_id, run in runs.items():
                arguments += (tenant_id, len(run))
                for event in run:
                    arguments += _encoded(event)
            logs = [f"{shard}:tenant:{tenant_id}" for tenant_id in runs]
            pipeline.evalsha(_APPEND_SHA, len(logs) + 1, f"{shard}:live", *logs, *arguments)
        return await pipeline.execute(raise_on_error=False)

    def _by_shard(self, events: Sequence[BillingEvent]) -> Mapping[str, Mapping[TenantId, Sequence[BillingEvent]]]:
        shards: dict[str, dict[TenantId, list[BillingEvent]]] = {}
        for event in events:
            shards.setdefault(self._shard(event.tenant_id), {}).setdefault(event.tenant_id, []).append(event)
        return shards

    async def read(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """See EventBus."""
        async with self._answered("read"):
            # The next whole id rather than an exclusive bound, which servers before 6.2 do not have.
            entries = await self._client.xrange(self._log(tenant_id), min=f"{after + 1}-0", max="+", count=limit)
        events = []
        for entry_id, fields in cast("Sequence[Entry]", entries):
            event = _event(tenant_id, entry_id.partition("-")[0], fields)
            if event is None:  # what follows it would look like a hole; the repository has it all
                break
            events.append(event)
        return events

    async def follow(self) -> AsyncGenerator[Sequence[BillingEvent], None]:
        """See EventBus: all live streams through one dedicated connection."""
        options = _connection_options(self._timeout, retries=0)
        client = Redis.from_url(self._url, single_connection_client=True, **options)
        try:
            async with self._answered("follow"):
                positions = await self._tails(client)
            yield ()
            while True:
                # The wait must outlast the block, or every quiet spell looks like a dead server.
                async with self._answered("follow", within=_BLOCK + self._timeout):
                    reply = await client.xread(positions, count=_READ_COUNT, block=_BLOCK // timedelta(milliseconds=1))
                streams = cast("Sequence[tuple[str, Sequence[Entry]]]", reply)
                for key, entries in streams:
                    positions[key] = entries[-1][0]
                events = [event for _, entries in streams for event in map(_live_event, entries) if event is not None]
                if events:
                    yield events
        finally:
            await client.aclose()

    async def _tails(self, client: Redis) -> dict[Any, Any]:
        """Where each live stream ends, as concrete ids: `$` would skip what arrives between two reads."""
        keys = [f"{shard}:live" for shard in self._shards]
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.xrevrange(key, count=1)
        newest = await pipeline.execute()
        return {key: entries[0][0] if entries else "0-0" for key, entries in zip(keys, newest, strict=True)}

    def _shard(self, tenant_id: TenantId) -> str:
        return self._shards[zlib.crc32(tenant_id.encode()) % len(self._shards)]

    def _log(self, tenant_id: TenantId) -> str:
        return f"{self._shard(tenant_id)}:tenant:{tenant_id}"

    @asynccontextmanager
    async def _answered(self, operation: str, *, within: timedelta | None = None) -> AsyncIterator[None]:
        """Bound a whole call, whatever number of replies it takes, and translate what goes wrong.

        The text names the kind of failure only: the driver's own may hold addresses.
        """
        try:
            async with asyncio.timeout((within or self._timeout).total_seconds()):
                yield
        except (RedisError, OSError, TimeoutError) as exc:
            raise EventBusUnavailableError(f"{operation}: {type(exc).__name__}") from exc


def _connection_options(timeout: timedelta, *, retries: int) -> dict[str, Any]:
    return {
        # Whole calls are bounded in `_answered`. The driver's own timeout would wrap each write in `wait_for`, which
        # in Python 3.11 can lose a cancellation: a follower would then live on after its server has stopped.
        "socket_timeout": None,
        "socket_connect_timeout": timeout.total_seconds(),
        "retry": Retry(NoBackoff(), retries),
        "decode_responses": True,
        "protocol": 2,  # one shape of replies in every version of the driver
    }


def _encoded(event: BillingEvent) -> Sequence[str | int]:
    return event.sequence, event.event_type, event.event_id, event.occurred_at.isoformat(), event.payload


def _live_event(entry: Entry) -> BillingEvent | None:
    _, fields = entry
    return _event(TenantId(fields.get("tenant", "")), fields.get("number", ""), fields)


def _event(tenant_id: TenantId, number: str, fields: Mapping[str, str]) -> BillingEvent | None:
    """None for an entry that this version cannot read: a missing message is found and fetched elsewhere."""
    try:
        return BillingEvent(
            tenant_id=tenant_id,
            sequence=int(number),
            event_type=fields["type"],
            event_id=EventId(fields["event"]),
            occurred_at=datetime.fromisoformat(fields["at"]),
            payload=fields["payload"],
        )
    except (KeyError, ValueError):
        return None
