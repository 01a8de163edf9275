"""Ports that count what goes through them: the same shape around the real thing."""

from datetime import timedelta

from billing_core.errors import BillingError
from billing_core.events import ProviderEvent, Receipt
from billing_core.ports import EventStore
from billing_telemetry.metrics import Metrics


class ObservedEventStore:
    """An EventStore that counts webhooks by type and result; everything else is passed on."""

    def __init__(self, inner: EventStore, metrics: Metrics) -> None:
        self._inner = inner
        self._metrics = metrics
        self.claim = inner.claim
        self.retry = inner.retry
        self.bury = inner.bury
        self.release = inner.release
        self.unpark = inner.unpark
        self.known = inner.known
        self.wait = inner.wait
        self.backlog = inner.backlog

    async def record(self, event: ProviderEvent, *, lease: timedelta | None = None) -> Receipt:
        """See EventStore."""
        try:
            receipt = await self._inner.record(event, lease=lease)
        except BillingError as exc:
            self._metrics.webhook_stored(event.type, exc.code)
            raise
        self._metrics.webhook_stored(event.type, receipt.status.value)
        return receipt
