"""Counts the streams that each tenant opens and has open, on Redis, for all servers."""

import asyncio
import secrets
import zlib
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import Redis

from billing_core.model import TenantId
from billing_core.stream_access.ports import Leases, QuotaPolicy, QuotaRefusal
from billing_redis.nodes import RedisNodes
from billing_redis.scripts import Script, ScriptCall, call

_ENTER: Final = Script("enter")
_KEEP: Final = Script("keep")
_ALIVE: Final = Script("alive")
_TAGS: Final = 1024
"""Hash tags that tenants are spread over in a cluster. A tenant's id is no tag, because it may contain braces."""


class RedisStreamQuota:
    """A `StreamQuota` with one script call to enter, and one round trip per node to keep or leave any number.

    The name of a stream begins with its process, whose life is short: places of one that died are found by that.
    """

    def __init__(self, nodes: RedisNodes, policy: QuotaPolicy, *, namespace: str = "billing") -> None:
        self._nodes = nodes
        self._policy = policy
        self._namespace = namespace
        self._lease = policy.lease // timedelta(milliseconds=1)
        self._life = policy.life // timedelta(milliseconds=1)
        self._process = secrets.token_hex(6)

    async def enter(self, tenant_id: TenantId, lease: str) -> QuotaRefusal | None:
        """Count one more stream, or refuse it."""
        rate, streams = self._key(tenant_id, "rate"), self._streams(tenant_id)
        limits = (self._policy.rate_per_minute, self._policy.concurrent, self._lease)
        arguments = (*limits, self._name(lease), self._process, self._life)
        async with self._nodes.answered("quota"):
            client = self._nodes.client(await self._nodes.address(streams))
            (reply,) = await call(client, _ENTER, [ScriptCall([rate, streams, self._processes(tenant_id)], arguments)])
            if isinstance(reply, Exception):
                raise reply
        limit, *wait = reply
        if not limit:
            return None
        return QuotaRefusal(limit="rate" if limit == 1 else "concurrent", retry_after=timedelta(milliseconds=wait[0]))

    async def keep(self, leases: Leases) -> None:
        """Confirm that streams are still open."""

        async def keep_some(client: Redis, tenants: Collection[TenantId]) -> None:
            names = {each: map(self._name, leases[each]) for each in tenants}
            calls = [ScriptCall([self._streams(each)], (self._lease, *names[each])) for each in tenants]
            _raise_first(await call(client, _KEEP, calls))

        await self._on_each_node(leases, keep_some)

    async def leave(self, leases: Leases) -> None:
        """Stop counting streams."""

        async def leave_some(client: Redis, tenants: Collection[TenantId]) -> None:
            pipeline = client.pipeline(transaction=False)
            for tenant_id in tenants:
                pipeline.zrem(self._streams(tenant_id), *map(self._name, leases[tenant_id]))
            await pipeline.execute()

        await self._on_each_node(leases, leave_some)

    async def beat(self, tenants: Collection[TenantId]) -> None:
        """Show that this process is alive: once for each hash tag of these tenants."""

        async def show(client: Redis, some: Collection[TenantId]) -> None:
            keys = sorted({self._processes(each) for each in some})
            _raise_first(await call(client, _ALIVE, [ScriptCall([key], (self._process, self._life)) for key in keys]))

        await self._on_each_node(dict.fromkeys(tenants, ()), show)

    async def _on_each_node(self, leases: Leases, work: Callable[[Redis, Collection[TenantId]], Any]) -> None:
        """Work on all nodes concurrently, each with its own tenants; a node that fails does not delay the others."""
        if not (leases and self._policy.concurrent):
            return
        async with self._nodes.answered("quota"):
            tenants = {self._streams(each): each for each in leases}
            groups = await self._nodes.grouped(tenants)

        async def on(node: str) -> None:
            async with self._nodes.answered("quota"):
                await work(self._nodes.client(node), [tenants[key] for key in groups[node]])

        for result in await asyncio.gather(*map(on, groups), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    def _name(self, lease: str) -> str:
        return f"{self._process}/{lease}"

    def _processes(self, tenant_id: TenantId) -> str:
        return f"{self._namespace}:{{{_tag(tenant_id)}}}:processes"

    def _streams(self, tenant_id: TenantId) -> str:
        return self._key(tenant_id, "streams")

    def _key(self, tenant_id: TenantId, what: str) -> str:
        return f"{self._namespace}:{{{_tag(tenant_id)}}}:{what}:{tenant_id}"


def _tag(tenant_id: TenantId) -> str:
    return f"quota-{zlib.crc32(tenant_id.encode()) % _TAGS}"


def _raise_first(replies: Collection[Any]) -> None:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
