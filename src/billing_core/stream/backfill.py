"""Backfill: after the bus lost its content, one process restores each tenant's newest messages from the history."""

import asyncio
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import attrs

from billing_core.errors import EventBusUnavailableError, StoreUnavailableError
from billing_core.model import TenantId
from billing_core.stream.ports import BackfillableBus, BackfillClaim, Outbox


@attrs.frozen(kw_only=True)
class BackfillPolicy:
    """How much is restored, and in which steps."""

    newest: int
    """Messages of each tenant."""
    batch: int = 500
    lease: timedelta = timedelta(seconds=30)
    """Renewed after each batch. When it runs out, another process may start over."""


@attrs.frozen(kw_only=True)
class BackfillReport:
    """The result of a backfill."""

    claim: BackfillClaim
    """OURS if this process did the work, DONE if another had."""
    tenants: int = 0
    messages: int = 0


class Backfiller:
    """Restores the bus once.

    Messages that are still in the outbox are left to the publisher, which also announces them to followers.
    """

    def __init__(
        self, *, outbox: Outbox, bus: BackfillableBus, policy: BackfillPolicy, observe: Callable[[BackfillReport], None]
    ) -> None:
        self._outbox = outbox
        self._bus = bus
        self._policy = policy
        self._observe = observe
        self._name: Final = secrets.token_hex(8)

    async def run(self) -> None:
        """Return once the bus is filled, by this process or another. Retries while bus or store are unavailable."""
        while True:
            try:
                report = await self.backfill()
            except (EventBusUnavailableError, StoreUnavailableError):
                report = None
            if report is not None and report.claim is not BackfillClaim.OTHERS:
                self._observe(report)
                return
            await asyncio.sleep(self._policy.lease.total_seconds() / 3)

    async def backfill(self) -> BackfillReport:
        """Fill the bus if this process gets the claim. Raises EventBusUnavailableError, StoreUnavailableError."""
        claim = await self._claim()
        if claim is not BackfillClaim.OURS:
            return BackfillReport(claim=claim)
        tenants, messages, last = 0, 0, (TenantId(""), 0)
        while events := await self._outbox.history(after=last, newest=self._policy.newest, limit=self._policy.batch):
            await self._bus.append(events, announced=False)
            tenants += len({event.tenant_id for event in events} - {last[0]})
            messages += len(events)
            last = (events[-1].tenant_id, events[-1].sequence)
            if await self._claim() is not BackfillClaim.OURS:  # our lease ran out, and another process started over
                return BackfillReport(claim=BackfillClaim.OTHERS)
        await self._bus.finish_backfill()
        return BackfillReport(claim=BackfillClaim.OURS, tenants=tenants, messages=messages)

    async def _claim(self) -> BackfillClaim:
        return await self._bus.claim_backfill(self._name, lease=self._policy.lease)
