"""Invariants: what must hold of the stored rows, whatever happened.

The code keeps these by its transactions. A violation therefore means a bug, a damaged disk or somebody's SQL, and is an
alarm of its own, apart from the gauges of what waits.
"""

from datetime import timedelta
from enum import Enum
from typing import Final

import attrs

LEASE_OVERDUE: Final = timedelta(minutes=5)
"""How long ago a lease may have run out: by then somebody should have claimed the event."""
PUBLISHING_OVERDUE: Final = timedelta(minutes=1)
"""How long a message may wait for the bus, and an event on a customer that has a tenant."""


class Invariant(Enum):
    """What must hold. A closed set: the values are metric labels."""

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
        """The sentence that must be true."""
        return _MEANINGS[self][0]

    @property
    def remedy(self) -> str:
        """What to do when it is not."""
        return _MEANINGS[self][1]


_BUG: Final = "Nothing here writes that: look for SQL run by hand or a restored backup, then report a bug."
_MEANINGS: Final = {
    Invariant.COUNTER: ("A tenant's counter is the number of its last message.", _BUG),
    Invariant.GAPLESS: ("A tenant's messages are numbered without a gap.", _BUG),
    Invariant.OUTCOME: ("Every finished event says what became of it, and why.", _BUG),
    Invariant.MESSAGE: ("The message that an event caused is in its tenant's history.", _BUG),
    Invariant.LEASE: (
        "No lease has been over for more than five minutes without somebody taking the event.",
        "No worker is claiming: start `billing worker`, or see why the running ones do not reach the database.",
    ),
    Invariant.PUBLISHED: (
        "No message has waited for the bus for more than a minute.",
        "See whether Redis answers and whether a server or worker runs; streams are served from Postgres meanwhile.",
    ),
    Invariant.OUTBOX: ("Every message in the outbox is in the history.", _BUG),
    Invariant.PARKED: (
        "No event waits for a customer that has had a tenant for more than a minute.",
        "No worker is looking: start `billing worker`; it lets them go within seconds.",
    ),
}


@attrs.frozen(kw_only=True)
class Violation:
    """Rows of which an invariant does not hold."""

    invariant: Invariant
    count: int
    examples: tuple[str, ...]
    """Some of them: ids of tenants, `tenant#number` of messages, ids of events."""
