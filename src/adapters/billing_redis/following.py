"""Follows live streams as they grow: over one connection, or in a cluster over one for each stream.

A blocking read may not span the slots of a cluster. There each stream has its own reader, so that an unavailable node
affects its own streams only.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any, Final, cast

from billing_core.errors import EventBusUnavailableError
from billing_redis.nodes import Address, RedisNodes, closing

Entry = tuple[str, Mapping[str, str]]
"""A stream entry as the driver returns it; its annotations cover every mode it has, so replies are cast to this."""

Batches = AsyncGenerator[Sequence[Entry], None]
"""Entries as they arrive; an empty batch means that some may have been missed."""

_BLOCK: Final = timedelta(seconds=2)
"""The longest wait of one blocking read. Short, so that a connection that died silently is noticed soon."""

_READ_COUNT: Final = 500
"""Entries per live stream and read: bounds the memory of one batch."""

_RETRY: Final = timedelta(seconds=1)
"""Pause before a stream of an unavailable node is read again."""

_UNREAD: Final = 64
"""Batches that readers may be ahead of their consumer."""


async def follow(nodes: RedisNodes, keys: Sequence[str]) -> Batches:
    """Yield entries of all streams from now on. The first batch is empty: after it none is missed without notice.

    Another empty batch is yielded whenever a node of a cluster becomes unavailable, stays so, or is back. Raises
    EventBusUnavailableError when no stream can be read.
    """
    async with nodes.answered("follow"):
        clustered = await nodes.clustered()
    several = _follow_each(nodes, keys) if clustered else _follow_at_one_node(nodes, keys)
    async with aclosing(several) as batches:
        async for batch in batches:
            yield batch


async def _follow_at_one_node(nodes: RedisNodes, keys: Sequence[str]) -> Batches:
    """Follow streams that one command may read."""
    async with nodes.answered("follow"):
        node: Address = await nodes.address(keys[0])
    async with closing(nodes.dedicated(node)) as client:
        async with nodes.answered("follow"):
            positions = await _tails(client, keys)
        yield ()
        while True:
            # The timeout must be longer than the block, or an idle stream would look like a dead server.
            async with nodes.answered("follow", within=_BLOCK + nodes.timeout):
                reply = await client.xread(positions, count=_READ_COUNT, block=_BLOCK // timedelta(milliseconds=1))
            streams = cast("Sequence[tuple[str, Sequence[Entry]]]", reply)
            for key, entries in streams:
                positions[key] = entries[-1][0]
            if streams:
                yield [entry for _, entries in streams for entry in entries]


async def _follow_each(nodes: RedisNodes, keys: Sequence[str]) -> Batches:
    """Follow each stream over a connection of its own."""
    batches: asyncio.Queue[tuple[str, Sequence[Entry] | EventBusUnavailableError]] = asyncio.Queue(_UNREAD)
    readers = [asyncio.create_task(_keep_following(nodes, key, batches)) for key in keys]
    try:
        unknown, away = set(keys), set[str]()
        while True:
            key, batch = await batches.get()
            unknown.discard(key)
            if isinstance(batch, EventBusUnavailableError):
                away.add(key)
                if len(away) == len(keys):
                    raise batch
                batch = ()
            elif not batch:
                away.discard(key)
            if not unknown:  # every stream is either followed or known to be unavailable
                yield batch
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def _keep_following(
    nodes: RedisNodes, key: str, batches: "asyncio.Queue[tuple[str, Sequence[Entry] | EventBusUnavailableError]]"
) -> None:
    while True:
        try:
            async with aclosing(_follow_at_one_node(nodes, [key])) as received:
                async for batch in received:
                    await batches.put((key, batch))
        except EventBusUnavailableError as exc:
            await batches.put((key, exc))
        await asyncio.sleep(_RETRY.total_seconds())


async def _tails(client: Any, keys: Sequence[str]) -> dict[Any, Any]:
    """Return the last id of each live stream. `$` instead would skip entries that arrive between two reads."""
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.xrevrange(key, count=1)
    newest = await pipeline.execute()
    return {key: entries[0][0] if entries else "0-0" for key, entries in zip(keys, newest, strict=True)}
