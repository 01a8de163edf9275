"""What a run shows while it goes on and reports when it is over."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs

from billing_demo.delivery import Tally

SHOWN_DIFFERENCES = 50


@attrs.frozen(kw_only=True)
class Figures:
    """One moment of a run."""

    tally: Tally
    played_until: datetime | None
    """How far the tenants' lives have been told."""
    applied: int
    """Events that the server has worked into the tenants' state."""
    messages: int
    """Seen by the stream clients, all tenants together."""
    listeners: int
    violations: int
    statuses: Counter[str]
    """Of the tenants' subscriptions, as the stream told them last."""
    backlog_seconds: float | None
    """Age of the oldest event that is not processed yet; None while the server does not say."""
    unpublished_seconds: float | None
    """Age of the oldest message that is not on the bus yet."""
    restarts: int
    seconds: float


@attrs.frozen(kw_only=True)
class Summary:
    """How a finite run ended."""

    seed: str
    events: int
    tenants: int
    posted: int
    accepted: int
    duplicates: int
    failed: int
    applied: int
    messages: int
    restarts: int
    settle_seconds: float
    seconds: float
    differences: Sequence[str]

    @property
    def right(self) -> bool:
        """Whether everything is as it must be."""
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON: counts first, then what was wrong, as far as anyone would read."""
        return {
            "seed": self.seed,
            "events": self.events,
            "tenants": self.tenants,
            "posted": self.posted,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "failed": self.failed,
            "applied": self.applied,
            "messages": self.messages,
            "restarts": self.restarts,
            "seconds": round(self.seconds, 2),
            "settle_seconds": round(self.settle_seconds, 2),
            "events_per_second": round(self.events / self.seconds, 1) if self.seconds else 0.0,
            "differences": len(self.differences),
            "first_differences": list(self.differences[:SHOWN_DIFFERENCES]),
        }
