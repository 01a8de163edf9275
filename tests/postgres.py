"""A test's own connections and servers, which a failing test closes too: an open socket would fail a later one."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
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


async def move_clock(connection: "Connection | asyncpg.Pool[asyncpg.Record]", ahead: timedelta) -> None:
    """Let a database decide on access as if so much time had passed."""
    await connection.execute(
        "CREATE OR REPLACE FUNCTION billing_now() RETURNS timestamptz LANGUAGE sql VOLATILE"
        f" AS $$ SELECT clock_timestamp() + interval '{ahead.total_seconds()} seconds' $$"
    )


@contextmanager
def server_folder() -> Iterator[Path]:
    """Create a data folder for local servers, which under root run as another user, and delete it in the end."""
    folder = Path(tempfile.mkdtemp(prefix="billing-tests-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def postmaster_of(data_dir: Path) -> int:
    """Return the process id of the server that uses this data folder."""
    return int(next(data_dir.rglob("postmaster.pid")).read_text().splitlines()[0])
