"""Auditing: what should hold for every tenant and is not enforced is looked at now and then, and reported."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta

import attrs

from billing_core.errors import StoreUnavailableError
from billing_core.model import DuplicateSubscriptions
from billing_core.ports import BillingRepository


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
        while not self._stopping.is_set():
            with contextlib.suppress(StoreUnavailableError):
                self._observe(await self.audit())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._every.total_seconds())

    def stop(self) -> None:
        """Ask `run` to end."""
        self._stopping.set()

    async def audit(self) -> AuditReport:
        """Look once."""
        return AuditReport(duplicates=await self._repository.duplicate_subscriptions())
