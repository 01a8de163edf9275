"""Metrics of consumers and outgoing webhooks.

The names of consumers are label values: operators and developers choose them, one per handler or receiver of a
deployment. Tenants and messages are never labels.
"""

from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from billing_core.consumers.delivery import DeliveryReport
from billing_core.consumers.monitor import ConsumerReport
from billing_core.consumers.ports import RegisteredConsumer
from billing_core.outgoing.delivering import WebhookReport

_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)


class ConsumerMetrics:
    """The metrics of consumers in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        by_consumer = ("consumer",)
        self._attempts = Counter(
            "billing_consumer_messages_total",
            "Attempts at messages by consumer and result.",
            ("consumer", "result"),
            registry=registry,
        )
        self._oldest = Gauge(
            "billing_consumer_oldest_seconds",
            "Age of the oldest message that a consumer has not handled; zero if there is none.",
            by_consumer,
            registry=registry,
        )
        self._held = Gauge(
            "billing_consumer_held_tenants",
            "Tenants that a dead message holds back, which needs an operator.",
            by_consumer,
            registry=registry,
        )
        self._disabled = Gauge(
            "billing_consumer_disabled",
            "1 for a consumer that is disabled, which needs an operator; 0 for others.",
            by_consumer,
            registry=registry,
        )
        self._webhooks = Counter(
            "billing_outgoing_webhooks_total",
            "Attempts at outgoing webhooks by consumer and result.",
            ("consumer", "result"),
            registry=registry,
        )
        self._seconds = Histogram(
            "billing_outgoing_webhook_seconds",
            "Time from the lookup of a receiver's host to its answer.",
            registry=registry,
            buckets=_SECONDS,
        )

    def handled(self, report: DeliveryReport) -> None:
        """Count one attempt."""
        self._attempts.labels(report.consumer.name, report.result).inc()

    def sent(self, report: WebhookReport) -> None:
        """Count and time one attempt at a receiver."""
        self._webhooks.labels(report.consumer, report.delivery.result.value).inc()
        self._seconds.observe(report.delivery.seconds)

    def lagged(self, report: ConsumerReport) -> None:
        """Set what waits now. A consumer that was removed is no longer shown."""
        for gauge in (self._oldest, self._held):
            gauge.clear()
        for name, lag in report.lags.items():
            self._oldest.labels(name).set(lag.oldest.total_seconds())
            self._held.labels(name).set(lag.held)

    def registered(self, consumers: Sequence[RegisteredConsumer]) -> None:
        """Set which consumers are disabled."""
        self._disabled.clear()
        for each in consumers:
            self._disabled.labels(each.consumer.name).set(each.disabled_at is not None)
