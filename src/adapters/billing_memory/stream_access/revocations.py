"""Revoked tokens inside one process."""

from collections.abc import Sequence
from datetime import timedelta
from operator import itemgetter

import attrs

from billing_core.state.ports import Clock
from billing_core.stream_access.ports import Revocation

_MINUTE = timedelta(minutes=1)


class MemoryRevocations:
    """A `Revocations` for one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], Revocation] = {}

    async def revoke(self, revocation: Revocation) -> None:
        """Store a revocation; of two with the same subject the later instants are kept."""
        key = (revocation.subject, revocation.name)
        known = self._known.get(key, revocation)
        self._known[key] = attrs.evolve(
            revocation,
            revoked_at=max(known.revoked_at, revocation.revoked_at),
            kept_until=max(known.kept_until, revocation.kept_until),
        )

    async def current(self) -> Sequence[Revocation]:
        """Return the revocations that still matter, by subject and name."""
        now = self._clock.now()
        return [each for _, each in sorted(self._known.items(), key=itemgetter(0)) if each.kept_until > now]
