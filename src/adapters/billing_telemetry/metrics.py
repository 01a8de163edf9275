"""The Prometheus metrics of a process. Their names and labels are an interface: dashboards and alerts depend on them.

Label values come from closed sets; ids never become labels. Labeled children are looked up once and kept, because a
lookup costs several times as much as an increment.
"""

import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final, Generic, TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from billing_core.entitlements.service import EntitlementReport
from billing_core.inbox.batch import ProcessingReport
from billing_core.operations.call_reports import Circuit, GatewayCall
from billing_core.operations.settling import SettlingReport
from billing_core.oversight.invariants import Invariant
from billing_core.oversight.monitors import BacklogReport, DuplicateReport, InvariantReport, UnmappedReport
from billing_core.state.access_review import AccessReport
from billing_core.state.refetch import RefetchReport
from billing_core.stream.publisher import PublishingReport

_MAX_OPEN_VALUES: Final = 64
"""Distinct values of a label that others choose, such as plan codes; further ones count as `other`."""

_BATCH_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

Metric = TypeVar("Metric", Counter, Gauge, Histogram)


class _Labeled(Generic[Metric]):
    """The children of one metric, by their label values."""

    def __init__(self, parent: Metric) -> None:
        self._parent: Metric = parent
        self._children: dict[tuple[str, ...], Metric] = {}

    def __call__(self, *values: str) -> Metric:
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._parent.labels(*values)
        return child


class _Bounded:
    """A label whose values are limited: the known ones, and the first `room` others."""

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


def _equals(current: Callable[[], Circuit], state: Circuit) -> float:
    return float(current() is state)


class Metrics:
    """Every metric of one process, in a registry of its own."""

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        event_types: Collection[str] = (),
        plan_codes: Collection[str] = (),
    ) -> None:
        """Register the metrics. Types of webhooks and plans that are not among these are counted as `other`."""
        self.registry = CollectorRegistry() if registry is None else registry
        counter, gauge, histogram = self._counter, self._gauge, self._histogram

        self._webhooks = _Labeled(
            counter("stripe_webhook_events_total", "Webhooks by event type and result.", "event_type", "result")
        )
        self._event_type = _Bounded(event_types)
        self._last_stored = gauge(
            "stripe_webhook_last_stored_timestamp_seconds", "Time at which the last webhook was stored (Unix time)."
        )
        self._stored_at = 0.0
        self._last_stored.set_function(lambda: self._stored_at)  # asked at a scrape: setting a gauge takes a lock

        self._secret_matches = _Labeled(
            counter(
                "stripe_webhook_secret_matches_total",
                "Webhooks signed with a secret, by its fingerprint; both while one replaces another.",
                "secret",
            )
        )
        self._secret_matched = _Labeled(
            gauge(
                "stripe_webhook_secret_last_match_timestamp_seconds",
                "Time of the last webhook signed with a secret (Unix time); zero if there was none.",
                "secret",
            )
        )
        self._api_key = _Labeled(gauge("stripe_api_key_info", "1 for the API key in use, by its fingerprint.", "key"))

        self._dispatched = _Labeled(
            counter("stripe_dispatch_events_total", "Processed events by disposition.", "disposition", "reason")
        )
        self._reason = _Bounded(room=_MAX_OPEN_VALUES)
        self._unreadable = _Labeled(
            counter("stripe_unreadable_fields_total", "Event fields that could not be read and were left out.", "field")
        )
        self._field = _Bounded(room=_MAX_OPEN_VALUES)
        self._outdated_hints = counter(
            "billing_outdated_tenant_hints_total",
            "Applied events whose metadata names an outdated tenant.",
        )
        self._retries = _Labeled(
            counter("stripe_dispatch_retry_total", "Retries by result, and retries that were scheduled.", "result")
        )
        self._batches = histogram(
            "stripe_dispatch_batch_seconds", "Time to process one batch of events.", buckets=_BATCH_SECONDS
        )
        self._oldest_due = gauge("stripe_dispatch_oldest_due_seconds", "Time that the oldest due event has been due.")
        self._due = gauge("stripe_dispatch_due_events", "Events due for processing.")
        self._parked = gauge("stripe_dispatch_parked_events", "Events waiting for a tenant link or an object.")
        self._dead = _Labeled(gauge("stripe_dispatch_dead_events", "Dead events, which need an operator.", "reason"))
        self._dead_reasons: set[str] = set()

        self._stream_events = _Labeled(
            counter(
                "stripe_billing_stream_events_total",
                "Billing messages by source and result.",
                "source",
                "result",
            )
        )
        self._backlog = gauge(
            "stripe_billing_stream_backlog_seconds", "Age of the oldest unpublished message; zero if there is none."
        )
        self._open_streams = gauge("stripe_billing_stream_connections", "Open streams.")
        self._ended_streams = _Labeled(
            counter("stripe_billing_stream_ended_total", "Streams that ended or were refused, by reason.", "reason")
        )
        self._admissions = _Labeled(
            counter("stripe_billing_stream_admissions_total", "Stream admission decisions.", "result")
        )
        self._bus_losses = counter("stripe_billing_stream_bus_lost_total", "Times that the bus became unavailable.")

        self._gateway_calls = _Labeled(
            counter(
                "stripe_gateway_operations_total", "Calls to the provider's API.", "operation", "plan_code", "result"
            )
        )
        self._gateway_seconds = _Labeled(
            histogram(
                "stripe_gateway_operation_duration_seconds",
                "Duration of calls to the provider's API, including retries.",
                "operation",
                buckets=Histogram.DEFAULT_BUCKETS,
            )
        )
        self._plan_code = _Bounded(plan_codes)
        self._gateway_retries = _Labeled(
            counter(
                "stripe_gateway_retries_total",
                "Repeated attempts of calls, by the error of the attempt before.",
                "operation",
                "reason",
            )
        )
        self._gateway_limited = _Labeled(
            counter(
                "stripe_gateway_rate_limited_total",
                "Calls refused for load by the provider, by its reason, or delayed by a limit of ours (own_…).",
                "reason",
            )
        )
        self._gateway_in_flight = gauge("stripe_gateway_calls_in_flight", "Requests on their way to the provider.")
        self._gateway_circuit = _Labeled(
            gauge("stripe_gateway_circuit", "Whether calls are sent: 1 for the state of the circuit.", "state")
        )

        self._refetched = _Labeled(
            counter("stripe_refetched_objects_total", "Uncertain objects fetched from the provider.", "kind", "result")
        )
        self._settled = _Labeled(
            counter(
                "stripe_gateway_settlements_total",
                "Attempts to settle operations whose outcome was unknown, by result.",
                "result",
            )
        )
        self._unresolved = gauge("stripe_gateway_unresolved_operations", "Operations whose outcome is not known yet.")
        self._oldest_unresolved = gauge(
            "stripe_gateway_oldest_unresolved_seconds", "Age of the oldest of them; zero if there is none."
        )
        self._access_reviews = _Labeled(
            counter(
                "billing_access_reviews_total",
                "Tenants whose access was decided on again, by the state that they were told of, or unchanged.",
                "result",
            )
        )
        self._duplicates = gauge(
            "billing_duplicate_subscriptions", "Tenants with more than one live subscription to the same plan."
        )
        self._unmapped = gauge("billing_unmapped_prices", "Prices of live subscriptions that belong to no plan.")

        self._entitlement_readings = _Labeled(
            counter(
                "billing_entitlement_readings_total",
                "Readings of tenants' entitlements (read, failed), and answers from the last known state (stale).",
                "result",
            )
        )
        self._entitlement_seconds = histogram(
            "billing_entitlement_reading_duration_seconds",
            "Time to read the entitlements of one tenant.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
        )
        self._entitlements_kept = gauge(
            "billing_entitlements_cached_tenants", "Tenants whose entitlements this process keeps in memory."
        )

        self._uncertain = _Labeled(
            gauge("billing_uncertain_objects", "Objects whose state may be wrong until they are refetched.", "kind")
        )

        self._violations = _Labeled(
            gauge("billing_invariant_violations", "Rows that violate an invariant.", "invariant")
        )

        self._pool_in_use = gauge("billing_database_connections_in_use", "Database connections in use.")
        self._pool_size = gauge(
            "billing_database_connections_limit", "Database connections that this process may open."
        )

    # --- webhooks ---------------------------------------------------------------------------------------------------

    def webhook_stored(self, event_type: str, result: str) -> None:
        """Count a verified webhook: `accepted`, `duplicate`, or the code of the error that prevented its storage."""
        self._webhooks(self._event_type(event_type), result).inc()
        if result == "accepted":
            self._stored_at = time.time()

    def webhook_refused(self, reason: str) -> None:
        """Count a webhook that was refused before its type was known."""
        self._webhooks("unknown", reason).inc()

    def webhook_secrets_configured(self, fingerprints: Sequence[str]) -> None:
        """Show the signing secrets that this process verifies with, before anything matched them."""
        for fingerprint in fingerprints:
            self._secret_matches(fingerprint)
            self._secret_matched(fingerprint)

    def api_key_configured(self, fingerprint: str) -> None:
        """Show the API key that this process calls with."""
        self._api_key(fingerprint).set(1)

    def webhook_secrets_matched(self, fingerprints: Sequence[str]) -> None:
        """Count a webhook for every secret that it was signed with, all at the same time."""
        now = time.time()
        for fingerprint in fingerprints:
            self._secret_matches(fingerprint).inc()
            self._secret_matched(fingerprint).set(now)

    # --- dispatch ---------------------------------------------------------------------------------------------------

    def processed(self, report: ProcessingReport) -> None:
        """Count one batch of processed events."""
        self._batches.observe(report.seconds)
        for outcome in report.outcomes:
            disposition = outcome.disposition.value
            self._dispatched(disposition, self._reason(outcome.reason) if outcome.reason else "").inc()
            if outcome.claim.attempt > 1:
                self._retries(disposition).inc()
        for claim in report.failed:
            self._webhooks(self._event_type(claim.event.type), "dispatch_failed").inc()
        if report.retried:
            self._retries("rescheduled").inc(report.retried)
        if report.lost:
            self._retries("lost").inc(report.lost)
        outdated = sum(outcome.outdated_hint for outcome in report.outcomes)
        if outdated:
            self._outdated_hints.inc(outdated)
        for place in report.unreadable:
            self._unreadable(self._field(place)).inc()
        if report.events:
            self._stream_events("dispatch", "numbered").inc(len(report.events))

    def backlog_seen(self, report: BacklogReport) -> None:
        """Set the gauges of the backlog. A reason that no dead event has any more goes back to zero."""
        self._oldest_due.set(report.backlog.oldest_due.total_seconds())
        self._due.set(report.backlog.due)
        self._parked.set(report.backlog.parked)
        self._backlog.set(report.oldest_unpublished.total_seconds())
        for kind, count in report.uncertain.items():
            self._uncertain(kind).set(count)
        counts = dict.fromkeys(self._dead_reasons, 0)
        for reason, count in report.backlog.dead.items():
            label = self._reason(reason)
            counts[label] = counts.get(label, 0) + count
        for label, count in counts.items():
            self._dead(label).set(count)
        self._dead_reasons = set(counts)

    # --- stream -----------------------------------------------------------------------------------------------------

    def published(self, report: PublishingReport) -> None:
        """Count the messages of one publishing pass."""
        for result, count in (
            ("published", report.published),
            ("backfilled", report.backfilled),
            ("failed", report.failed),
        ):
            if count:
                self._stream_events("publisher", result).inc(count)

    def streams_open(self, count: int) -> None:
        """Set the number of open streams."""
        self._open_streams.set(count)

    def stream_ended(self, reason: str) -> None:
        """Count a stream that ended or was refused."""
        self._ended_streams(reason).inc()

    def stream_delivered(self, source: str, count: int) -> None:
        """Count messages sent to clients, by source: the bus (`live`), its log, or the history."""
        self._stream_events(source, "delivered").inc(count)

    def stream_admitted(self, result: str) -> None:
        """Count a stream admission decision."""
        self._admissions(result).inc()

    def stream_bus_lost(self) -> None:
        """Count a loss of the bus."""
        self._bus_losses.inc()

    # --- gateway and pool -------------------------------------------------------------------------------------------

    def gateway_called(self, call: GatewayCall) -> None:
        """Count and time a finished call, its retries and its delays."""
        self._gateway_seconds(call.operation).observe(call.seconds)
        plan_code = self._plan_code(call.plan_code) if call.plan_code else ""
        self._gateway_calls(call.operation, plan_code, call.result).inc()
        for reason in call.retries:
            self._gateway_retries(call.operation, reason).inc()
        for reason in call.limited:
            self._gateway_limited(reason).inc()

    def watch_gateway(self, *, in_flight: Callable[[], float], circuit: Callable[[], Circuit]) -> None:
        """Read the requests on their way, and the state of the circuit, whenever the metrics are scraped."""
        self._gateway_in_flight.set_function(in_flight)
        for state in Circuit:
            self._gateway_circuit(state.value).set_function(partial(_equals, circuit, state))

    def refetched(self, report: RefetchReport) -> None:
        """Count one attempt to refetch an object."""
        self._refetched(report.uncertainty.kind, report.result).inc()

    def operations_settled(self, report: SettlingReport) -> None:
        """Count attempts to settle operations, and set the gauges of those that are unresolved."""
        for settlement in report.settlements:
            self._settled(settlement.result).inc()
        self._unresolved.set(report.backlog.count)
        self._oldest_unresolved.set(report.backlog.oldest.total_seconds() if report.backlog.oldest else 0)

    def access_reviewed(self, report: AccessReport) -> None:
        """Count the tenants of one review."""
        for state, count in report.changed.items():
            self._access_reviews(state.value).inc(count)
        self._access_reviews("unchanged").inc(report.reviewed - sum(report.changed.values()))

    def entitlements_read(self, report: EntitlementReport) -> None:
        """Count one reading of a tenant's entitlements, or one stale answer."""
        self._entitlement_readings(report.result).inc()
        self._entitlements_kept.set(report.kept)
        if report.result == "read":
            self._entitlement_seconds.observe(report.seconds)

    def duplicates_seen(self, report: DuplicateReport) -> None:
        """Set the number of tenants with duplicate subscriptions."""
        self._duplicates.set(len(report.duplicates))

    def unmapped_seen(self, report: UnmappedReport) -> None:
        """Set the number of prices of live subscriptions that belong to no plan."""
        self._unmapped.set(len(report.prices))

    def invariants_checked(self, report: InvariantReport) -> None:
        """Set the violations of every invariant, zero included."""
        counts = {violation.invariant: violation.count for violation in report.violations}
        for invariant in Invariant:
            self._violations(invariant.value).set(counts.get(invariant, 0))

    def watch_pool(self, *, in_use: Callable[[], float], limit: int) -> None:
        """Read the number of busy database connections from `in_use` whenever the metrics are scraped."""
        self._pool_in_use.set_function(in_use)
        self._pool_size.set(limit)

    # --- exposition -------------------------------------------------------------------------------------------------

    def render(self) -> tuple[bytes, str]:
        """Return the metrics in the Prometheus text format, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(name, help, labels, registry=self.registry)

    def _gauge(self, name: str, help: str, *labels: str) -> Gauge:
        return Gauge(name, help, labels, registry=self.registry)

    def _histogram(self, name: str, help: str, *labels: str, buckets: Collection[float]) -> Histogram:
        return Histogram(name, help, labels, registry=self.registry, buckets=tuple(buckets))
