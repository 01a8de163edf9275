"""Metrics keep their names and bounded label values; logs contain no secrets."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
import structlog
from prometheus_client import CollectorRegistry

from billing_app.observers import Observers
from billing_core.entitlements.service import EntitlementReport
from billing_core.errors import GatewayUnavailableError, StoreUnavailableError
from billing_core.events import Claim, Disposition, EventKey, Outcome, ProviderEvent, Receipt
from billing_core.inbox.batch import ProcessingReport, Retry
from billing_core.model import AccessState, DuplicateSubscriptions, EventId, PriceId, SubscriptionId, Uncertainty
from billing_core.operations.call_reports import Circuit, CircuitChange, GatewayCall
from billing_core.operations.performing import Settlement
from billing_core.operations.runner import OperationReport
from billing_core.operations.settling import SettlingReport
from billing_core.operations.stored import OperationBacklog, OperationRequest, OperationStatus, StoredOperation
from billing_core.oversight.monitors import BacklogReport, DuplicateReport, UnmappedReport
from billing_core.oversight.ports import Backlog, UnmappedPrice
from billing_core.state.access_review import AccessReport
from billing_core.state.refetch import RefetchReport
from billing_core.stream.publisher import PublishingReport
from billing_core.testing.builders import ACME, AT, provenance
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_memory.inbox.event_inbox import MemoryEventInbox
from billing_stripe.translate import EVENT_TYPES
from billing_telemetry.logging import configure
from billing_telemetry.metrics import Metrics
from billing_telemetry.observed import ObservedEventInbox
from billing_telemetry.redaction import REDACTED, Redaction

FIXED_NAMES = {
    "stripe_webhook_events_total": ("event_type", "result"),
    "stripe_gateway_operations_total": ("operation", "plan_code", "result"),
    "stripe_gateway_operation_duration_seconds": ("operation",),
    "stripe_dispatch_retry_total": ("result",),
    "stripe_billing_stream_events_total": ("source", "result"),
    "stripe_billing_stream_backlog_seconds": (),
}


def provider_event(number: int = 1, event_type: str = "invoice.paid") -> ProviderEvent:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    key = EventKey(event_id=EventId(f"evt_{number}"), livemode=False)
    return ProviderEvent(key=key, type=event_type, api_version=None, created_at=at, received_at=at, body=b"{}")


def outcome(disposition: Disposition, *, attempt: int = 1, reason: str | None = None) -> Outcome:
    claim = Claim(dispatch_id=1, attempt=attempt, event=provider_event())
    return Outcome(claim=claim, disposition=disposition, reason=reason)


UNRESOLVED = StoredOperation(
    operation_id=1,
    request=OperationRequest(
        tenant_id=ACME,
        operation="cancel",
        request_id="r1",
        subject="sub_1",
        arguments_hash="a1",
        actor="ada",
    ),
    number=1,
    key="bo_1",
    status=OperationStatus.BEGUN,
    attempts=2,
    begun_at=AT,
    planned_at=AT,
    leased_until=AT,
    read_at=AT + timedelta(minutes=1),
)


def called(operation: str, result: str, *, seconds: float = 0.1, attempts: int = 1, **details: Any) -> GatewayCall:
    return GatewayCall(operation=operation, result=result, seconds=seconds, attempts=attempts, **details)


def backlog(**counts: Any) -> BacklogReport:
    """Return a report of that backlog, with a message that has waited for 1.5 s."""
    return BacklogReport(backlog=Backlog(**counts), oldest_unpublished=timedelta(seconds=1.5))


class TestMetrics:
    """The counters and gauges, with their names and labels."""

    def test_the_names_dashboards_rely_on_exist(self) -> None:
        """Each fixed metric is exposed under its name, with its labels."""
        metrics = Metrics()
        metrics.webhook_stored(provider_event(), "accepted", seconds=0.01)
        metrics.published(PublishingReport(published=1, backfilled=0, failed=0))
        metrics.processed(
            ProcessingReport(outcomes=[outcome(Disposition.APPLIED, attempt=2)], events=(), lost=0, seconds=1)
        )
        metrics.gateway_called(called("cancel_subscription", "ok", plan_code="pro"))
        samples = {
            sample.name: set(sample.labels) for family in metrics.registry.collect() for sample in family.samples
        }
        for name, labels in FIXED_NAMES.items():
            shown = f"{name}_count" if name.endswith("_duration_seconds") else name
            assert samples[shown] == set(labels)

    def test_reviews_of_access_are_counted_by_what_tenants_were_told(self) -> None:
        """Tenants that were told nothing are counted, too; a review that found none adds nothing."""
        metrics = Metrics()
        for report in (AccessReport(), AccessReport(reviewed=5, changed={AccessState.BLOCKED: 2, AccessState.FULL: 1})):
            metrics.access_reviewed(report)
        counted = {
            result: metrics.registry.get_sample_value("billing_access_reviews_total", {"result": result})
            for result in ("blocked", "full", "unchanged", "grace")
        }
        assert counted == {"blocked": 2, "full": 1, "unchanged": 2, "grace": 0}

    def test_matches_of_signing_secrets_are_counted_from_zero(self) -> None:
        """A secret without matches shows that this process knows it; the time of the last match is kept."""
        metrics = Metrics()
        metrics.webhook_secrets_configured(["0ld", "new"])
        metrics.webhook_secrets_matched(["new"])
        value = metrics.registry.get_sample_value
        counted = [value("stripe_webhook_secret_matches_total", {"secret": each}) for each in ("0ld", "new", "other")]
        assert counted == [0, 1, None]
        last = [
            value("stripe_webhook_secret_last_match_timestamp_seconds", {"secret": each}) for each in ("0ld", "new")
        ]
        assert last[0] == 0
        assert last[1]

    def test_the_api_key_in_use_is_shown_by_its_fingerprint(self) -> None:
        """A rotation is over once no process shows the old one."""
        metrics = Metrics()
        metrics.api_key_configured("abcd1234")
        assert metrics.registry.get_sample_value("stripe_api_key_info", {"key": "abcd1234"}) == 1

    def test_settled_operations_are_counted_by_result(self) -> None:
        """The gauges have what the last run left unresolved, zero included."""
        metrics = Metrics()
        settled = [Settlement(operation=UNRESOLVED, result=result) for result in ("done", "unavailable", "done")]
        backlog = OperationBacklog(count=1, oldest=timedelta(minutes=2))
        metrics.operations_settled(SettlingReport(settlements=tuple(settled), backlog=backlog))
        value = metrics.registry.get_sample_value
        assert value("stripe_gateway_settlements_total", {"result": "done"}) == 2
        assert value("stripe_gateway_settlements_total", {"result": "unavailable"}) == 1
        assert value("stripe_gateway_unresolved_operations") == 1
        assert value("stripe_gateway_oldest_unresolved_seconds") == 120
        metrics.operations_settled(SettlingReport())
        assert value("stripe_gateway_unresolved_operations") == 0
        assert value("stripe_gateway_oldest_unresolved_seconds") == 0

    def test_operations_are_logged_with_the_request_that_asked_for_them(self) -> None:
        """At its end and when it is settled, which is a warning while its outcome stays unknown."""
        observers = Observers(Metrics())
        report = OperationReport(request=UNRESOLVED.request, command="cancel_now", result="unavailable", seconds=0.5)
        away = GatewayUnavailableError("away")
        settlements = (
            Settlement(operation=UNRESOLVED, result="unavailable", error=away),
            Settlement(operation=UNRESOLVED, result="done"),
            Settlement(operation=UNRESOLVED, result="bug"),
        )
        with structlog.testing.capture_logs() as logged:
            observers.operation_ended(report)
            observers.operations_settled(SettlingReport(settlements=settlements))
        assert [(line["event"], line["log_level"], line["result"]) for line in logged] == [
            ("operation.ended", "info", "unavailable"),
            ("operation.settled", "warning", "unavailable"),
            ("operation.settled", "info", "done"),
            ("operation.settled", "warning", "bug"),
        ]
        assert {(line["tenant_id"], line["request_id"]) for line in logged} == {(ACME, "r1")}
        assert logged[1]["age_seconds"] == 60

    def test_two_instances_do_not_meet(self) -> None:
        """Nothing is registered globally, so a process can have two containers."""
        first, second = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
        first.webhook_refused("bad_signature")
        labels = {"event_type": "unknown", "result": "bad_signature"}
        assert first.registry.get_sample_value("stripe_webhook_events_total", labels) == 1
        assert second.registry.get_sample_value("stripe_webhook_events_total", labels) == 0

    @pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
    def test_every_handled_event_type_has_a_series_of_its_own(self, event_type: str) -> None:
        """The label values come from the translation table, so a new row is counted from the start."""
        metrics = Metrics(event_types=EVENT_TYPES)
        metrics.webhook_stored(provider_event(event_type=event_type), "accepted", seconds=0.01)
        labels = {"event_type": event_type, "result": "accepted"}
        assert metrics.registry.get_sample_value("stripe_webhook_events_total", labels) == 1

    def test_unknown_event_types_share_one_series(self) -> None:
        """Stripe's hundreds of other types, and invented ones, cannot multiply series."""
        metrics = Metrics(event_types=EVENT_TYPES)
        for number in range(500):
            metrics.webhook_stored(provider_event(event_type=f"made.up.{number}"), "accepted", seconds=0.01)
        labels = {"event_type": "other", "result": "accepted"}
        assert metrics.registry.get_sample_value("stripe_webhook_events_total", labels) == 500

    def test_label_values_that_others_choose_are_bounded(self) -> None:
        """The plans of the configuration have a series each; all others share one, as calls without a plan do."""
        metrics = Metrics(plan_codes={"starter", "pro"})
        for number in range(500):
            metrics.gateway_called(called("fetch", "ok", plan_code=f"plan-{number}"))
        for plan_code in ("pro", "starter", "pro", ""):
            metrics.gateway_called(called("fetch", "ok", plan_code=plan_code))
        counted = {
            plan_code: metrics.registry.get_sample_value(
                "stripe_gateway_operations_total", {"operation": "fetch", "plan_code": plan_code, "result": "ok"}
            )
            for plan_code in ("pro", "starter", "other", "", "plan-1")
        }
        assert counted == {"pro": 2, "starter": 1, "other": 500, "": 1, "plan-1": None}

    def test_a_gateway_call_is_counted_and_timed(self) -> None:
        """By operation and result; with its retries, and what it waited for."""
        metrics = Metrics()
        metrics.gateway_called(
            called(
                "fetch",
                "unavailable",
                seconds=40.0,
                retries=("rate_limited", "unavailable", "unavailable"),
                limited=("endpoint-rate", "own_rate"),
            )
        )
        value = metrics.registry.get_sample_value
        labels = {"operation": "fetch", "plan_code": "", "result": "unavailable"}
        assert value("stripe_gateway_operations_total", labels) == 1
        assert value("stripe_gateway_operation_duration_seconds_sum", {"operation": "fetch"}) == 40.0
        assert value("stripe_gateway_retries_total", {"operation": "fetch", "reason": "unavailable"}) == 2
        assert value("stripe_gateway_retries_total", {"operation": "fetch", "reason": "rate_limited"}) == 1
        for reason in ("endpoint-rate", "own_rate"):
            assert value("stripe_gateway_rate_limited_total", {"reason": reason}) == 1

    def test_the_circuit_and_the_calls_on_their_way_are_read_when_asked_for(self) -> None:
        """One state is 1 at a time."""
        metrics, state = Metrics(), Circuit.CLOSED
        metrics.watch_gateway(in_flight=lambda: 3, circuit=lambda: state)
        assert metrics.registry.get_sample_value("stripe_gateway_calls_in_flight") == 3
        for state in Circuit:
            shown = {
                each.value: metrics.registry.get_sample_value("stripe_gateway_circuit", {"state": each.value})
                for each in Circuit
            }
            assert shown == {each.value: float(each is state) for each in Circuit}

    def test_a_gateway_call_is_one_log_line(self) -> None:
        """With the ids by which Stripe's dashboard finds it; an unexpected result is a warning."""
        observers = Observers(Metrics())
        with structlog.testing.capture_logs() as logged:
            observers.gateway_called(
                called("cancel_subscription", "ok", plan_code="pro", request_id="req_2", original_request="req_1")
            )
            observers.gateway_called(called("fetch_invoice", "not_found"))
            observers.gateway_called(called("fetch_invoice", "authentication", attempts=0))
        assert logged[0] == {
            "event": "gateway.called",
            "log_level": "info",
            "operation": "cancel_subscription",
            "plan_code": "pro",
            "request_id": "req_2",
            "original_request": "req_1",
            "attempts": 1,
            "seconds": 0.1,
            "outcome": "ok",
        }
        assert [line["log_level"] for line in logged] == ["info", "info", "warning"]

    def test_an_open_circuit_is_an_error_with_a_remedy(self) -> None:
        """Finding out whether Stripe answers is no news; its answer is."""
        observers = Observers(Metrics())
        with structlog.testing.capture_logs() as logged:
            for state, cause in (
                (Circuit.OPEN, "authentication"),
                (Circuit.HALF_OPEN, "authentication"),
                (Circuit.OPEN, "unavailable"),
                (Circuit.CLOSED, None),
            ):
                observers.circuit_changed(CircuitChange(state=state, cause=cause))
        assert [(line["event"], line["log_level"]) for line in logged] == [
            ("gateway.circuit_opened", "error"),
            ("gateway.circuit_opened", "error"),
            ("gateway.circuit_closed", "info"),
        ]
        assert "STRIPE_SECRET_KEY" in logged[0]["remedy"]
        assert "does not answer" in logged[1]["remedy"]

    def test_uncertain_objects_are_shown_by_kind(self) -> None:
        """Also when there are none any more."""
        metrics = Metrics()
        for count in (3, 0):
            metrics.backlog_seen(attrs.evolve(backlog(), uncertain={"invoice": count, "customer": 1}))
            assert metrics.registry.get_sample_value("billing_uncertain_objects", {"kind": "invoice"}) == count
            assert metrics.registry.get_sample_value("billing_uncertain_objects", {"kind": "customer"}) == 1

    def test_refetched_objects_are_counted_by_kind_and_result(self) -> None:
        """A failed attempt counts under the code of its error."""
        metrics = Metrics()
        uncertainty = Uncertainty(kind="invoice", object_id="in_1", basis=provenance())
        metrics.refetched(RefetchReport(uncertainty=uncertainty, result="refetched", seconds=0.1))
        metrics.refetched(RefetchReport(uncertainty=uncertainty, result="unavailable", error="away", seconds=40.0))
        value = metrics.registry.get_sample_value
        for result in ("refetched", "unavailable"):
            assert value("stripe_refetched_objects_total", {"kind": "invoice", "result": result}) == 1

    def test_duplicate_subscriptions_are_shown_until_they_are_gone(self) -> None:
        """The gauge has the result of the last check."""
        metrics = Metrics()
        duplicate = DuplicateSubscriptions(
            tenant_id=ACME, plan_code="pro", subscription_ids=(SubscriptionId("sub_1"), SubscriptionId("sub_2"))
        )
        for found in ((duplicate,), ()):
            metrics.duplicates_seen(DuplicateReport(duplicates=found))
            assert metrics.registry.get_sample_value("billing_duplicate_subscriptions") == len(found)

    def test_readings_of_entitlements_are_counted(self) -> None:
        """With the number of tenants in memory; stale answers took no reading."""
        metrics = Metrics()
        metrics.entitlements_read(EntitlementReport(result="read", seconds=0.02, kept=3))
        metrics.entitlements_read(EntitlementReport(result="stale", kept=4))
        value = metrics.registry.get_sample_value
        counted = {each: value("billing_entitlement_readings_total", {"result": each}) for each in ("read", "stale")}
        assert counted == {"read": 1, "stale": 1}
        assert value("billing_entitlement_reading_duration_seconds_count") == 1
        assert value("billing_entitlements_cached_tenants") == 4

    def test_prices_of_no_plan_are_shown_until_they_are_mapped(self) -> None:
        """The gauge has the result of the last check."""
        metrics = Metrics()
        price = UnmappedPrice(
            price_id=PriceId("price_1"), product_id=None, lookup_key=None, subscriptions=2, tenants=(ACME,)
        )
        for found in ((price,), ()):
            metrics.unmapped_seen(UnmappedReport(prices=found))
            assert metrics.registry.get_sample_value("billing_unmapped_prices") == len(found)

    @pytest.mark.parametrize("reason", ["livemode", "account"])
    def test_events_of_another_mode_or_account_are_counted(self, reason: str) -> None:
        """A misconfigured webhook endpoint is visible as a rising count."""
        metrics = Metrics()
        ignored = outcome(Disposition.IGNORED, reason=reason)
        metrics.processed(ProcessingReport(outcomes=[ignored], events=(), lost=0, seconds=1))
        labels = {"disposition": "ignored", "reason": reason}
        assert metrics.registry.get_sample_value("stripe_dispatch_events_total", labels) == 1

    def test_outdated_names_of_tenants_are_counted(self) -> None:
        """Metadata that still names the former tenant shows as a rising count until it is corrected."""
        metrics = Metrics()
        outcomes = [attrs.evolve(outcome(Disposition.APPLIED), outdated_hint=outdated) for outdated in (True, False)]
        metrics.processed(ProcessingReport(outcomes=outcomes, events=(), lost=0, seconds=1))
        assert metrics.registry.get_sample_value("billing_outdated_tenant_hints_total") == 1

    def test_fields_that_could_not_be_read_are_counted(self) -> None:
        """A new shape of Stripe's objects is visible as a rising count, by its path in the schema."""
        metrics = Metrics()
        places = ["invoice.period", "invoice.period", "invoice.total"]
        metrics.processed(ProcessingReport(outcomes=(), events=(), lost=0, seconds=1, unreadable=places))
        value = metrics.registry.get_sample_value
        assert value("stripe_unreadable_fields_total", {"field": "invoice.period"}) == 2
        assert value("stripe_unreadable_fields_total", {"field": "invoice.total"}) == 1

    def test_retries_are_counted_apart_from_first_attempts(self) -> None:
        """Only attempts after the first count as retries, by result."""
        metrics = Metrics()
        outcomes = [
            outcome(Disposition.APPLIED),
            outcome(Disposition.APPLIED, attempt=3),
            outcome(Disposition.DEAD, attempt=12, reason="bug"),
        ]
        claim = Claim(dispatch_id=1, attempt=1, event=provider_event())
        retry = Retry(claim=claim, reason="bug", error="boom", after=timedelta(seconds=9))
        metrics.processed(ProcessingReport(outcomes=outcomes, events=(), retries=[retry] * 4, lost=2, seconds=0.01))
        value = metrics.registry.get_sample_value
        assert value("stripe_dispatch_retry_total", {"result": "applied"}) == 1
        assert value("stripe_dispatch_retry_total", {"result": "dead"}) == 1
        assert value("stripe_dispatch_retry_total", {"result": "rescheduled"}) == 4
        assert value("stripe_dispatch_retry_total", {"result": "lost"}) == 2
        assert value("stripe_dispatch_events_total", {"disposition": "applied", "reason": ""}) == 2
        assert value("stripe_dispatch_batch_seconds_count") == 1

    def test_failed_attempts_are_counted_by_event_type(self) -> None:
        """Of events that are tried again, and of those that died; an applied event is no failure."""
        metrics = Metrics(event_types=[provider_event().type])
        outcomes = [outcome(Disposition.APPLIED), outcome(Disposition.DEAD, attempt=12, reason="bug")]
        claim = Claim(dispatch_id=1, attempt=1, event=provider_event())
        retry = Retry(claim=claim, reason="bug", error="boom", after=timedelta(seconds=9))
        metrics.processed(ProcessingReport(outcomes=outcomes, events=(), retries=[retry], lost=0, seconds=0.01))
        labels = {"event_type": provider_event().type, "result": "dispatch_failed"}
        assert metrics.registry.get_sample_value("stripe_webhook_events_total", labels) == 2

    def test_a_reason_without_dead_events_goes_back_to_none(self) -> None:
        """An alert on dead events must resolve when they are replayed."""
        metrics = Metrics()
        metrics.backlog_seen(backlog(dead={"bug": 2, "unknown_price": 1}))
        metrics.backlog_seen(backlog(dead={"bug": 1}))
        assert metrics.registry.get_sample_value("stripe_dispatch_dead_events", {"reason": "bug"}) == 1
        assert metrics.registry.get_sample_value("stripe_dispatch_dead_events", {"reason": "unknown_price"}) == 0

    def test_the_backlog_is_shown_in_seconds_and_counts(self) -> None:
        """Alerts depend on these gauges."""
        metrics = Metrics()
        metrics.backlog_seen(backlog(oldest_due=timedelta(seconds=7), due=3, parked=2))
        value = metrics.registry.get_sample_value
        assert value("stripe_dispatch_oldest_due_seconds") == 7
        assert (value("stripe_dispatch_due_events"), value("stripe_dispatch_parked_events")) == (3, 2)
        assert value("stripe_billing_stream_backlog_seconds") == 1.5

    def test_the_pool_is_read_when_the_metrics_are_scraped(self) -> None:
        """The gauge reads its value when it is scraped."""
        metrics, busy = Metrics(), [3.0]
        metrics.watch_pool("readers", in_use=lambda: busy[0], limit=10)
        value, readers = metrics.registry.get_sample_value, {"pool": "readers"}
        assert value("billing_database_connections_in_use", readers) == 3
        busy[0] = 7
        assert value("billing_database_connections_in_use", readers) == 7
        assert value("billing_database_connections_limit", readers) == 10


async def test_a_stored_webhook_is_counted_by_type_and_result() -> None:
    """The wrapper counts the receipts of its inner inbox."""
    metrics = Metrics(event_types=["invoice.paid"])
    inner = MemoryEventInbox(MemoryDatabase(), ManualClock())
    store = ObservedEventInbox(inner, metrics)
    await store.record(provider_event(1))
    await store.record(provider_event(1))
    value = metrics.registry.get_sample_value
    for result in ("accepted", "duplicate"):
        assert value("stripe_webhook_events_total", {"event_type": "invoice.paid", "result": result}) == 1
    assert len(await inner.claim(limit=10, lease=timedelta(seconds=1))) == 1


async def test_a_webhook_that_could_not_be_stored_is_counted_too() -> None:
    """The result is the code of the error, which is raised again."""

    class AwayStore(MemoryEventInbox):
        async def record(self, event: ProviderEvent, *, lease: timedelta | None = None) -> Receipt:
            raise StoreUnavailableError

    metrics = Metrics(event_types=["invoice.paid"])
    store = ObservedEventInbox(AwayStore(MemoryDatabase(), ManualClock()), metrics)
    with pytest.raises(StoreUnavailableError):
        await store.record(provider_event())
    labels = {"event_type": "invoice.paid", "result": "store_unavailable"}
    assert metrics.registry.get_sample_value("stripe_webhook_events_total", labels) == 1


STRIPE_KEY = "sk_live_51H" + "x" * 40
WEBHOOK_SECRET = "whsec_" + "Ab9+/" * 6
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJ0ZW5hbnRfaWQiOiJhY21lIn0.c2lnbmF0dXJl-_"
URL = "postgresql://app:pa55:w@rd@db.example:5432/billing"


@pytest.fixture
def logs() -> Iterator[io.StringIO]:
    """Capture the log as JSON lines, and restore the process's configuration afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure(level="info", format="json", stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


class TestLogging:
    """One line per entry, without secrets."""

    def test_entries_are_json_lines_with_level_and_time(self, logs: io.StringIO) -> None:
        """A line break in a value does not start another line."""
        structlog.get_logger().info("webhook.refused", reason="bad\nINFO forged")
        (line,) = logs.getvalue().splitlines()
        entry = json.loads(line)
        assert entry["event"] == "webhook.refused"
        assert entry["level"] == "info"
        assert entry["reason"] == "bad\nINFO forged"
        assert entry["timestamp"].endswith("Z")

    def test_lower_levels_are_left_out(self, logs: io.StringIO) -> None:
        """Debug lines are written only at level debug."""
        structlog.get_logger().debug("noise")
        assert logs.getvalue() == ""

    @pytest.mark.parametrize(
        "key",
        ["token", "jwt_secret", "Authorization", "password", "Stripe-Signature", "api_key", "payload", "raw_body"],
    )
    def test_values_are_redacted_by_the_name_of_their_key(self, logs: io.StringIO, key: str) -> None:
        """At every depth, and for any value."""
        structlog.get_logger().info("x", **{key: "harmless"}, nested={"list": [{key: b"bytes"}]})
        entry = json.loads(logs.getvalue())
        assert entry[key] == REDACTED
        assert entry["nested"]["list"][0][key] == REDACTED

    def test_numbers_under_such_keys_stay(self, logs: io.StringIO) -> None:
        """The index of the matching secret is not a secret."""
        structlog.get_logger().info("x", secret_slot=1)
        assert json.loads(logs.getvalue())["secret_slot"] == 1

    @pytest.mark.parametrize(
        "secret",
        [STRIPE_KEY, STRIPE_KEY.replace("sk", "rk"), STRIPE_KEY.replace("sk", "sk_org"), WEBHOOK_SECRET, JWT, URL],
    )
    def test_secrets_are_redacted_by_their_shape_everywhere(self, logs: io.StringIO, secret: str) -> None:
        """In messages, values, objects, exceptions and their causes."""

        class Holder:
            def __str__(self) -> str:
                return f"holder of {secret}"

        cause = ValueError(f"inner {secret}")
        error = RuntimeError(f"outer {secret}")
        error.__cause__ = cause
        logger = structlog.get_logger()
        logger.error(f"failed with {secret}", exc_info=error, detail=f"<{secret}>", holder=Holder(), many=[secret])
        written = logs.getvalue()
        assert secret not in written
        assert "pa55" not in written
        assert "RuntimeError: outer" in written
        assert "ValueError: inner" in written
        assert len(written.splitlines()) == 1

    def test_log_records_of_dependencies_are_redacted_too(self, logs: io.StringIO) -> None:
        """Records of the standard library are redacted the same way, including exceptions."""
        error = OSError(f"cannot reach {URL}")
        logging.getLogger("aiohttp.server").error("Error handling request with %s", STRIPE_KEY, exc_info=error)
        entry = json.loads(logs.getvalue())
        assert entry["logger"] == "aiohttp.server"
        assert STRIPE_KEY not in logs.getvalue()
        assert "pa55" not in logs.getvalue()
        assert "cannot reach postgresql://app:…@db.example:5432/billing" in entry["exception"]

    def test_context_is_part_of_every_line(self, logs: io.StringIO) -> None:
        """Variables that an entrypoint binds are on all lines logged below it."""
        with structlog.contextvars.bound_contextvars(event_id="evt_1"):
            structlog.get_logger().info("x")
        assert json.loads(logs.getvalue())["event_id"] == "evt_1"


def test_ordinary_text_is_unchanged() -> None:
    """Ids, prices and URLs without passwords stay readable."""
    text = "sub_1 of cus_2 at https://example.com:8080/a?b=c, price_3, postgresql://db/billing, sk_test"
    assert Redaction(["postgres", "short"]).hide(text) == text
