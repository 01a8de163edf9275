"""The gate in front of Stripe: calls wait here, in order, until the limits have room for them."""

import asyncio
import contextlib
import itertools
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final

from billing_core.errors import EventBusUnavailableError
from billing_core.operations.call_limits import CallRefusal, Priority
from billing_core.operations.ports import CallLimiter

_AWAY: Final = 5.0
"""Seconds before a shared limiter that did not answer is asked again."""


class FallbackCallLimiter:
    """A `CallLimiter` that counts with all processes, and by this process's own share while they cannot be asked."""

    def __init__(
        self, shared: CallLimiter, share: CallLimiter, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._shared = shared
        self._share = share
        self._monotonic = monotonic
        self._away_until = 0.0

    async def enter(self, call: str, endpoint: str, priority: Priority) -> CallRefusal | None:
        """Count one more call, or refuse it."""
        if self._monotonic() >= self._away_until:
            with self._noting_failures():
                return await self._shared.enter(call, endpoint, priority)
        return await self._share.enter(call, endpoint, priority)

    async def leave(self, call: str, endpoint: str) -> None:
        """Stop counting a call, wherever it was counted."""
        await self._share.leave(call, endpoint)
        if self._monotonic() >= self._away_until:
            with self._noting_failures():
                await self._shared.leave(call, endpoint)

    async def slow_down(self, endpoint: str | None) -> None:
        """Halve limits for a while, here at least."""
        await self._share.slow_down(endpoint)
        if self._monotonic() >= self._away_until:
            with self._noting_failures():
                await self._shared.slow_down(endpoint)

    @contextlib.contextmanager
    def _noting_failures(self) -> Iterator[None]:
        try:
            yield
        except EventBusUnavailableError:
            self._away_until = self._monotonic() + _AWAY


class CallGate:
    """Lets calls through one after the other. Waiting calls to one endpoint stand in two lines, one per priority."""

    def __init__(self, limiter: CallLimiter) -> None:
        self._limiter = limiter
        self._names = (f"{process}-{number}" for process in [secrets.token_hex(8)] for number in itertools.count())
        self._lines: dict[tuple[str, Priority], asyncio.Lock] = {}
        self._departures: dict[str, asyncio.Event] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self.in_flight = 0

    @asynccontextmanager
    async def passed(
        self, endpoint: str, priority: Priority, waited: Callable[[CallRefusal], None]
    ) -> AsyncIterator[None]:
        """Wait until the limits have room for a call, and count it in flight until the end of the block.

        `waited` receives every refusal that made it wait.
        """
        name = next(self._names)
        try:
            await self._enter(name, endpoint, priority, waited)
            self.in_flight += 1
            try:
                yield
            finally:
                self.in_flight -= 1
        finally:
            self._leave(name, endpoint)

    async def slow_down(self, endpoint: str | None) -> None:
        """Halve the limits of an endpoint, or of all, for a while."""
        await self._limiter.slow_down(endpoint)

    async def close(self) -> None:
        """Wait for calls that ended just now to be counted out."""
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _enter(self, name: str, endpoint: str, priority: Priority, waited: Callable[[CallRefusal], None]) -> None:
        async with self._lines.setdefault((endpoint, priority), asyncio.Lock()):
            while (refusal := await self._limiter.enter(name, endpoint, priority)) is not None:
                waited(refusal)
                await self._pause(endpoint, refusal)

    async def _pause(self, endpoint: str, refusal: CallRefusal) -> None:
        """Wait as long as the refusal says, or until a call of this process to the endpoint has ended."""
        departure = self._departures.setdefault(endpoint, asyncio.Event())
        departure.clear()
        seconds = refusal.retry_after.total_seconds() * random.uniform(1, 1.25)  # noqa: S311 - spreads load
        if refusal.limit != "in_flight":
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await departure.wait()

    def _leave(self, name: str, endpoint: str) -> None:
        """Count a call out without making its caller wait for that."""
        task = asyncio.get_running_loop().create_task(self._count_out(name, endpoint))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _count_out(self, name: str, endpoint: str) -> None:
        await self._limiter.leave(name, endpoint)
        if endpoint in self._departures:
            self._departures[endpoint].set()
