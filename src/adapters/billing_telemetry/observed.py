"""Wrappers around ports that count and log the calls."""

import logging
import time
from datetime import timedelta

import structlog

from billing_core.errors import BillingError
from billing_core.events import ProviderEvent, Receipt
from billing_core.inbox.ports import EventInbox
from billing_telemetry.metrics import Metrics

log = structlog.get_logger()


class ObservedEventInbox:
    """An EventInbox that counts webhooks by type and result, and logs each: at debug level, if it was stored."""

    def __init__(self, inner: EventInbox, metrics: Metrics) -> None:
        self._inner = inner
        self._metrics = metrics

    async def record(self, event: ProviderEvent, *, lease: timedelta | None = None) -> Receipt:
        """See EventInbox."""
        started = time.perf_counter()
        try:
            receipt = await self._inner.record(event, lease=lease)
        except BillingError as exc:
            self._note(logging.WARNING, event, exc.code, started)
            raise
        self._note(logging.DEBUG, event, receipt.status.value, started)
        return receipt

    def _note(self, level: int, event: ProviderEvent, outcome: str, started: float) -> None:
        seconds = time.perf_counter() - started
        self._metrics.webhook_stored(event, outcome, seconds=seconds)
        if log.is_enabled_for(level):  # a log call costs more than the rest
            log.log(
                level,
                "webhook.received",
                event_id=event.event_id,
                event_type=event.type,
                outcome=outcome,
                seconds=round(seconds, 6),
            )
