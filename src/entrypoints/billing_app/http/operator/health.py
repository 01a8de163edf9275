"""The bodies of answers about the whole."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import attrs

from billing_app.http.operator.answers import seconds
from billing_core.oversight.ports import Backlog

Stage = Literal["received", "stored", "applied", "published", "delivered"]


@attrs.frozen(kw_only=True)
class Headline:
    """Counts: the first three of the window, the others of now."""

    events: int
    applied: int
    ignored: int
    due: int
    parked: int
    dead: int
    violations: int
    workers: int
    """Processes that process events and were heard of in the last minute."""


@attrs.frozen(kw_only=True)
class StageAnswer:
    """One stage on the way of an event. Null is what is not known here."""

    name: Stage
    count: int
    """In the window; deliveries are counted by the minute, once for each stream."""
    rate: float
    """Per second, on average over the window."""
    peak: float | None = None
    """Per second, in the busiest step."""
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    """The delay that it adds: of `received` since Stripe made the event, of `applied` since its receipt.

    All but that of `received` are interpolated in the sum of the histograms of all processes.
    """
    waiting: int | None = None
    oldest_seconds: float | None = None
    details: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class LatencyAnswer:
    """The time from the receipt of a webhook to the write to open streams: the percentiles of its stages, added up.

    Both are null if no event was processed in the window. A stage without delays adds nothing: no message was
    published, or no stream was open.
    """

    target_seconds: float
    """The time that 95 of 100 changes should take at most."""
    p50_seconds: float | None
    p95_seconds: float | None


@attrs.frozen(kw_only=True)
class DeadGroup:
    """Dead events of one reason."""

    reason: str
    count: int
    oldest_seconds: float


def dead_groups(backlog: Backlog) -> tuple[DeadGroup, ...]:
    """Return the dead events by reason, the most frequent first."""
    counts = sorted(backlog.dead.items(), key=lambda each: (-each[1], each[0]))
    return tuple(
        DeadGroup(reason=reason, count=count, oldest_seconds=seconds(backlog.oldest_dead.get(reason, timedelta(0))))
        for reason, count in counts
    )


@attrs.frozen(kw_only=True)
class StandingAnswer:
    """A dependency, as this server finds it by its own use."""

    state: Literal["reachable", "unavailable", "not_used"]
    error: str | None


@attrs.frozen(kw_only=True)
class ViolationAnswer:
    """Rows that violate an invariant."""

    invariant: str
    meaning: str
    remedy: str
    count: int
    examples: tuple[str, ...]


@attrs.frozen(kw_only=True)
class InvariantsAnswer:
    """The result of the last check of a sample."""

    checked_at: datetime
    total: int
    violations: tuple[ViolationAnswer, ...]


@attrs.frozen(kw_only=True)
class ProcessAnswer:
    """A process that takes part in billing."""

    process_id: str
    kind: Literal["serve", "worker", "application"]
    processes_events: bool
    host: str
    pid: int
    version: str
    started_at: datetime
    silent_seconds: float


@attrs.frozen(kw_only=True)
class OverviewAnswer:
    """The whole at one glance."""

    as_of: datetime
    window_seconds: float
    step_seconds: float
    headline: Headline
    stages: tuple[StageAnswer, ...]
    latency: LatencyAnswer
    dead: tuple[DeadGroup, ...]
    stripe: StandingAnswer
    bus: StandingAnswer
    invariants: InvariantsAnswer
    processes: tuple[ProcessAnswer, ...]
    operations_pending: int
    """Operations without an outcome; 1000 stands for as many or more."""
    rules_generation: int
    streams_here: int
    """Streams that this server serves."""


@attrs.frozen(kw_only=True)
class SeriesStep:
    """The counts of one step."""

    at: datetime
    stored: int
    applied: int
    """Applied or ignored: they need nothing more."""
    failed: int
    """Dead."""
    messages: int


@attrs.frozen(kw_only=True)
class SeriesAnswer:
    """Counts over a window, the earliest first; the last step has only begun."""

    since: datetime
    until: datetime
    step_seconds: float
    steps: tuple[SeriesStep, ...]


@attrs.frozen(kw_only=True)
class CountsAnswer:
    """The waiting and the dead events at one moment, as the live feed sends them."""

    as_of: datetime
    due: int
    parked: int
    dead: tuple[DeadGroup, ...]
    oldest_due_seconds: float
    oldest_unpublished_seconds: float
