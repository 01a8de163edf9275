"""Refilling: an empty bus gets each tenant's newest messages back from the history, from one process out of many."""

import asyncio
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import attrs

from billing_core.errors import EventBusUnavailableError, StoreUnavailableError
from billing_core.model import TenantId
from billing_core.stream.ports import BackfillableBus, BackfillTurn, Outbox


@attrs.frozen(kw_only=True)
class BackfillPolicy:
    """How the bus is filled."""

    newest: int
    """Messages of each tenant."""
    batch: int = 500
    lease: timedelta = timedelta(seconds=30)


@attrs.frozen(kw_only=True)
class BackfillReport:
    """What filling came to."""

    turn: BackfillTurn
    """OURS when it was done here, DONE when it had been done."""
    tenants: int = 0
    messages: int = 0


class Backfiller:
    """Fills the bus once. Messages that wait in the outbox are left to whoever publishes them, and announces them."""

    def __init__(
        self, *, outbox: Outbox, bus: BackfillableBus, policy: BackfillPolicy, observe: Callable[[BackfillReport], None]
    ) -> None:
        self._outbox = outbox
        self._bus = bus
        self._policy = policy
        self._observe = observe
        self._name: Final = secrets.token_hex(8)

    async def run(self) -> None:
        """Return when the bus is full, whoever filled it. Bus and store may go away and come back meanwhile."""
        while True:
            try:
                report = await self.backfill()
            except (EventBusUnavailableError, StoreUnavailableError):
                report = None
            if report is not None and report.turn is not BackfillTurn.OTHERS:
                self._observe(report)
                return
            await asyncio.sleep(self._policy.lease.total_seconds() / 3)

    async def backfill(self) -> BackfillReport:
        """Fill the bus if it is our turn. Raises EventBusUnavailableError, StoreUnavailableError."""
        turn = await self._claim()
        if turn is not BackfillTurn.OURS:
            return BackfillReport(turn=turn)
        tenants, messages, last = 0, 0, (TenantId(""), 0)
        while events := await self._outbox.history(after=last, newest=self._policy.newest, limit=self._policy.batch):
            await self._bus.append(events, announced=False)
            tenants += len({event.tenant_id for event in events} - {last[0]})
            messages += len(events)
            last = (events[-1].tenant_id, events[-1].sequence)
            if await self._claim() is not BackfillTurn.OURS:  # we were too slow, and somebody else began anew
                return BackfillReport(turn=BackfillTurn.OTHERS)
        await self._bus.finish_backfill()
        return BackfillReport(turn=BackfillTurn.OURS, tenants=tenants, messages=messages)

    async def _claim(self) -> BackfillTurn:
        return await self._bus.claim_backfill(self._name, lease=self._policy.lease)
