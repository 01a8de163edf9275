"""Metrics of the state of tenants: access, entitlements, and what monitors find."""

from billing_core.entitlements.service import EntitlementReport
from billing_core.model import AccessState
from billing_core.oversight.invariants import Invariant
from billing_core.oversight.monitors import DuplicateReport, InvariantReport, UnmappedReport
from billing_core.state.access_review import AccessReport
from billing_telemetry.declaring import Declarations, Label


class StateMetrics:
    """Counts reviews and readings, and shows what monitors found."""

    def __init__(self, declare: Declarations) -> None:
        self._access_reviews = declare.counter(
            "billing_access_reviews_total",
            "Tenants whose access was decided on again, by the state that they were told of, or unchanged.",
            Label("result", (*(state.value for state in AccessState), "unchanged")),
        )
        self._duplicates = declare.value(
            "billing_duplicate_subscriptions",
            "Tenants with more than one live subscription to the same plan.",
            of_database=True,
        )
        self._unmapped = declare.value(
            "billing_unmapped_prices", "Prices of live subscriptions that belong to no plan.", of_database=True
        )
        self._violations = declare.gauge(
            "billing_invariant_violations",
            "Rows that violate an invariant.",
            Label("invariant", [invariant.value for invariant in Invariant]),
            of_database=True,
        )
        self._readings = declare.counter(
            "billing_entitlement_readings_total",
            "Readings of tenants' entitlements (read, failed), and answers from the last known state (stale).",
            Label("result", ("read", "failed", "stale")),
        )
        self._reading_seconds = declare.histogram(
            "billing_entitlement_reading_duration_seconds",
            "Time to read the entitlements of one tenant.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
        )
        self._kept = declare.value(
            "billing_entitlements_cached_tenants", "Tenants whose entitlements this process keeps in memory."
        )

    def access_reviewed(self, report: AccessReport) -> None:
        """Count the tenants of one review."""
        for state, count in report.changed.items():
            self._access_reviews(state.value).inc(count)
        self._access_reviews("unchanged").inc(report.reviewed - sum(report.changed.values()))

    def entitlements_read(self, report: EntitlementReport) -> None:
        """Count one reading of a tenant's entitlements, or one stale answer."""
        self._readings(report.result).inc()
        self._kept.set(report.kept)
        if report.result == "read":
            self._reading_seconds.observe(report.seconds)

    def duplicates_found(self, report: DuplicateReport) -> None:
        """Set the number of tenants with duplicate subscriptions."""
        self._duplicates.set(len(report.duplicates))

    def unmapped_found(self, report: UnmappedReport) -> None:
        """Set the number of prices of live subscriptions that belong to no plan."""
        self._unmapped.set(len(report.prices))

    def violations_found(self, report: InvariantReport) -> None:
        """Set the violations of every invariant, zero included."""
        counts = {violation.invariant: violation.count for violation in report.violations}
        for invariant in Invariant:
            self._violations(invariant.value).set(counts.get(invariant, 0))
