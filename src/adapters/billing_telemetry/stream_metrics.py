"""Metrics of messages: numbered, published, delivered to streams."""

from typing import Final

from billing_core.oversight.delays import DELAY_BOUNDS
from billing_core.stream.publisher import PublishingReport
from billing_telemetry.declaring import Declarations, Label

_EVENTS: Final = (
    ("dispatch", "numbered"),
    *(("publisher", result) for result in ("published", "backfilled", "failed")),
    *((source, "delivered") for source in ("live", "log", "history")),
)
_ENDS: Final = ("client_left", "stalled", "max_life", "token_expired", "revoked", "shutdown", "refused")
_ADMISSIONS: Final = ("admitted", "rate", "concurrent", "unavailable")


class StreamMetrics:
    """Counts messages and streams."""

    def __init__(self, declare: Declarations) -> None:
        sources, results = (tuple(dict.fromkeys(values)) for values in zip(*_EVENTS, strict=True))
        self._stream_events = declare.counter(
            "stripe_billing_stream_events_total",
            "Billing messages by source and result: numbered by dispatch; published, backfilled (sent again because "
            "the bus had lost them) or failed; and delivered to streams, live from the bus, from its log or the "
            "history.",
            Label("source", sources),
            Label("result", results),
            born=_EVENTS,
        )
        self.publishing = declare.histogram(
            "billing_applied_to_published_seconds",
            "From the commit of a message to the bus having it.",
            buckets=DELAY_BOUNDS,
        )
        self.delivering = declare.histogram(
            "billing_published_to_delivered_seconds",
            "From the bus having a message to the write to an open stream that keeps up, once for each stream. By this "
            "process's clock, whose difference from the bus's is known.",
            buckets=DELAY_BOUNDS,
        )
        self._open_streams = declare.value("stripe_billing_stream_connections", "Open streams.")
        self._ended_streams = declare.counter(
            "stripe_billing_stream_ended_total",
            "Streams that ended or were refused, by reason.",
            Label("reason", _ENDS),
        )
        self._admissions = declare.counter(
            "stripe_billing_stream_admissions_total",
            "Stream admission decisions: the limit that was reached, or `unavailable`, which admits, too.",
            Label("result", _ADMISSIONS),
        )
        self._bus_losses = declare.total(
            "stripe_billing_stream_bus_lost_total", "Times that the bus became unavailable."
        )

    def numbered(self, count: int) -> None:
        """Count messages that were committed by dispatch."""
        if count:
            self._stream_events("dispatch", "numbered").inc(count)

    def published(self, report: PublishingReport) -> None:
        """Count and time the messages of one publishing pass."""
        for result, count in (
            ("published", report.published),
            ("backfilled", report.backfilled),
            ("failed", report.failed),
        ):
            if count:
                self._stream_events("publisher", result).inc(count)
        for seconds, count in report.waits.items():
            self.publishing.observe(seconds, times=count)

    def streams_open(self, count: int) -> None:
        """Set the number of open streams."""
        self._open_streams.set(count)

    def stream_ended(self, reason: str) -> None:
        """Count a stream that ended or was refused."""
        self._ended_streams(reason).inc()

    def stream_delivered(self, source: str, count: int, *, seconds: float | None = None) -> None:
        """Count messages sent to clients, by source: the bus (`live`), its log, or the history."""
        self._stream_events(source, "delivered").inc(count)
        if seconds is not None:
            self.delivering.observe(seconds, times=count)

    def stream_admitted(self, result: str) -> None:
        """Count a stream admission decision."""
        self._admissions(result).inc()

    def stream_bus_lost(self) -> None:
        """Count a loss of the bus."""
        self._bus_losses.inc()
