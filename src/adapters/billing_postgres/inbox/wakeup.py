"""Wakes the tasks that wait for due events: in this process at once, in the others through the database."""

import asyncio
import random
from contextlib import suppress
from datetime import timedelta
from typing import Final

import asyncpg

from billing_core.errors import StoreUnavailableError
from billing_core.waiting import wait_at_most
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
    """A hint, never a promise: a notice can be lost with its connection, so every wait has a limit of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._due = asyncio.Event()
        self._to_send = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Keep a connection for notices of the other processes, reconnecting as often as it takes."""
        self._listener = asyncio.get_running_loop().create_task(self._keep_listening())

    async def aclose(self) -> None:
        """Stop listening and close the connection."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])

    def notify(self) -> None:
        """Wake this process now and the others soon: events became due."""
        self._due.set()
        self._to_send.set()

    def clear(self) -> None:
        """Forget past notices. Call it before looking for due events, so that no later notice is lost."""
        self._due.clear()

    async def wait(self, *, at_most: timedelta) -> None:
        """Return at the next notice, at once if there was one since `clear`, and at the latest after `at_most`."""
        await wait_at_most(self._due, at_most)

    async def _keep_listening(self) -> None:
        pause = _FIRST_RETRY
        while True:
            with suppress(StoreUnavailableError, *UNAVAILABLE):
                connection = await self._database.connect()
                pause = _FIRST_RETRY
                try:
                    await self._exchange(connection)
                finally:
                    connection.terminate()
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads reconnects, no secret
            pause = min(2 * pause, _LAST_RETRY)

    async def _exchange(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Receive and send notices until the connection is lost."""
        own = connection.get_server_pid()  # a lost connection has none any more, and may still deliver a notice

        def receive(_connection: Connection, sender: int, _channel: str, _payload: object) -> None:
            if sender != own:
                self._due.set()

        def disconnected(_connection: object) -> None:
            self._to_send.set()  # ends the wait below; the notice itself goes out over the next connection

        connection.add_termination_listener(disconnected)
        await connection.add_listener(_CHANNEL, receive)
        self._due.set()  # notices sent before this connection listened were missed
        while True:
            await self._to_send.wait()
            await connection.execute(_QUERIES["notify_due"])
            self._to_send.clear()
            await asyncio.sleep(_QUIET)
