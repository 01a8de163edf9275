"""Stream tickets inside one process."""

from datetime import datetime, timedelta

from billing_core.state.ports import Clock
from billing_core.stream_access.ports import Principal

_MINUTE = timedelta(minutes=1)


class MemoryStreamTickets:
    """A `StreamTickets`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[bytes, tuple[datetime, Principal]] = {}

    async def put(self, digest: bytes, principal: Principal, *, ttl: timedelta) -> None:
        """Store a ticket."""
        now = self._clock.now()
        self._kept = {each: kept for each, kept in self._kept.items() if kept[0] > now}
        self._kept[digest] = (now + ttl, principal)

    async def take(self, digest: bytes) -> Principal | None:
        """Redeem a ticket, once."""
        until, principal = self._kept.pop(digest, (None, None))
        return None if until is None or until <= self._clock.now() else principal
