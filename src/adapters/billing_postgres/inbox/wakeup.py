"""Wakes whoever waits for due events: in this process at once, in the others through the database."""

import asyncio
import random
from contextlib import suppress
from datetime import timedelta
from typing import Final

import asyncpg

from billing_core.errors import StoreUnavailableError
from billing_postgres import queries
from billing_postgres.errors import UNAVAILABLE
from billing_postgres.pool import Connection, Database

_CHANNEL: Final = "billing_due"
_QUERIES: Final = queries.load("write_inbox")
_QUIET: Final = 0.05
"""Seconds between two notices. Commits with a notice queue up behind one lock of the whole server."""
_FIRST_RETRY: Final = 0.1
_LAST_RETRY: Final = 2.0


class Wakeup:
    """A hint, never a promise: a notice can be lost with its connection, so every wait has an end of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rung = asyncio.Event()
        self._to_announce = asyncio.Event()
        self._line: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Keep a connection to the other processes from now on, reconnecting as long as it takes."""
        self._line = asyncio.get_running_loop().create_task(self._keep_line())

    async def aclose(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.cancel()
            await asyncio.wait([self._line])

    def ring(self) -> None:
        """Events became due: wake this process now and the others soon."""
        self._rung.set()
        self._to_announce.set()

    def mute(self) -> None:
        """Forget what rang so far; say it before looking for due events, so that nothing rings unheard."""
        self._rung.clear()

    async def wait(self, *, at_most: timedelta) -> None:
        """Return when it rings or has rung since `mute`, at the latest after `at_most`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most.total_seconds()):
                await self._rung.wait()

    async def _keep_line(self) -> None:
        pause = _FIRST_RETRY
        while True:
            with suppress(StoreUnavailableError, *UNAVAILABLE):
                connection = await self._database.connect()
                pause = _FIRST_RETRY
                try:
                    await self._talk(connection)
                finally:
                    connection.terminate()
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads reconnects, no secret
            pause = min(2 * pause, _LAST_RETRY)

    async def _talk(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Listen and announce until the connection is lost."""

        def hear(_connection: Connection, sender: int, _channel: str, _payload: object) -> None:
            if sender != connection.get_server_pid():
                self._rung.set()

        def hang_up(_connection: object) -> None:
            self._to_announce.set()  # ends the wait below; the notice itself goes out over the next connection

        connection.add_termination_listener(hang_up)
        await connection.add_listener(_CHANNEL, hear)
        self._rung.set()  # whatever was announced before we listened
        while True:
            await self._to_announce.wait()
            await connection.execute(_QUERIES["announce_due"])
            self._to_announce.clear()
            await asyncio.sleep(_QUIET)
