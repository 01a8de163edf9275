"""Watching: how much waits, looked up every few seconds for whoever draws curves and rings bells."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import attrs

from billing_core.ports import Backlog, EventStore, Outbox
from billing_core.rounds import go_rounds


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
        await go_rounds(self._report, every=self._every, stopping=self._stopping)

    def stop(self) -> None:
        """Ask `run` to end."""
        self._stopping.set()

    async def watch(self) -> WatchReport:
        """Look once."""
        return WatchReport(backlog=await self._store.backlog(), oldest_unpublished=await self._outbox.oldest())

    async def _report(self) -> None:
        self._observe(await self.watch())
