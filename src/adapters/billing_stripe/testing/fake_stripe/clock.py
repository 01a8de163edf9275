"""The account's clock: it follows the computer's, and tests move it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import attrs


def _real_time() -> datetime:
    return datetime.now(UTC)


@attrs.define
class Clock:
    """Whole seconds of UTC. Frozen if it has a start, else the real time plus what it was moved by."""

    frozen_at: datetime | None = None
    _moved: timedelta = timedelta()
    _real: Callable[[], datetime] = _real_time

    def now(self) -> datetime:
        """Return the time."""
        return (self.frozen_at or self._real().replace(microsecond=0)) + self._moved

    def move_to(self, instant: datetime) -> None:
        """Move forward to an instant. Raises ValueError for one in the past."""
        now = self.now()
        if instant < now:
            raise ValueError(f"the clock shows {now} and cannot be moved back to {instant}")
        self._moved += instant - now
