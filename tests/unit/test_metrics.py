"""The metrics as a whole: their names, first values and reference; and each step of an event as a histogram."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import attrs
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Counter as LibraryCounter
from prometheus_client import Histogram as LibraryHistogram

from billing_app.observers import Observers
from billing_core.errors import DEAD_REASONS
from billing_core.events import Claim, Disposition, Outcome
from billing_core.inbox.batch import ProcessingReport
from billing_core.operations.call_reports import GatewayCall
from billing_core.oversight.heartbeat import HeartbeatReport
from billing_core.oversight.monitors import BacklogReport, InvariantReport, ProcessesReport
from billing_core.oversight.ports import Backlog, RunningProcess
from billing_core.stream.publisher import PublishingReport
from billing_core.testing.builders import AT, provider_event
from billing_stripe.translate import EVENT_TYPES
from billing_stripe.versions import API_VERSIONS
from billing_telemetry import reference
from billing_telemetry.counter import Counter
from billing_telemetry.declaring import LATENCY, Declared
from billing_telemetry.histogram import Histogram
from billing_telemetry.metrics import Metrics
from billing_telemetry.webhook_metrics import REFUSED

REPOSITORY = Path(__file__).parents[2]
DECLARED = reference.declared()
UNITS = ("_seconds", "_bytes", "_timestamp_seconds")
STORED = ("accepted", "duplicate", "store_unavailable", "dispatch_failed")


def new() -> Metrics:
    return Metrics(event_types=EVENT_TYPES, api_versions=API_VERSIONS, plan_codes=("pro",), version="1.2.3")


def test_the_reference_in_the_repository_is_up_to_date() -> None:
    """When this fails, run `python -m billing_telemetry.reference`."""
    assert (REPOSITORY / reference.DOCUMENT).read_text(encoding="utf-8") == reference.render()


def test_the_reference_has_every_metric_of_the_registry_once() -> None:
    """Except for metrics that the library registers itself."""
    metrics = new()
    shown = [family.name for family in metrics.registry.collect() if not family.name.startswith("process_")]
    named = [each.name.removesuffix("_total") for each in metrics.declarations.declared]
    assert sorted(named) == sorted(shown)
    for each in metrics.declarations.declared:
        assert reference.render().count(f"\n| `{each.name}` | ") == 1


@pytest.mark.parametrize("metric", DECLARED, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: Declared) -> None:
    """Counters end with `_total`, histograms with their unit, and ages say that they are seconds."""
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.kind != "histogram" or metric.name.endswith(UNITS)
    assert ("oldest" in metric.name) <= metric.name.endswith("_seconds")
    assert metric.help.endswith(".")


@pytest.mark.parametrize(
    "metric",
    [each for each in DECLARED if each.labels and not any(label.others for label in each.labels)],
    ids=lambda metric: metric.name,
)
def test_every_value_of_a_closed_set_begins_at_zero(metric: Declared) -> None:
    """Otherwise the first increase is not seen by `rate`."""
    registry = new().registry
    sample = f"{metric.name}_count" if metric.kind == "histogram" else metric.name
    expected = 1 if metric.name == "billing_dependency_up" else 0
    if metric.name == "stripe_billing_stream_events_total":  # not every source has every result
        return
    for values in product(*(label.values for label in metric.labels)):
        labels = dict(zip((label.name for label in metric.labels), values, strict=True))
        assert registry.get_sample_value(sample, labels) in {expected, 0}, labels


def test_webhooks_dead_events_and_messages_begin_at_zero() -> None:
    """The combinations of labels that occur, and no others."""
    value = new().registry.get_sample_value
    webhooks = [*product((*EVENT_TYPES, "other"), STORED), *product(["unknown"], REFUSED)]
    for event_type, result in webhooks:
        assert value("stripe_webhook_events_total", {"event_type": event_type, "result": result}) == 0
    assert value("stripe_webhook_events_total", {"event_type": "unknown", "result": "accepted"}) is None
    for reason in DEAD_REASONS:
        assert value("stripe_dispatch_events_total", {"disposition": "dead", "reason": reason}) == 0
    for source, result in (("dispatch", "numbered"), ("publisher", "failed"), ("live", "delivered")):
        assert value("stripe_billing_stream_events_total", {"source": source, "result": result}) == 0


def test_a_histogram_shows_what_the_librarys_would() -> None:
    """Byte for byte; values on a bound belong to its bucket."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    cheap = Histogram("x_seconds", "Help.", LATENCY)
    ours.register(cheap)
    library = LibraryHistogram("x_seconds", "Help.", registry=theirs, buckets=LATENCY)
    values = [*LATENCY, 0.0, 5000.0, *(random.Random(7).uniform(0, 100) for _ in range(100))]
    for value in values:
        cheap.observe(value)
        library.observe(value)
    expected = [line for line in generate_latest(theirs).decode().splitlines() if "_created" not in line]
    assert generate_latest(ours).decode().splitlines() == expected


def test_a_counter_shows_what_the_librarys_would() -> None:
    """Byte for byte, with the labels in their order, and escaped."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    cheap = Counter("x_total", "Help.", ["kind", "result"])
    ours.register(cheap)
    library = LibraryCounter("x_total", "Help.", ["kind", "result"], registry=theirs)
    for kind, result, amount in (("a", "ok", 1), ('"\n', "ok", 2.5), ("a", "ok", 3), ("a", "lost", 0)):
        cheap(kind, result).inc(amount)
        library.labels(kind, result).inc(amount)
    expected = [line for line in generate_latest(theirs).decode().splitlines() if "_created" not in line]
    assert generate_latest(ours).decode().splitlines() == expected


def test_a_value_may_be_observed_several_times_at_once() -> None:
    """A batch has one wait."""
    registry = CollectorRegistry()
    histogram = Histogram("x_seconds", "Help.", (1, 2), label="pool", values=["a"])
    registry.register(histogram)
    histogram.observe(1.5, "b", times=3)
    counts = {
        (pool, bound): registry.get_sample_value("x_seconds_bucket", {"pool": pool, "le": bound})
        for pool, bound in product("ab", ("1.0", "2.0", "+Inf"))
    }
    assert list(counts.values()) == [0, 0, 0, 0, 3, 3]
    assert registry.get_sample_value("x_seconds_sum", {"pool": "b"}) == 4.5


# --- the steps of an event ------------------------------------------------------------------------------------------


def processed(metrics: Metrics, *claims: Claim, disposition: Disposition = Disposition.APPLIED) -> None:
    outcomes = [Outcome(claim=claim, disposition=disposition, reason="bug") for claim in claims]
    metrics.processed(ProcessingReport(outcomes=outcomes, events=(), lost=0, seconds=0.01))


def received(ago: timedelta, **fields: object) -> Claim:
    event = attrs.evolve(provider_event("evt_1"), received_at=datetime.now(UTC) - ago)
    return attrs.evolve(Claim(dispatch_id=1, attempt=1, event=event), **fields)


def test_processing_is_measured_from_the_receipt_to_the_end() -> None:
    """Every end counts; a late one is in no early bucket."""
    metrics = new()
    for disposition in (Disposition.APPLIED, Disposition.IGNORED, Disposition.PARKED):
        processed(metrics, received(timedelta(seconds=2)), disposition=disposition)
    processed(metrics, received(timedelta(minutes=10), attempt=12), disposition=Disposition.DEAD)
    name, value = "billing_stored_to_applied_seconds", metrics.registry.get_sample_value
    buckets = [value(f"{name}_bucket", {"le": bound}) for bound in ("1.0", "10.0", "300.0", "900.0")]
    assert [*buckets, value(f"{name}_count")] == [0, 3, 3, 4, 4]


@pytest.mark.parametrize("before", [{"forgiven": 1}, {"applied": True}, {"parked": True}])
def test_events_that_were_processed_before_are_not_measured(before: dict[str, object]) -> None:
    """A replay, or an event that waited for its tenant, would look like a backlog of days."""
    metrics = new()
    processed(metrics, received(timedelta(days=3), attempt=2, **before))
    assert metrics.registry.get_sample_value("billing_stored_to_applied_seconds_count") == 0


def test_storing_is_measured_from_creation_and_from_receipt() -> None:
    """Only of events that are new: a repeat is as old as Stripe likes."""
    metrics = new()
    event = attrs.evolve(provider_event("evt_1"), created_at=datetime.now(UTC) - timedelta(seconds=40))
    for result in ("accepted", "duplicate"):
        metrics.webhook_stored(event, result, seconds=0.02)
    value = metrics.registry.get_sample_value
    assert value("billing_event_to_stored_seconds_bucket", {"le": "30.0"}) == 0
    assert value("billing_event_to_stored_seconds_bucket", {"le": "60.0"}) == 1
    assert value("billing_received_to_stored_seconds_bucket", {"le": "0.025"}) == 1
    assert value("billing_received_to_stored_seconds_count") == 1


def test_publishing_is_measured_by_message() -> None:
    """Messages of one commit have waited alike."""
    metrics = new()
    metrics.published(PublishingReport(published=5, backfilled=0, failed=0, waits={0.02: 4, 70.0: 1}))
    value = metrics.registry.get_sample_value
    assert value("billing_applied_to_published_seconds_bucket", {"le": "0.025"}) == 4
    assert value("billing_applied_to_published_seconds_count") == 5


# --- webhooks, processes and monitors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "label"),
    [
        (API_VERSIONS[0], API_VERSIONS[0]),
        ("2023-10-16", "between"),
        ("2019-12-03", "other"),
        ("2099-01-01.zeta", "other"),
        (None, "none"),
    ],
)
def test_versions_outside_the_tested_range_are_seen(version: str | None, label: str) -> None:
    """Stripe sends the version that an endpoint was made with, whatever it is."""
    metrics = new()
    metrics.webhook_stored(attrs.evolve(provider_event("evt_1"), api_version=version), "accepted", seconds=0)
    assert metrics.registry.get_sample_value("stripe_webhook_api_versions_total", {"api_version": label}) == 1


def test_a_heartbeat_shows_its_time_and_the_difference_of_clocks() -> None:
    """One that failed changes neither."""
    metrics = new()
    observers = Observers(metrics)
    value = metrics.registry.get_sample_value
    assert value("billing_process_last_heartbeat_timestamp_seconds") == 0
    observers.beaten(HeartbeatReport(ahead=timedelta(seconds=-31)))
    beaten_at = value("billing_process_last_heartbeat_timestamp_seconds")
    assert beaten_at is not None
    assert abs(beaten_at - datetime.now(UTC).timestamp()) < 60
    assert value("billing_clock_skew_seconds", {"reference": "postgres"}) == -31


def test_a_dependency_is_up_until_it_cannot_be_used() -> None:
    """Read when the metrics are scraped."""
    metrics, works = new(), [True]
    metrics.watch_dependencies({"redis": lambda: works[0]})
    assert metrics.registry.get_sample_value("billing_dependency_up", {"dependency": "redis"}) == 1
    works[0] = False
    assert metrics.registry.get_sample_value("billing_dependency_up", {"dependency": "redis"}) == 0


def test_running_processes_are_counted_by_kind() -> None:
    """A kind that has none any more goes back to zero; so does the number of those that process events."""
    metrics = new()
    observers, value = Observers(metrics), metrics.registry.get_sample_value
    server = RunningProcess(
        process_id="a", kind="serve", processes_events=False, host="w", pid=1, version="1", started_at=AT
    )
    worker = attrs.evolve(server, process_id="b", kind="worker", processes_events=True)
    for alive, expected in (([server, worker, worker], [1, 2, 2]), ([server], [1, 0, 0])):
        observers.processes_seen(ProcessesReport(alive=alive))
        counts = [value("billing_processes", {"kind": kind}) for kind in ("serve", "worker")]
        assert [*counts, value("billing_processing_processes")] == expected


def test_the_age_of_what_was_measured_is_known() -> None:
    """A gauge that nothing renews looks well after its monitor has stopped."""
    metrics = new()
    value = metrics.registry.get_sample_value
    observers = Observers(metrics)
    observers.backlog_seen(BacklogReport(backlog=Backlog(), oldest_unpublished=timedelta(0)))
    observers.invariants_checked(InvariantReport(violations=()))
    runs = {
        monitor: value("billing_monitor_last_run_timestamp_seconds", {"monitor": monitor})
        for monitor in ("backlog", "invariants", "duplicates")
    }
    assert [bool(runs[monitor]) for monitor in runs] == [True, True, False]


def test_ages_of_parked_and_dead_events_are_shown() -> None:
    """They fall back to zero."""
    metrics = new()
    value = metrics.registry.get_sample_value
    waiting = Backlog(oldest_parked=timedelta(hours=2), dead={"bug": 1}, oldest_dead={"bug": timedelta(minutes=5)})
    for backlog, parked, dead in ((waiting, 7200, 300), (Backlog(), 0, 0)):
        metrics.backlog_seen(BacklogReport(backlog=backlog, oldest_unpublished=timedelta(0)))
        assert value("stripe_dispatch_oldest_parked_seconds") == parked
        assert value("stripe_dispatch_oldest_dead_seconds", {"reason": "bug"}) == dead


def test_failed_calls_are_counted_by_reason_alone() -> None:
    """An alert needs a series that is there before the first failure; a canceled call is none."""
    metrics = new()
    for result in ("ok", "canceled", "authentication"):
        metrics.gateway_called(GatewayCall(operation="fetch_invoice", result=result, seconds=0.1, attempts=1))
    failed = sum(
        sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "stripe_gateway_failures_total"
    )
    assert failed == 1
    assert metrics.registry.get_sample_value("stripe_gateway_failures_total", {"reason": "authentication"}) == 1
