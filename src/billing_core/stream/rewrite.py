"""Replace the logs of the bus from which messages were withdrawn."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import attrs

from billing_core.errors import EventBusUnavailableError
from billing_core.events import BillingEvent
from billing_core.periodic import Periodic
from billing_core.stream.ports import EventBus, LogRewrite, LogRewrites, Outbox


@attrs.frozen(kw_only=True)
class RewriteReport:
    """The result of one search for logs that have to be replaced."""

    replaced: int
    failed: int
    """Logs whose part of the bus was unavailable; the next search finds them again."""


class LogRewriter(Periodic[RewriteReport]):
    """Puts the newest published messages of the history in place of a whole log, in one step.

    Until then readers pass the log over. Older messages are read from the history from then on. Several processes may
    do the same at the same time.
    """

    def __init__(
        self,
        *,
        rewrites: LogRewrites,
        outbox: Outbox,
        bus: EventBus,
        newest: int,
        every: timedelta,
        observe: Callable[[RewriteReport], None],
    ) -> None:
        """`newest`: how many messages of a tenant a log holds afterwards at most."""
        super().__init__(every=every, observe=observe)
        self._rewrites = rewrites
        self._outbox = outbox
        self._bus = bus
        self._newest = newest

    async def run_once(self) -> RewriteReport:
        """Replace every log that can be replaced now."""
        replaced = failed = 0
        for rewrite in await self._rewrites.pending():
            try:
                await self._replace(rewrite)
            except EventBusUnavailableError:
                failed += 1
            else:
                replaced += 1
        return RewriteReport(replaced=replaced, failed=failed)

    async def _replace(self, rewrite: LogRewrite) -> None:
        found = await self._outbox.history(after=(rewrite.tenant_id, 0), newest=self._newest, limit=self._newest)
        await self._bus.replace(rewrite.tenant_id, _last_run([e for e in found if e.tenant_id == rewrite.tenant_id]))
        await self._rewrites.finish(rewrite)


def _last_run(events: Sequence[BillingEvent]) -> Sequence[BillingEvent]:
    """Return the last messages that have no gap between them: one whose publication is not noted yet leaves a gap."""
    start = len(events) - 1
    while start > 0 and events[start - 1].sequence == events[start].sequence - 1:
        start -= 1
    return events[max(start, 0) :]
