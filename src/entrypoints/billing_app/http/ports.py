"""Ports of the HTTP surface: the metrics it keeps. Label values are closed sets; no tenant or event id is one."""

from typing import Protocol, runtime_checkable

from billing_core.errors import SignatureFault


@runtime_checkable
class WebhookMetrics(Protocol):
    """Counts webhooks; no call blocks or fails."""

    def webhook_refused(self, reason: str, *, fault: SignatureFault | None = None, size: int | None = None) -> None:
        """Count a webhook that was answered without being stored; `size` is that of its body in bytes, if known."""
        ...

    def webhook_answered(self, status: int, seconds: float) -> None:
        """Count and time an answer, whatever it was."""
        ...


@runtime_checkable
class StreamMetrics(Protocol):
    """Counts streams and what they deliver; no call blocks or fails."""

    def streams_open(self, count: int) -> None:
        """Set how many streams this process serves now."""
        ...

    def stream_ended(self, reason: str) -> None:
        """Count a stream that ended or was refused."""
        ...

    def stream_delivered(self, source: str, count: int, *, seconds: float | None = None) -> None:
        """Count messages sent to clients: `live` from the bus as they came, `log` or `history` to catch up.

        `seconds` is how long the bus had a live message before, if that is known.
        """
        ...

    def stream_admitted(self, result: str) -> None:
        """Count a quota's answer: `admitted`, the limit that was reached, or `unavailable`, which admits, too."""
        ...

    def stream_bus_lost(self) -> None:
        """Count that the bus stopped answering; streams are then served from the history."""
        ...


@runtime_checkable
class HttpMetrics(WebhookMetrics, StreamMetrics, Protocol):
    """Everything that the HTTP surface counts, and the page that shows it."""

    def render(self) -> tuple[bytes, str]:
        """Return all metrics of this process, and their content type."""
        ...
