"""Invariants of the stored rows.

Transactions keep them. A violation therefore means a bug, a damaged disk or SQL run by hand, and raises an alert of its
own, separate from the backlog gauges.
"""

from datetime import timedelta
from enum import Enum
from typing import Final

import attrs

LEASE_OVERDUE: Final = timedelta(minutes=5)
"""How long ago a lease may have expired before a worker should have claimed the event."""
PUBLISHING_OVERDUE: Final = timedelta(minutes=1)
"""How long a message may wait for the bus, and an event for a customer that has a tenant."""


class Invariant(Enum):
    """A condition that must always hold. A closed set: the values are metric labels."""

    COUNTER = "counter"
    GAPLESS = "gapless"
    OUTCOME = "outcome"
    MESSAGE = "message"
    LEASE = "lease"
    PUBLISHED = "published"
    OUTBOX = "outbox"
    PARKED = "parked"

    @property
    def meaning(self) -> str:
        """The condition as a sentence."""
        return _MEANINGS[self][0]

    @property
    def remedy(self) -> str:
        """The action that an operator takes on a violation."""
        return _MEANINGS[self][1]


_BUG: Final = (
    "The application never writes this. Look for SQL run by hand or an incomplete restore; otherwise report a bug."
)
_MEANINGS: Final = {
    Invariant.COUNTER: ("Each tenant's counter equals the number of its last message.", _BUG),
    Invariant.GAPLESS: ("Each tenant's messages are numbered without gaps.", _BUG),
    Invariant.OUTCOME: ("Every applied event has an effect; every ignored, parked or dead event has a reason.", _BUG),
    Invariant.MESSAGE: ("Every message caused by an event is in its tenant's history.", _BUG),
    Invariant.LEASE: (
        "No event has an expired lease for more than five minutes.",
        "No worker is claiming events. Start `billing worker`, or check that running workers reach the database.",
    ),
    Invariant.PUBLISHED: (
        "No message waits for the bus for more than a minute.",
        "Check that Redis answers and that a server or worker runs. Until then streams are served from Postgres.",
    ),
    Invariant.OUTBOX: ("Every message in the outbox is in its tenant's history.", _BUG),
    Invariant.PARKED: (
        "No event waits for a customer that has had a tenant for more than a minute.",
        "No worker is looking for them. Start `billing worker`; it processes them within seconds.",
    ),
}


@attrs.frozen(kw_only=True)
class Violation:
    """Rows that violate an invariant."""

    invariant: Invariant
    count: int
    examples: tuple[str, ...]
    """Some of the rows: tenant ids, messages as `tenant#number`, or event ids."""
