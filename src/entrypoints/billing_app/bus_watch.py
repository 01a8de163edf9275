"""Whether the bus takes writes: a small one every second shows what a ping does not.

A server that is full, a replica, or one that cannot write its append-only file answers pings and reads.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Protocol, runtime_checkable

from billing_app.dependencies import Dependency
from billing_core.errors import EventBusUnavailableError

_WRITES: Final = "write"


@runtime_checkable
class WritableBus(Protocol):
    """A bus whose servers can be asked to take a write."""

    async def beat(self) -> float:
        """Write something small and short-lived on every node. Raises EventBusUnavailableError.

        Returns: how many seconds the clock of this process is ahead of the bus's, by the node that differs most.
        """
        ...


def _do_nothing(_ahead: float) -> None:
    """Nothing depends on it."""


class BusWatch:
    """Writes to the bus at an interval, so that a process knows that publishing fails before it has a message."""

    def __init__(
        self, bus: object, dependency: Dependency, *, every: timedelta, compared: Callable[[float], None] = _do_nothing
    ) -> None:
        """Watch a bus; one that cannot be asked, such as one in memory, takes every write.

        `compared` is called with how many seconds the clock of this process is ahead of the bus's.
        """
        self._bus = bus if isinstance(bus, WritableBus) else None
        self._dependency = dependency
        self._every = every.total_seconds()
        self._compared = compared

    @property
    def watches(self) -> bool:
        """Whether there is a bus that could be away."""
        return self._bus is not None

    async def run(self) -> None:
        """Write until cancelled."""
        while self._bus is not None:
            with contextlib.suppress(EventBusUnavailableError):
                await self._write(self._bus)
            await asyncio.sleep(self._every)

    async def check(self) -> None:
        """Return if the bus takes a write now, and no message was refused lately. Raises EventBusUnavailableError."""
        if self._bus is not None:
            await self._write(self._bus)
        if self._dependency.error is not None:
            raise EventBusUnavailableError(self._dependency.error)

    async def _write(self, bus: WritableBus) -> None:
        try:
            ahead = await bus.beat()
        except EventBusUnavailableError as exc:
            self._dependency.failed(_WRITES, exc)
            raise
        self._dependency.succeeded(_WRITES)
        self._compared(ahead)
