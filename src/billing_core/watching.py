"""Watching: how much waits, looked up every few seconds for whoever draws curves and rings bells."""

from collections.abc import Callable
from datetime import timedelta

import attrs

from billing_core.ports import Backlog, EventStore, Outbox
from billing_core.rounds import Rounds


@attrs.frozen(kw_only=True)
class WatchReport:
    """What waits at one moment."""

    backlog: Backlog
    oldest_unpublished: timedelta


class Watcher(Rounds[WatchReport]):
    """Looks every so often at what waits."""

    def __init__(
        self, *, store: EventStore, outbox: Outbox, every: timedelta, observe: Callable[[WatchReport], None]
    ) -> None:
        super().__init__(every=every, observe=observe)
        self._store = store
        self._outbox = outbox

    async def look(self) -> WatchReport:
        """Look once."""
        return WatchReport(backlog=await self._store.backlog(), oldest_unpublished=await self._outbox.oldest())
