"""What an operator counts and watches. Names and labels are an interface: dashboards and alerts rest on them.

Label values come from closed sets; ids never become labels. Counters are looked up once and kept, since finding a
labelled one costs several times what counting does.
"""

import time
from collections.abc import Callable, Collection
from typing import Final, Generic, TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from billing_core.inbox.batch import ProcessingReport
from billing_core.oversight.invariants import Invariant
from billing_core.oversight.monitors import BacklogReport, DuplicateReport, InvariantReport
from billing_core.state.refetch import RefetchReport
from billing_core.stream.publisher import PublishingReport

STRIPE_EVENT_TYPES: Final = frozenset(
    {
        "charge.dispute.closed",
        "charge.dispute.created",
        "checkout.session.completed",
        "customer.created",
        "customer.deleted",
        "customer.updated",
        "customer.subscription.created",
        "customer.subscription.deleted",
        "customer.subscription.paused",
        "customer.subscription.pending_update_applied",
        "customer.subscription.pending_update_expired",
        "customer.subscription.resumed",
        "customer.subscription.trial_will_end",
        "customer.subscription.updated",
        "invoice.created",
        "invoice.deleted",
        "invoice.finalization_failed",
        "invoice.finalized",
        "invoice.marked_uncollectible",
        "invoice.overdue",
        "invoice.paid",
        "invoice.payment_action_required",
        "invoice.payment_attempt_required",
        "invoice.payment_failed",
        "invoice.payment_succeeded",
        "invoice.sent",
        "invoice.upcoming",
        "invoice.updated",
        "invoice.voided",
        "invoice.will_be_due",
        "refund.failed",
        "v1.billing.meter.error_report_triggered",
        "v1.billing.meter.no_meter_found",
    }
)
"""The types that are worth a time series each; all others count as `other`."""

_MOST_LABEL_VALUES: Final = 64
"""Values of a label that somebody else chooses, such as plan codes, before the rest counts as `other`."""

_BATCH_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

Metric = TypeVar("Metric", Counter, Gauge, Histogram)


class _Labelled(Generic[Metric]):
    """The children of one metric, found by the values of its labels."""

    def __init__(self, parent: Metric) -> None:
        self._parent: Metric = parent
        self._children: dict[tuple[str, ...], Metric] = {}

    def __call__(self, *values: str) -> Metric:
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._parent.labels(*values)
        return child


class _Bounded:
    """Keeps a label's values few, whoever chooses them."""

    def __init__(self, known: Collection[str] = (), *, room: int = 0) -> None:
        self._known = set(known)
        self._most = len(self._known) + room

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) < self._most:
            self._known.add(value)
            return value
        return "other"


class Metrics:
    """Every metric of one process, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        counter, gauge, histogram = self._counter, self._gauge, self._histogram

        self._webhooks = _Labelled(
            counter("stripe_webhook_events_total", "Webhooks by type and what became of them.", "event_type", "result")
        )
        self._event_type = _Bounded(STRIPE_EVENT_TYPES)
        self._last_stored = gauge(
            "stripe_webhook_last_stored_timestamp_seconds", "When the last webhook was stored, in Unix time."
        )

        self._dispatched = _Labelled(
            counter("stripe_dispatch_events_total", "Processed events by how they ended.", "disposition", "reason")
        )
        self._reason = _Bounded(room=_MOST_LABEL_VALUES)
        self._unreadable = _Labelled(
            counter(
                "stripe_unreadable_fields_total", "Fields of events that could not be read, so are absent.", "field"
            )
        )
        self._field = _Bounded(room=_MOST_LABEL_VALUES)
        self._retries = _Labelled(
            counter("stripe_dispatch_retry_total", "Repeated attempts at events, and attempts to come.", "result")
        )
        self._batches = histogram(
            "stripe_dispatch_batch_seconds", "Time to process one batch of events.", buckets=_BATCH_SECONDS
        )
        self._oldest_due = gauge(
            "stripe_dispatch_oldest_due_seconds", "How long the oldest event that is due has been due."
        )
        self._due = gauge("stripe_dispatch_due_events", "Events that are due.")
        self._parked = gauge("stripe_dispatch_parked_events", "Events that wait for a tenant or an object.")
        self._dead = _Labelled(gauge("stripe_dispatch_dead_events", "Dead events, waiting for an operator.", "reason"))
        self._dead_reasons: set[str] = set()

        self._stream_events = _Labelled(
            counter(
                "stripe_billing_stream_events_total",
                "Billing events by where they come from and what became of them.",
                "source",
                "result",
            )
        )
        self._backlog = gauge(
            "stripe_billing_stream_backlog_seconds", "Age of the oldest billing event that the bus has not taken."
        )
        self._open_streams = gauge("stripe_billing_stream_connections", "Open streams.")
        self._ended_streams = _Labelled(
            counter("stripe_billing_stream_ended_total", "Streams that ended or were refused.", "reason")
        )
        self._admissions = _Labelled(
            counter("stripe_billing_stream_admissions_total", "What tenants' quotas said to new streams.", "result")
        )
        self._bus_losses = counter("stripe_billing_stream_bus_lost_total", "Times the bus stopped answering.")

        self._gateway_calls = _Labelled(
            counter("stripe_gateway_operations_total", "Calls to the provider.", "operation", "plan_code", "result")
        )
        self._gateway_seconds = _Labelled(
            histogram(
                "stripe_gateway_operation_duration_seconds",
                "Time of calls to the provider, retries included.",
                "operation",
                buckets=Histogram.DEFAULT_BUCKETS,
            )
        )
        self._plan_code = _Bounded(room=_MOST_LABEL_VALUES)

        self._refetched = _Labelled(
            counter(
                "stripe_mended_objects_total", "Objects in doubt that the provider was asked about.", "kind", "result"
            )
        )
        self._duplicates = gauge(
            "billing_duplicate_subscriptions", "Tenants with several live subscriptions of one plan, once per plan."
        )

        self._violations = _Labelled(
            gauge("billing_invariant_violations", "Rows of which something does not hold that must.", "invariant")
        )

        self._pool_in_use = gauge("billing_database_connections_in_use", "Database connections in use.")
        self._pool_size = gauge("billing_database_connections_limit", "Database connections this process may open.")

    # --- webhooks ---------------------------------------------------------------------------------------------------

    def webhook_stored(self, event_type: str, result: str) -> None:
        """A verified webhook reached the store: `accepted`, `duplicate`, or the code of why it could not be stored."""
        self._webhooks(self._event_type(event_type), result).inc()
        if result == "accepted":
            self._last_stored.set(time.time())

    def webhook_refused(self, reason: str) -> None:
        """A webhook was refused before its type could be known."""
        self._webhooks("unknown", reason).inc()

    # --- dispatch ---------------------------------------------------------------------------------------------------

    def processed(self, report: ProcessingReport) -> None:
        """Count one batch of processed events; for `Dispatcher(observe=…)`."""
        self._batches.observe(report.seconds)
        for outcome in report.outcomes:
            disposition = outcome.disposition.value
            self._dispatched(disposition, self._reason(outcome.reason) if outcome.reason else "").inc()
            if outcome.claim.attempt > 1:
                self._retries(disposition).inc()
        if report.retried:
            self._retries("rescheduled").inc(report.retried)
        if report.lost:
            self._retries("lost").inc(report.lost)
        for place in report.unreadable:
            self._unreadable(self._field(place)).inc()
        if report.events:
            self._stream_events("dispatch", "numbered").inc(len(report.events))

    def watched(self, report: BacklogReport) -> None:
        """Show what waits; for `Watcher(observe=…)`. Reasons nobody is dead for any more count as none."""
        self._oldest_due.set(report.backlog.oldest_due.total_seconds())
        self._due.set(report.backlog.due)
        self._parked.set(report.backlog.parked)
        self._backlog.set(report.oldest_unpublished.total_seconds())
        counts = dict.fromkeys(self._dead_reasons, 0)
        for reason, count in report.backlog.dead.items():
            label = self._reason(reason)
            counts[label] = counts.get(label, 0) + count
        for label, count in counts.items():
            self._dead(label).set(count)
        self._dead_reasons = set(counts)

    # --- stream -----------------------------------------------------------------------------------------------------

    def published(self, report: PublishingReport) -> None:
        """Count one round of publishing; for `Publisher(observe=…)`."""
        for result, count in (
            ("published", report.published),
            ("backfilled", report.backfilled),
            ("failed", report.failed),
        ):
            if count:
                self._stream_events("publisher", result).inc(count)

    def streams_open(self, count: int) -> None:
        """How many streams are open."""
        self._open_streams.set(count)

    def stream_ended(self, reason: str) -> None:
        """A stream ended or was refused."""
        self._ended_streams(reason).inc()

    def stream_delivered(self, source: str, count: int) -> None:
        """Messages went out to clients, from the bus (`live`), its log or the history."""
        self._stream_events(source, "delivered").inc(count)

    def stream_admitted(self, result: str) -> None:
        """See HttpMetrics."""
        self._admissions(result).inc()

    def stream_bus_lost(self) -> None:
        """The bus stopped answering."""
        self._bus_losses.inc()

    # --- gateway and pool -------------------------------------------------------------------------------------------

    def gateway_called(self, operation: str, result: str, seconds: float, *, plan_code: str = "") -> None:
        """A call to the provider is over: `ok`, `missing`, `canceled`, or the code of the error."""
        self._gateway_seconds(operation).observe(seconds)
        self._gateway_calls(operation, self._plan_code(plan_code) if plan_code else "", result).inc()

    def refetched(self, report: RefetchReport) -> None:
        """Count one attempt to settle a doubt; for `Refetcher(observe=…)`."""
        self._refetched(report.uncertainty.kind, report.result).inc()

    def audited(self, report: DuplicateReport) -> None:
        """Show what an audit found; for `Auditor(observe=…)`."""
        self._duplicates.set(len(report.duplicates))

    def checked(self, report: InvariantReport) -> None:
        """Show what a check found, also of what holds; for `Checker(observe=…)`."""
        counts = {violation.invariant: violation.count for violation in report.violations}
        for invariant in Invariant:
            self._violations(invariant.value).set(counts.get(invariant, 0))

    def watch_pool(self, *, in_use: Callable[[], float], limit: int) -> None:
        """Ask `in_use` for the number of busy database connections whenever the metrics are read."""
        self._pool_in_use.set_function(in_use)
        self._pool_size.set(limit)

    # --- exposition -------------------------------------------------------------------------------------------------

    def render(self) -> tuple[bytes, str]:
        """Everything in Prometheus' text format, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(name, help, labels, registry=self.registry)

    def _gauge(self, name: str, help: str, *labels: str) -> Gauge:
        return Gauge(name, help, labels, registry=self.registry)

    def _histogram(self, name: str, help: str, *labels: str, buckets: Collection[float]) -> Histogram:
        return Histogram(name, help, labels, registry=self.registry, buckets=tuple(buckets))
