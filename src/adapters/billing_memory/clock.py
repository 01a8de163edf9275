"""The machine's clock, and one that tests turn by hand."""

from datetime import UTC, datetime, timedelta


class SystemClock:
    """Tells the machine's time."""

    def now(self) -> datetime:
        """The current instant, in UTC."""
        return datetime.now(UTC)


class ManualClock:
    """Stands still until it is told to move."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = now

    def now(self) -> datetime:
        """The instant the clock was last set to."""
        return self._now

    def advance(self, span: timedelta) -> None:
        """Let `span` pass."""
        self._now += span
