"""Auditing: what should hold for every tenant and is not enforced is looked at now and then, and reported."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import attrs

from billing_core.model import DuplicateSubscriptions
from billing_core.ports import BillingRepository
from billing_core.rounds import go_rounds


@attrs.frozen(kw_only=True)
class AuditReport:
    """What one audit found; handed to observers also when it found nothing."""

    duplicates: Sequence[DuplicateSubscriptions]


class Auditor:
    """Audits every so often until stopped."""

    def __init__(
        self, *, repository: BillingRepository, every: timedelta, observe: Callable[[AuditReport], None]
    ) -> None:
        self._repository = repository
        self._every = every
        self._observe = observe
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Audit until stopped; while the store is away there is nothing to say."""
        await go_rounds(self._report, every=self._every, stopping=self._stopping)

    def stop(self) -> None:
        """Ask `run` to end."""
        self._stopping.set()

    async def audit(self) -> AuditReport:
        """Look once."""
        return AuditReport(duplicates=await self._repository.duplicate_subscriptions())

    async def _report(self) -> None:
        self._observe(await self.audit())
