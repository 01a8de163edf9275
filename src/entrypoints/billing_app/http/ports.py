"""What the HTTP surface tells whoever counts. Tenant and event ids are never part of it: label values are few."""

from typing import Protocol


class HttpMetrics(Protocol):
    """Observes the server; no call blocks or fails."""

    def webhook_refused(self, reason: str) -> None:
        """A webhook was answered without being stored; `reason` is from a closed set."""
        ...

    def streams_open(self, count: int) -> None:
        """How many streams this process serves right now."""
        ...

    def stream_ended(self, reason: str) -> None:
        """A stream ended or was refused; `reason` is from a closed set."""
        ...

    def stream_delivered(self, source: str, count: int) -> None:
        """Messages went out to clients: `live` from the bus as they came, `log` or `history` to catch up."""
        ...

    def stream_admitted(self, result: str) -> None:
        """A tenant's quota was asked: `admitted`, the limit that was reached, or `unavailable` and let in."""
        ...

    def stream_bus_lost(self) -> None:
        """The bus stopped answering; streams go on, served from the history."""
        ...

    def render(self) -> tuple[bytes, str]:
        """Everything counted so far, and its content type."""
        ...
