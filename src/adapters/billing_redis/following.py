"""Reading live streams as they grow: through one connection, or in a cluster through one for each of them.

A blocking read may not span the slots of a cluster. There each stream has its own reader, so that a node that is away
silences its own streams alone.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any, Final, cast

from billing_core.errors import EventBusUnavailableError
from billing_redis.nodes import Address, RedisNodes, closing

Entry = tuple[str, Mapping[str, str]]
"""What the driver makes of a stream entry; its own annotation covers every mode it has, so replies are cast to this."""

Batches = AsyncGenerator[Sequence[Entry], None]
"""Entries as they come; an empty batch says that some may have been missed."""

_BLOCK: Final = timedelta(seconds=2)
"""How long one blocking read waits. Short, so that a connection that died silently is noticed soon after."""

_READ_COUNT: Final = 500
"""Entries per live stream and read: bounds what one wake-up holds in memory."""

_RETRY: Final = timedelta(seconds=1)
"""Pause before a stream whose node is away is asked for again."""

_UNREAD: Final = 64
"""Batches that readers may be ahead of whoever takes them."""


async def follow(nodes: RedisNodes, keys: Sequence[str]) -> Batches:
    """Entries of all streams from now on. The first batch is empty: from it on nothing is missed without a word.

    Another empty batch comes whenever a part of a cluster was lost, is still away, or is heard again. Raises
    EventBusUnavailableError when no stream can be read.
    """
    async with nodes.answered("follow"):
        clustered = await nodes.clustered()
    several = _follow_each(nodes, keys) if clustered else _follow_at_one_node(nodes, keys)
    async with aclosing(several) as batches:
        async for batch in batches:
            yield batch


async def _follow_at_one_node(nodes: RedisNodes, keys: Sequence[str]) -> Batches:
    """Streams that one command may read."""
    async with nodes.answered("follow"):
        node: Address = await nodes.address(keys[0])
    async with closing(nodes.dedicated(node)) as client:
        async with nodes.answered("follow"):
            positions = await _tails(client, keys)
        yield ()
        while True:
            # The wait must outlast the block, or every quiet spell looks like a dead server.
            async with nodes.answered("follow", within=_BLOCK + nodes.timeout):
                reply = await client.xread(positions, count=_READ_COUNT, block=_BLOCK // timedelta(milliseconds=1))
            streams = cast("Sequence[tuple[str, Sequence[Entry]]]", reply)
            for key, entries in streams:
                positions[key] = entries[-1][0]
            if streams:
                yield [entry for _, entries in streams for entry in entries]


async def _follow_each(nodes: RedisNodes, keys: Sequence[str]) -> Batches:
    heard: asyncio.Queue[tuple[str, Sequence[Entry] | EventBusUnavailableError]] = asyncio.Queue(_UNREAD)
    readers = [asyncio.create_task(_keep_following(nodes, key, heard)) for key in keys]
    try:
        asked, away = set(keys), set[str]()
        while True:
            key, batch = await heard.get()
            asked.discard(key)
            if isinstance(batch, EventBusUnavailableError):
                away.add(key)
                if len(away) == len(keys):
                    raise batch
                batch = ()
            elif not batch:
                away.discard(key)
            if not asked:  # every stream is either heard or known to be away
                yield batch
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def _keep_following(
    nodes: RedisNodes, key: str, heard: "asyncio.Queue[tuple[str, Sequence[Entry] | EventBusUnavailableError]]"
) -> None:
    while True:
        try:
            async with aclosing(_follow_at_one_node(nodes, [key])) as batches:
                async for batch in batches:
                    await heard.put((key, batch))
        except EventBusUnavailableError as exc:
            await heard.put((key, exc))
        await asyncio.sleep(_RETRY.total_seconds())


async def _tails(client: Any, keys: Sequence[str]) -> dict[Any, Any]:
    """Where each live stream ends, as concrete ids: `$` would skip what arrives between two reads."""
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.xrevrange(key, count=1)
    newest = await pipeline.execute()
    return {key: entries[0][0] if entries else "0-0" for key, entries in zip(keys, newest, strict=True)}
