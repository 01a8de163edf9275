"""The figures that a run shows while it is running, and the summary at its end."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs

from billing_demo.delivery import DeliveryCounts

SHOWN_DIFFERENCES = 50


@attrs.frozen(kw_only=True)
class Progress:
    """The figures of a run at one moment."""

    deliveries: DeliveryCounts
    simulated_until: datetime | None
    """Date that the simulation has reached."""
    applied: int
    """Events that the server has applied."""
    messages: int
    """Messages received by the stream clients of all tenants."""
    clients: int
    violations: int
    statuses: Counter[str]
    """Tenants by status of their subscription, according to the stream."""
    backlog_seconds: float | None
    """Age of the oldest event that is not processed yet; None while the server is unavailable."""
    unpublished_seconds: float | None
    """Age of the oldest message that is not on the bus yet."""
    restarts: int
    seconds: float


@attrs.frozen(kw_only=True)
class Summary:
    """The result of a finite run."""

    seed: str
    tenant_id: str
    """One of the tenants, to look at."""
    compared: bool = True
    """Whether the state was compared with what was played; otherwise the run was stopped before."""
    events: int
    tenants: int
    posted: int
    accepted: int
    duplicates: int
    failed: int
    applied: int
    messages: int
    operations: int
    """Operations that the customer of the demo asked for through the API."""
    restarts: int
    settle_seconds: float
    seconds: float
    differences: Sequence[str]

    @property
    def passed(self) -> bool:
        """Whether actual and expected state agree."""
        return self.compared and not self.differences

    def to_json(self) -> dict[str, Any]:
        """Return the summary for JSON, with the number of differences and the first of them."""
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
            "operations": self.operations,
            "restarts": self.restarts,
            "seconds": round(self.seconds, 2),
            "settle_seconds": round(self.settle_seconds, 2),
            "events_per_second": round(self.events / self.seconds, 1) if self.seconds else 0.0,
            "differences": len(self.differences),
            "first_differences": list(self.differences[:SHOWN_DIFFERENCES]),
        }
