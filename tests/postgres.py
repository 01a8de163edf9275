"""Connections of a test's own, which a failing test closes too: an open socket would fail a later one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """Open a connection for the block."""
    connection: Connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
