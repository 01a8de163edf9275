"""Watching: how much waits, looked up every few seconds for whoever draws curves and rings bells."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta

import attrs

from billing_core.errors import StoreUnavailableError
from billing_core.ports import Backlog, EventStore, Outbox


@attrs.frozen(kw_only=True)
class WatchReport:
    """What waits at one moment."""

    backlog: Backlog
    oldest_unpublished: timedelta


class Watcher:
    """Looks every so often until stopped."""

    def __init__(
        self, *, store: EventStore, outbox: Outbox, every: timedelta, observe: Callable[[WatchReport], None]
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._every = every
        self._observe = observe
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Look until stopped; while the store is away there is nothing to say."""
        while not self._stopping.is_set():
            with contextlib.suppress(StoreUnavailableError):
                self._observe(await self.watch())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._every.total_seconds())

    def stop(self) -> None:
        """Ask `run` to end."""
        self._stopping.set()

    async def watch(self) -> WatchReport:
        """Look once."""
        return WatchReport(backlog=await self._store.backlog(), oldest_unpublished=await self._outbox.oldest())
