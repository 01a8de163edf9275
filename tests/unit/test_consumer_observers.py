"""Metrics and log lines of consumers and outgoing webhooks."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
import structlog
from prometheus_client import CollectorRegistry

from billing_app import consumer_observers
from billing_app.consumer_observers import ConsumerObservers
from billing_app.consumer_outages import ConsumerOutages
from billing_core.consumers.delivery import DeliveryReport, Result
from billing_core.consumers.monitor import ConsumerReport
from billing_core.consumers.ports import Lag, RegisteredConsumer
from billing_core.consumers.values import Consumer, ConsumerMessage, ConsumerName, MessageId
from billing_core.model import TenantId
from billing_core.outgoing.delivering import WebhookReport
from billing_core.outgoing.following import ReceiversReport
from billing_core.outgoing.values import Delivery, DeliveryResult
from billing_core.testing.builders import ACME, AT, GLOBEX, message
from billing_telemetry.consumer_metrics import ConsumerMetrics
from billing_telemetry.declaring import Declarations

Lines: TypeAlias = list[MutableMapping[str, Any]]
CRM, MAILS = ConsumerName("crm"), ConsumerName("mails")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def observers(registry: CollectorRegistry) -> ConsumerObservers:
    return ConsumerObservers(ConsumerMetrics(Declarations(registry)))


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Capture every level: a logger that other tests have used keeps the level that was configured then."""
    structlog.reset_defaults()
    monkeypatch.setattr(consumer_observers, "log", structlog.get_logger())
    with structlog.testing.capture_logs() as logged:
        yield logged


class Clock:
    """A clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def attempt(result: Result, tenant_id: TenantId = ACME, **fields: Any) -> DeliveryReport:
    given = ConsumerMessage(
        id=MessageId(epoch="first", tenant_id=tenant_id, sequence=7), event=message(tenant_id, sequence=7)
    )
    return DeliveryReport(consumer=Consumer(name=CRM), message=given, result=result, **fields)


def webhook(result: DeliveryResult, disabled: str | None = None) -> WebhookReport:
    delivery = Delivery(result=result, detail="answered 500", seconds=0.3)
    return WebhookReport(consumer=CRM, delivery=delivery, disabled=disabled)


@pytest.mark.parametrize(
    ("result", "level", "event"),
    [
        ("retried", "warning", "consumer.message_failed"),
        ("skipped", "warning", "consumer.message_skipped"),
        ("dead", "error", "consumer.message_dead"),
        ("lost", "info", "consumer.claim_lost"),
    ],
)
def test_every_attempt_that_failed_has_a_line(
    observers: ConsumerObservers, registry: CollectorRegistry, lines: Lines, result: Result, level: str, event: str
) -> None:
    """With all by which the message is found, and with the error; it is counted by its result."""
    observers.handled(attempt(result, error="answered 500", retry_after=timedelta(seconds=5), seconds=0.25))
    (line,) = lines
    assert (line["log_level"], line["event"], line["consumer"]) == (level, event, "crm")
    assert (line["message_id"], line["tenant_id"], line["attempt"]) == ("first:acme:7", "acme", 1)
    assert (line["event_id"], line["event_type"]) == ("evt_7", "subscription.updated")
    assert (line["error"], line["retry_seconds"]) == ("answered 500", 5.0)
    assert ("remedy" in line) is (result == "dead")
    assert registry.get_sample_value("billing_consumer_messages_total", {"consumer": "crm", "result": result}) == 1


def test_an_outage_has_a_line_at_once_then_one_a_minute_and_one_at_its_end(
    registry: CollectorRegistry, lines: Lines
) -> None:
    """For any number of tenants. The failures between are counted, and logged at level debug."""
    clock = Clock()
    observers = ConsumerObservers(ConsumerMetrics(Declarations(registry)), outages=ConsumerOutages(clock))
    pause = timedelta(seconds=30)
    for _ in range(5):
        for tenant in range(100):
            observers.handled(attempt("retried", TenantId(f"t{tenant}"), error="refused", retry_after=pause))
        clock.now += 30
    warned = [line for line in lines if line["log_level"] == "warning"]
    assert [line["event"] for line in warned] == ["consumer.message_failed"] * 3
    assert [(line["failures"], line["tenants"], line["failing_seconds"]) for line in warned] == [
        (1, 1, 0),
        (201, 100, 60),
        (401, 100, 120),
    ]
    assert [line["log_level"] for line in lines].count("debug") == 497

    for tenant in range(100):
        assert not [line for line in lines if line["event"] == "consumer.recovered"]
        observers.handled(attempt("handled", TenantId(f"t{tenant}")))
    (ended,) = [line for line in lines if line["event"] == "consumer.recovered"]
    assert (ended["log_level"], ended["consumer"], ended["failures"], ended["seconds"]) == ("info", "crm", 500, 150)
    observers.handled(attempt("retried", error="refused"))
    assert lines[-1]["log_level"] == "warning"


def test_an_outage_does_not_wait_for_messages_that_do_not_come_back(registry: CollectorRegistry, lines: Lines) -> None:
    """One that is held back, and one that another process has now: the next success of any tenant ends it."""
    clock = Clock()
    observers = ConsumerObservers(ConsumerMetrics(Declarations(registry)), outages=ConsumerOutages(clock))
    for ends_here in (True, False):
        observers.handled(attempt("retried", error="refused", retry_after=timedelta(seconds=5)))
        if ends_here:
            observers.handled(attempt("dead", error="refused"))
        else:
            observers.handled(attempt("handled", GLOBEX))
            clock.now += 66
        assert lines[-1]["event"] != "consumer.recovered"
        observers.handled(attempt("handled", GLOBEX))
        assert [line["event"] for line in lines[-2:]] == ["consumer.recovered", "consumer.message_handled"]


def test_a_failure_long_after_the_last_begins_another_outage(registry: CollectorRegistry, lines: Lines) -> None:
    """The one before ended without a message that was handled."""
    clock = Clock()
    observers = ConsumerObservers(ConsumerMetrics(Declarations(registry)), outages=ConsumerOutages(clock))
    observers.handled(attempt("retried", error="refused", retry_after=timedelta(seconds=5)))
    observers.handled(attempt("dead", error="refused"))
    clock.now += 10
    observers.handled(attempt("retried", GLOBEX, error="refused"))
    assert (lines[-1]["log_level"], lines[-1]["failures"], lines[-1]["failing_seconds"]) == ("warning", 1, 0)


def test_successes_are_counted_and_logged_at_level_debug_alone(
    observers: ConsumerObservers, registry: CollectorRegistry, lines: Lines
) -> None:
    """They are too many for a log; level debug shows them."""
    observers.handled(attempt("handled"))
    assert [line["log_level"] for line in lines] == ["debug"]
    assert registry.get_sample_value("billing_consumer_messages_total", {"consumer": "crm", "result": "handled"}) == 1


def test_a_receiver_that_is_disabled_raises_an_alert(
    observers: ConsumerObservers, registry: CollectorRegistry, lines: Lines
) -> None:
    """Once, at level error, with the commands that lead on. Attempts before it are counted by result."""
    observers.sent(webhook(DeliveryResult.REFUSED))
    observers.sent(webhook(DeliveryResult.GONE, disabled="The receiver answered 410."))
    (line,) = lines
    assert (line["log_level"], line["event"], line["reason"]) == (
        "error",
        "receiver.disabled",
        "The receiver answered 410.",
    )
    assert "billing consumers enable crm" in line["remedy"]
    for result in ("refused", "gone"):
        labels = {"consumer": "crm", "result": result}
        assert registry.get_sample_value("billing_outgoing_webhooks_total", labels) == 1
    assert registry.get_sample_value("billing_outgoing_webhook_seconds_count") == 2


def test_the_lag_of_each_consumer_is_shown_until_it_is_removed(
    observers: ConsumerObservers, registry: CollectorRegistry
) -> None:
    """Zero where nothing waits, so that an alert can tell that from a missing worker."""

    def shown(name: ConsumerName) -> list[float | None]:
        names = ("billing_consumer_oldest_seconds", "billing_consumer_held_tenants")
        return [registry.get_sample_value(each, {"consumer": name}) for each in names]

    observers.lagged(ConsumerReport(lags={CRM: Lag(oldest=timedelta(minutes=5), held=2), MAILS: Lag()}))
    assert (shown(CRM), shown(MAILS)) == ([300, 2], [0, 0])
    observers.lagged(ConsumerReport(lags={MAILS: Lag()}))
    assert (shown(CRM), shown(MAILS)) == ([None, None], [0, 0])


def test_disabled_consumers_are_shown(observers: ConsumerObservers, registry: CollectorRegistry) -> None:
    """Handlers and receivers alike."""

    def disabled(name: ConsumerName) -> float | None:
        return registry.get_sample_value("billing_consumer_disabled", {"consumer": name})

    crm = RegisteredConsumer(consumer=Consumer(name=CRM), registered_at=AT, disabled_at=AT)
    mails = RegisteredConsumer(consumer=Consumer(name=MAILS), registered_at=AT)
    observers.followed(ReceiversReport(registered=(crm, mails)))
    assert (disabled(CRM), disabled(MAILS)) == (1, 0)
    observers.followed(ReceiversReport(registered=(mails,)))
    assert (disabled(CRM), disabled(MAILS)) == (None, 0)


def test_receivers_that_begin_or_end_have_a_line(observers: ConsumerObservers, lines: Lines) -> None:
    """And nothing is logged every two seconds while nothing changes."""
    observers.followed(ReceiversReport())
    observers.followed(ReceiversReport(begun=(CRM,), ended=(MAILS,)))
    (line,) = lines
    assert (line["event"], line["begun"], line["ended"]) == ("receivers.changed", ["crm"], ["mails"])


def test_a_receiver_whose_name_code_has_taken_has_a_line(observers: ConsumerObservers, lines: Lines) -> None:
    """As an error that says what happens to its messages, and what to do."""
    observers.followed(ReceiversReport(refused=(CRM,)))
    (line,) = lines
    assert (line["event"], line["log_level"], line["consumer"]) == ("receiver.name_taken", "error", "crm")
    assert "another name" in line["remedy"]
