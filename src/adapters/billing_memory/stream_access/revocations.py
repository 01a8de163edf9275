"""Revoked tokens inside one process."""

from collections.abc import Sequence
from operator import itemgetter

from billing_core.state.ports import Clock
from billing_core.stream_access.ports import Revocation
from billing_memory.database import MemoryDatabase


class MemoryRevocations:
    """A `Revocations` for one process."""

    def __init__(self, database: MemoryDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def revoke(self, revocation: Revocation) -> None:
        """Store a revocation; of two with the same subject the later instants are kept."""
        self._database.revoke(revocation)

    async def current(self) -> Sequence[Revocation]:
        """Return the revocations that still matter, by subject and name."""
        now, known = self._clock.now(), self._database.revocations
        return [each for _, each in sorted(known.items(), key=itemgetter(0)) if each.kept_until > now]
