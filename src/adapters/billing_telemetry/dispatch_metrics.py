"""Metrics of the dispatch of stored events, and of what operators have to look at."""

from datetime import UTC, datetime, timedelta
from typing import Final

from billing_core.errors import DEAD_REASONS
from billing_core.inbox.batch import ProcessingReport
from billing_core.model.uncertainty import UNCERTAIN_KINDS
from billing_core.oversight.delays import DELAY_BOUNDS
from billing_core.oversight.monitors import BacklogReport
from billing_core.state.refetch import RefetchReport
from billing_telemetry.declaring import Bounded, Declarations, Label

_MAX_OPEN_VALUES: Final = 64
"""Distinct values of a label that others choose; further ones count as `other`."""
_BATCH_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ENDS: Final = ("applied", "ignored", "parked", "dead")
_NOTHING: Final = timedelta(0)
_DEAD: Final = tuple(sorted(DEAD_REASONS))


class DispatchMetrics:
    """Counts processed events, and shows the backlog."""

    def __init__(self, declare: Declarations) -> None:
        self.applying = declare.histogram(
            "billing_stored_to_applied_seconds",
            "From the receipt of an event to the end of its processing: applied, ignored, parked or dead. Replays are "
            "not counted, and an event that was parked before counted then. The receipt is stamped by the process that "
            "received it: see billing_clock_skew_seconds.",
            buckets=DELAY_BOUNDS,
        )
        self._dispatched = declare.counter(
            "stripe_dispatch_events_total",
            "Processed events by disposition, and the reason of those that were not applied.",
            Label("disposition", _ENDS),
            Label("reason", others="Reasons to ignore, park or bury; empty for applied events."),
            born=[("applied", ""), *(("dead", reason) for reason in _DEAD)],
        )
        self._reason = Bounded(_DEAD, room=_MAX_OPEN_VALUES)
        self._retries = declare.counter(
            "stripe_dispatch_retry_total",
            "Retries by result. `rescheduled` counts attempts that failed and are repeated, `lost` claims that another "
            "process took over.",
            Label("result", (*_ENDS, "rescheduled", "lost")),
        )
        self._batches = declare.histogram(
            "stripe_dispatch_batch_seconds", "Time to process one batch of events.", buckets=_BATCH_SECONDS
        )
        self._unreadable = declare.counter(
            "stripe_unreadable_fields_total",
            "Event fields that could not be read and were left out.",
            Label("field", others="Paths in Stripe's schema."),
        )
        self._field = Bounded(room=_MAX_OPEN_VALUES)
        self._outdated_hints = declare.total(
            "billing_outdated_tenant_hints_total", "Applied events whose metadata names an outdated tenant."
        )
        self._refetched = declare.counter(
            "stripe_refetched_objects_total",
            "Uncertain objects fetched from the provider.",
            Label("kind", UNCERTAIN_KINDS),
            Label("result", others="`refetched` and other ends, or the code of an error."),
        )
        self._declare_backlog(declare)

    def _declare_backlog(self, declare: Declarations) -> None:
        self._oldest_due = declare.value(
            "stripe_dispatch_oldest_due_seconds",
            "Time that the oldest due event has been due; zero if there is none.",
            of_database=True,
        )
        self._due = declare.value("stripe_dispatch_due_events", "Events due for processing.", of_database=True)
        self._parked = declare.value(
            "stripe_dispatch_parked_events", "Events waiting for a tenant link or an object.", of_database=True
        )
        self._oldest_parked = declare.value(
            "stripe_dispatch_oldest_parked_seconds",
            "Time that the oldest of them has been parked; zero if there is none.",
            of_database=True,
        )
        reasons = Label("reason", _DEAD)
        self._dead = declare.gauge(
            "stripe_dispatch_dead_events", "Dead events, which need an operator.", reasons, of_database=True
        )
        self._oldest_dead = declare.gauge(
            "stripe_dispatch_oldest_dead_seconds",
            "Time that the oldest of them has been dead; zero if there is none.",
            reasons,
            of_database=True,
        )
        self._unpublished = declare.value(
            "stripe_billing_stream_backlog_seconds",
            "Age of the oldest unpublished message; zero if there is none.",
            of_database=True,
        )
        self._uncertain = declare.gauge(
            "billing_uncertain_objects",
            "Objects whose state may be wrong until they are refetched.",
            Label("kind", UNCERTAIN_KINDS),
            of_database=True,
        )

    def batch_processed(self, report: ProcessingReport) -> None:
        """Count one batch of processed events."""
        self._batches.observe(report.seconds)
        now, observe = datetime.now(UTC), self.applying.observe
        for outcome in report.outcomes:
            claim, disposition = outcome.claim, outcome.disposition.value
            self._dispatched(disposition, self._reason(outcome.reason) if outcome.reason else "").inc()
            if claim.attempt > 1:
                self._retries(disposition).inc()
            if not (claim.forgiven or claim.applied or claim.parked):
                observe((now - claim.event.received_at).total_seconds())
        if report.retried:
            self._retries("rescheduled").inc(report.retried)
        if report.lost:
            self._retries("lost").inc(report.lost)
        outdated = sum(outcome.outdated_hint for outcome in report.outcomes)
        if outdated:
            self._outdated_hints.inc(outdated)
        for place in report.unreadable:
            self._unreadable(self._field(place)).inc()

    def backlog_measured(self, report: BacklogReport) -> None:
        """Set the gauges of the backlog. A reason that no dead event has any more goes back to zero."""
        backlog = report.backlog
        self._oldest_due.set(backlog.oldest_due.total_seconds())
        self._due.set(backlog.due)
        self._parked.set(backlog.parked)
        self._oldest_parked.set(backlog.oldest_parked.total_seconds())
        self._unpublished.set(report.oldest_unpublished.total_seconds())
        for kind, count in report.uncertain.items():
            self._uncertain(kind).set(count)
        for reason in _DEAD:
            self._dead(reason).set(backlog.dead.get(reason, 0))
            self._oldest_dead(reason).set(backlog.oldest_dead.get(reason, _NOTHING).total_seconds())

    def refetched(self, report: RefetchReport) -> None:
        """Count one attempt to refetch an object."""
        self._refetched(report.uncertainty.kind, report.result).inc()
