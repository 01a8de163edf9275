"""The Redis or Valkey servers that an installation uses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import attrs

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


async def inspect_servers(nodes: RedisNodes) -> Sequence[RedisServer]:
    """Return the servers. Raises: EventBusUnavailableError."""
    async with nodes.answered("inspect"):
        addresses = sorted(await nodes.addresses())
        infos = await asyncio.gather(*[nodes.client(each).info("default") for each in addresses])
    return [
        RedisServer(
            address=address,
            version=_version(str(info.get("redis_version", ""))),
            eviction=str(info.get("maxmemory_policy", "noeviction")),
        )
        for address, info in zip(addresses, infos, strict=True)
    ]


def _version(text: str) -> tuple[int, int]:
    major, minor, *_ = [*(int(part) for part in text.split(".") if part.isdigit()), 0, 0]
    return major, minor
