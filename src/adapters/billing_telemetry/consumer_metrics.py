"""Metrics of consumers and outgoing webhooks.

The names of consumers are label values: operators and developers choose them, one per handler or receiver of a
deployment. Tenants and messages are never labels.
"""

from collections.abc import Callable, Sequence
from typing import Final, get_args

from billing_core.consumers.delivery import DeliveryReport, Result
from billing_core.consumers.monitor import ConsumerReport
from billing_core.consumers.ports import RegisteredConsumer
from billing_core.consumers.values import ConsumerName
from billing_core.outgoing.delivering import WebhookReport
from billing_core.outgoing.values import DeliveryResult
from billing_telemetry.declaring import Declarations, Label

_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)
_CONSUMER: Final = Label("consumer", others="Names of handlers and receivers.")
_RESULTS: Final = get_args(Result)


def _ignore(_monitor: str) -> None:
    """Nothing depends on it."""


class ConsumerMetrics:
    """The metrics of consumers."""

    def __init__(self, declare: Declarations, *, ran: Callable[[str], None] = _ignore) -> None:
        """Declare the metrics. `ran` is called with `consumers` when the gauges are current."""
        self._ran = ran
        self._attempts = declare.counter(
            "billing_consumer_messages_total",
            "Attempts at messages by consumer and result; each result of a consumer begins at zero.",
            _CONSUMER,
            Label("result", _RESULTS),
            born=(),
        )
        self._oldest = declare.gauge(
            "billing_consumer_oldest_seconds",
            "Age of the oldest message that a consumer has not handled; zero if there is none.",
            _CONSUMER,
            of_database=True,
        )
        self._held = declare.gauge(
            "billing_consumer_held_tenants",
            "Tenants that a dead message holds back, which needs an operator.",
            _CONSUMER,
            of_database=True,
        )
        self._disabled = declare.gauge(
            "billing_consumer_disabled",
            "1 for a consumer that is disabled, which needs an operator; 0 for others.",
            _CONSUMER,
            of_database=True,
        )
        self._webhooks = declare.counter(
            "billing_outgoing_webhooks_total",
            "Attempts at outgoing webhooks by consumer and result; each result of a consumer begins at zero.",
            _CONSUMER,
            Label("result", [result.value for result in DeliveryResult]),
            born=(),
        )
        self._seconds = declare.histogram(
            "billing_outgoing_webhook_seconds",
            "Time from the lookup of a receiver's host to its answer.",
            buckets=_SECONDS,
        )

    def handled(self, report: DeliveryReport) -> None:
        """Count one attempt."""
        self._attempts(report.consumer.name, report.result).inc()

    def sent(self, report: WebhookReport) -> None:
        """Count and time one attempt at a receiver."""
        self._webhooks(report.consumer, report.delivery.result.value).inc()
        self._seconds.observe(report.delivery.seconds)

    def lagged(self, report: ConsumerReport) -> None:
        """Set what waits now. A consumer that was removed is no longer shown."""
        for gauge in (self._oldest, self._held):
            gauge.forget()
        for name, lag in report.lags.items():
            self._oldest(name).set(lag.oldest.total_seconds())
            self._held(name).set(lag.held)
            self._begin(name)
        self._ran("consumers")

    def registered(self, consumers: Sequence[RegisteredConsumer]) -> None:
        """Set which consumers are disabled."""
        self._disabled.forget()
        for each in consumers:
            self._disabled(each.consumer.name).set(each.disabled_at is not None)
            for result in DeliveryResult:
                self._webhooks(each.consumer.name, result.value)

    def _begin(self, name: ConsumerName) -> None:
        for result in _RESULTS:
            self._attempts(name, result)
