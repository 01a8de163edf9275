"""The event bus on Redis or Valkey Streams.

Each tenant has a log, `<namespace>:{<shard>}:tenant:<tenant>`, whose entry ids are the message numbers. Each shard has
one live stream, `<namespace>:{<shard>}:live`, which every server process follows: a read over a few fixed keys costs
the same for ten tenants as for ten thousand. The hash tag keeps a log and its live stream on one node of a cluster, so
that one script writes both.
"""

import asyncio
import time
import zlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Final, cast

from billing_core.errors import ConfigurationError, EventBusUnavailableError
from billing_core.events import BillingEvent
from billing_core.model import EventId, TenantId
from billing_core.stream.ports import BackfillClaim
from billing_redis.following import Entry, follow
from billing_redis.nodes import Address, RedisNodes
from billing_redis.scripts import Script, ScriptCall, call

_APPEND: Final = Script("append")
_REPLACE: Final = Script("replace")
_CLAIM: Final = Script("claim")
_DONE: Final = "done"
_BEAT_KEPT: Final = 60
"""Seconds that the key of a beat is kept."""
_KEPT: Final = 30 * 86_400
"""Seconds after its last write until a stream expires: streams of former tenants and of old epochs."""

Runs = Mapping[TenantId, Sequence[BillingEvent]]
"""Messages by tenant."""

_Live = tuple[int, str]
"""How many messages a live stream keeps, 0 to announce nothing; and the context of the trace, or ""."""


class RedisEventBus:
    """A `BackfillableBus` on Redis Streams."""

    def __init__(
        self,
        nodes: RedisNodes,
        *,
        shards: int = 16,
        log_length: int = 10_000,
        live_length: int = 1_000,
        namespace: str = "billing",
    ) -> None:
        """Use these nodes; the bus itself has nothing to open or close.

        Args:
            nodes: where the servers are.
            shards: number of live streams; the same in every process, or messages of some tenants arrive late.
            log_length: approximate number of messages kept for each tenant.
            live_length: approximate number of messages kept in each live stream: how far a follower may fall behind.
            namespace: first part of every key.
        """
        self._nodes = nodes
        self._log_length = log_length
        self._live_length = live_length
        self._backfill = f"{namespace}:backfill"
        self._shards = [f"{namespace}:{{{shard}}}" for shard in range(shards)]
        self._ahead: dict[str, float] = {}
        """How many seconds our clock is ahead of that of the node of a shard, as the last beat found."""

    async def ping(self) -> None:
        """Return when every node answers. Raises EventBusUnavailableError."""
        async with self._nodes.answered("ping"):
            await asyncio.gather(*[self._nodes.client(each).ping() for each in await self._nodes.addresses()])

    async def beat(self) -> float:
        """Write a key that expires soon on every node that keeps a part of the bus. Raises EventBusUnavailableError.

        Returns: how many seconds the clock of this process is ahead of the nodes', by the one that differs most.
        """
        async with self._nodes.answered("beat"):
            groups = await self._nodes.grouped(self._shards)
            ahead = await asyncio.gather(*[self._beat(node, f"{shards[0]}:beat") for node, shards in groups.items()])
        for shards, each in zip(groups.values(), ahead, strict=True):
            self._ahead.update(dict.fromkeys(shards, each))
        return max(ahead, key=abs)

    async def _beat(self, node: Address, key: str) -> float:
        """Write to one node, and return how many seconds our clock is ahead of its clock."""
        pipeline = self._nodes.client(node).pipeline(transaction=False)
        pipeline.set(key, 1, ex=_BEAT_KEPT)
        pipeline.time()
        began = time.time()
        taken, at = await pipeline.execute(raise_on_error=False)  # an error of a pipeline hides the server's reason
        if isinstance(taken, Exception):
            raise taken
        seconds, microseconds = at
        halfway = (began + time.time()) / 2
        return halfway - float(seconds + microseconds / 1e6)

    async def check(self) -> None:
        """Refuse a server that may evict keys: it would drop whole logs and live streams without an error.

        Raises: ConfigurationError, EventBusUnavailableError.
        """
        async with self._nodes.answered("check"):
            addresses = await self._nodes.addresses()
            memories = await asyncio.gather(*[self._nodes.client(each).info("memory") for each in addresses])
        policies = {memory.get("maxmemory_policy", "noeviction") for memory in memories} - {"noeviction"}
        if policies:
            raise ConfigurationError(
                f"REDIS_URL: the server has maxmemory-policy {min(policies)} and may evict the billing streams. "
                "Set maxmemory-policy to noeviction, or give billing a server of its own."
            )

    async def append(
        self, events: Sequence[BillingEvent], *, announced: bool = True, trace_context: str | None = None
    ) -> Mapping[TenantId, int]:
        """Append with one script call per shard and one round trip per node, all nodes concurrently."""
        shards = self._by_shard(events)
        if not shards:
            return {}
        async with self._nodes.answered("append"):
            groups = await self._nodes.grouped(shards)
        live = (self._live_length if announced else 0, trace_context or "")
        appending = [
            self._append_to(node, {each: shards[each] for each in group}, live) for node, group in groups.items()
        ]
        if len(appending) == 1:  # without a task: it would wait for its turn behind others
            return await appending[0]
        answers = await asyncio.gather(*appending, return_exceptions=True)
        heads = [answer for answer in answers if not isinstance(answer, BaseException)]
        for answer in answers:
            if isinstance(answer, BaseException) and not (heads and isinstance(answer, EventBusUnavailableError)):
                raise answer
        return {tenant_id: head for each in heads for tenant_id, head in each.items()}

    async def _append_to(self, node: Address, shards: Mapping[str, Runs], live: _Live) -> Mapping[TenantId, int]:
        """Append on one node. A shard whose script fails does not stop the others."""
        heads: dict[TenantId, int] = {}
        failure: Exception | None = None
        calls = [self._append_call(shard, runs, live) for shard, runs in shards.items()]
        async with self._nodes.answered("append"):
            replies = await call(self._nodes.client(node), _APPEND, calls)
            for runs, reply in zip(shards.values(), replies, strict=True):
                if isinstance(reply, Exception):
                    self._nodes.note_failure(reply)
                    failure = reply
                else:
                    heads |= zip(runs, reply, strict=True)
            if failure is not None and not heads:
                raise failure
        return heads

    def _append_call(self, shard: str, runs: Runs, live: _Live) -> ScriptCall:
        arguments: list[str | int | bytes] = [self._log_length, *live, _KEPT]
        for tenant_id, run in runs.items():
            arguments += (tenant_id, len(run))
            for event in run:
                arguments += _encoded(event)
        return ScriptCall([f"{shard}:live", *(f"{shard}:tenant:{tenant_id}" for tenant_id in runs)], arguments)

    def _by_shard(self, events: Sequence[BillingEvent]) -> Mapping[str, Runs]:
        shards: dict[str, dict[TenantId, list[BillingEvent]]] = {}
        for event in events:
            shards.setdefault(self._shard(event.tenant_id), {}).setdefault(event.tenant_id, []).append(event)
        return shards

    async def read(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """Return messages of a tenant's log."""
        log = f"{self._shard(tenant_id)}:tenant:{tenant_id}"
        async with self._nodes.answered("read"):
            client = self._nodes.client(await self._nodes.address(log))
            # The next whole id rather than an exclusive bound, which servers before 6.2 do not have.
            entries = await client.xrange(log, min=f"{after + 1}-0", max="+", count=limit)
        events = []
        for entry_id, fields in cast("Sequence[Entry]", entries):
            event = _event(tenant_id, entry_id.partition("-")[0], fields)
            if event is None:  # the messages after it would leave a gap; the repository has all of them
                break
            events.append(event)
        return events

    async def replace(self, tenant_id: TenantId, events: Sequence[BillingEvent]) -> None:
        """Replace a tenant's log with one script call."""
        shard = self._shard(tenant_id)
        log = f"{shard}:tenant:{tenant_id}"
        arguments: list[str | int | bytes] = [self._log_length, _KEPT, tenant_id]
        for event in events:
            arguments += _encoded(event)
        async with self._nodes.answered("replace"):
            (reply,) = await call(
                self._nodes.client(await self._nodes.address(log)),
                _REPLACE,
                [ScriptCall([log, f"{shard}:live"], arguments)],
            )
            if isinstance(reply, Exception):
                self._nodes.note_failure(reply)
                raise reply

    async def follow(self) -> AsyncGenerator[Sequence[BillingEvent], None]:
        """Yield messages of all live streams as they are appended."""
        live = [f"{shard}:live" for shard in self._shards]
        async with aclosing(follow(self._nodes, live)) as batches:
            async for entries in batches:
                events = [event for event in map(self._live_event, entries) if event is not None]
                if events or not entries:
                    yield events

    async def claim_backfill(self, name: str, *, lease: timedelta) -> BackfillClaim:
        """Claim the backfill, or renew the claim."""
        async with self._nodes.answered("claim_backfill"):
            client = self._nodes.client(await self._nodes.address(self._backfill))
            claim = ScriptCall([self._backfill], (name, lease // timedelta(milliseconds=1)))
            (holder,) = await call(client, _CLAIM, [claim])
            if isinstance(holder, Exception):
                raise holder
        if holder == name:
            return BackfillClaim.OURS
        return BackfillClaim.DONE if holder == _DONE else BackfillClaim.OTHERS

    async def finish_backfill(self) -> None:
        """Record that the bus is filled."""
        async with self._nodes.answered("finish_backfill"):
            await self._nodes.client(await self._nodes.address(self._backfill)).set(self._backfill, _DONE, ex=_KEPT)

    def _live_event(self, entry: Entry) -> BillingEvent | None:
        entry_id, fields = entry
        tenant_id = TenantId(fields.get("tenant", ""))
        ahead = self._ahead.get(self._shard(tenant_id))
        # The node stamps live entries with its own clock, in milliseconds.
        published_at = None if ahead is None else int(entry_id.partition("-")[0]) / 1000 + ahead
        return _event(tenant_id, fields.get("number", ""), fields, published_at)

    def _shard(self, tenant_id: TenantId) -> str:
        return self._shards[zlib.crc32(tenant_id.encode()) % len(self._shards)]


def _encoded(event: BillingEvent) -> Sequence[bytes]:
    """Return the arguments of a message as they are sent: the client passes bytes on without a look at each."""
    event_id, at = event.event_id or "", event.occurred_at.isoformat()
    return b"%d" % event.sequence, event.event_type.encode(), event_id.encode(), at.encode(), event.payload.encode()


def _event(
    tenant_id: TenantId, number: str, fields: Mapping[str, str], published_at: float | None = None
) -> BillingEvent | None:
    """Return None for an entry that this version cannot read: the gap is noticed, and filled from the repository."""
    try:
        return BillingEvent(
            tenant_id=tenant_id,
            sequence=int(number),
            event_type=fields["type"],
            event_id=EventId(fields["event"]) if fields["event"] else None,
            occurred_at=datetime.fromisoformat(fields["at"]),
            payload=fields["payload"],
            published_at=published_at,
            trace_context=fields.get("trace"),
        )
    except (KeyError, ValueError):
        return None
