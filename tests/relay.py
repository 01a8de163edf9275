"""Relays in front of servers: what a proxy or a name in DNS is to a client."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    """Connect a client to a server until one of them closes."""
    upstream_reader, upstream = await asyncio.open_connection(host, port)
    try:
        ways = [asyncio.ensure_future(_copy(*way)) for way in ((reader, upstream), (upstream_reader, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
    finally:
        upstream.close()


class MovingName:
    """One address for whichever server is the master: new connections go there, open ones stay where they are."""

    def __init__(self, master: int, port: int) -> None:
        self.master = master
        """The master's port; assign another one to move the name."""
        self.url = f"redis://127.0.0.1:{port}/0"


@asynccontextmanager
async def moving_name(master: int) -> AsyncIterator[MovingName]:
    """Yield a name for the server at this port of loopback."""
    connections = set[asyncio.Task[None]]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            with contextlib.suppress(OSError):
                await pump(reader, writer, "127.0.0.1", name.master)
        finally:
            connections.discard(task)
            writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as listener:
        name = MovingName(master, listener.sockets[0].getsockname()[1])
        yield name
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
