"""The Redis or Valkey servers that an installation uses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from redis.exceptions import ResponseError

from billing_redis.nodes import RedisNodes


@attrs.frozen(kw_only=True)
class RedisServer:
    """One server, or one master of a cluster."""

    address: str
    """`host:port` in a cluster; empty for the one server of a deployment without one."""
    version: tuple[int, int]
    """Of Redis; Valkey names the one that it is compatible with."""
    eviction: str
    """Its `maxmemory-policy`; `noeviction` where it does not tell."""
    refuses_writes: str | None = None
    """Why it takes no writes; None if it does."""


async def inspect_servers(nodes: RedisNodes) -> Sequence[RedisServer]:
    """Return the servers. Raises: EventBusUnavailableError."""
    async with nodes.answered("inspect"):
        addresses = sorted(await nodes.addresses())
        infos = await asyncio.gather(*[nodes.client(each).info("default") for each in addresses])
        stops = await asyncio.gather(*[_stop_settings(nodes, each) for each in addresses])
    return [
        RedisServer(
            address=address,
            version=_version(str(info.get("redis_version", ""))),
            eviction=str(info.get("maxmemory_policy", "noeviction")),
            refuses_writes=_refusal(info, stops_on_failed_save="yes" in settings.values()),
        )
        for address, info, settings in zip(addresses, infos, stops, strict=True)
    ]


def _version(text: str) -> tuple[int, int]:
    major, minor, *_ = [*(int(part) for part in text.split(".") if part.isdigit()), 0, 0]
    return major, minor


async def _stop_settings(nodes: RedisNodes, address: str) -> Mapping[Any, Any]:
    """Return whether a failed snapshot stops writes; nothing where a server does not tell, as managed ones do not."""
    try:
        return await nodes.client(address).config_get("stop-writes-on-bgsave-error")
    except ResponseError:
        return {}


def _refusal(info: Mapping[str, Any], *, stops_on_failed_save: bool) -> str | None:
    """Return why a server takes no writes, by what it says of itself."""
    limit = int(info.get("maxmemory", 0))
    if info.get("role") in ("slave", "replica"):
        return "it is a replica"
    if limit and int(info.get("used_memory", 0)) >= limit:
        return f"it has reached maxmemory ({limit} bytes)"
    if info.get("aof_enabled") and info.get("aof_last_write_status", "ok") != "ok":
        return "it cannot write its append-only file"
    if stops_on_failed_save and info.get("rdb_last_bgsave_status", "ok") != "ok":
        return "its last snapshot failed, and stop-writes-on-bgsave-error is on"
    return None
