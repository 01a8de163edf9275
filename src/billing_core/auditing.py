"""Auditing: what should hold for every tenant and is not enforced is looked at now and then, and reported."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import attrs

from billing_core.model import DuplicateSubscriptions
from billing_core.ports import BillingRepository
from billing_core.rounds import Rounds


@attrs.frozen(kw_only=True)
class AuditReport:
    """What one audit found; handed to observers also when it found nothing."""

    duplicates: Sequence[DuplicateSubscriptions]


class Auditor(Rounds[AuditReport]):
    """Audits every so often."""

    def __init__(
        self, *, repository: BillingRepository, every: timedelta, observe: Callable[[AuditReport], None]
    ) -> None:
        super().__init__(every=every, observe=observe)
        self._repository = repository

    async def look(self) -> AuditReport:
        """Audit once."""
        return AuditReport(duplicates=await self._repository.duplicate_subscriptions())
