"""Wrappers around ports that count the calls."""

import time
from datetime import timedelta

from billing_core.errors import BillingError
from billing_core.events import ProviderEvent, Receipt
from billing_core.inbox.ports import EventInbox
from billing_telemetry.metrics import Metrics


class ObservedEventInbox:
    """An EventInbox that counts webhooks by type and result."""

    def __init__(self, inner: EventInbox, metrics: Metrics) -> None:
        self._inner = inner
        self._metrics = metrics

    async def record(self, event: ProviderEvent, *, lease: timedelta | None = None) -> Receipt:
        """See EventInbox."""
        started = time.perf_counter()
        try:
            receipt = await self._inner.record(event, lease=lease)
        except BillingError as exc:
            self._metrics.webhook_stored(event, exc.code, seconds=time.perf_counter() - started)
            raise
        self._metrics.webhook_stored(event, receipt.status.value, seconds=time.perf_counter() - started)
        return receipt
