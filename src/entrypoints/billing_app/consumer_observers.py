"""The observer of consumers and outgoing webhooks: it turns their reports into metrics and log lines."""

import logging
from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

import attrs
import structlog

from billing_app.consumer_outages import ConsumerOutages
from billing_core.consumers.delivery import DeliveryReport
from billing_core.consumers.monitor import ConsumerReport
from billing_core.consumers.ports import RegisteredConsumer
from billing_core.outgoing.delivering import WebhookReport
from billing_core.outgoing.following import ReceiversReport

log = structlog.get_logger()

_LINES: Final = {
    "handled": (logging.DEBUG, "consumer.message_handled"),
    "retried": (logging.WARNING, "consumer.message_failed"),
    "skipped": (logging.WARNING, "consumer.message_skipped"),
    "dead": (logging.ERROR, "consumer.message_dead"),
    "lost": (logging.INFO, "consumer.claim_lost"),
}
"""The level and the line for each result."""


@runtime_checkable
class ConsumerReportMetrics(Protocol):
    """Counts what the reports say; no call blocks or fails."""

    def handled(self, report: DeliveryReport) -> None:
        """Count one attempt at a message."""
        ...

    def sent(self, report: WebhookReport) -> None:
        """Count and time one attempt at a receiver."""
        ...

    def lagged(self, report: ConsumerReport) -> None:
        """Set what waits now."""
        ...

    def registered(self, consumers: Sequence[RegisteredConsumer]) -> None:
        """Set which consumers are disabled."""
        ...


@attrs.frozen
class ConsumerObservers:
    """One method per report."""

    metrics: ConsumerReportMetrics
    outages: ConsumerOutages = attrs.field(factory=ConsumerOutages)

    def handled(self, report: DeliveryReport) -> None:
        """Count and log one attempt; at debug level only, if it succeeded or if the consumer is known to fail."""
        self.metrics.handled(report)
        level, line = _LINES[report.result]
        more: dict[str, object] = {}
        if report.result == "retried":
            failing = self.outages.failed(report)
            more = {"failures": failing.failures, "tenants": failing.tenants, "failing_seconds": failing.seconds}
            level = level if failing.due else logging.DEBUG
        elif (ended := self.outages.settled(report)) is not None:
            name = report.consumer.name
            log.info("consumer.recovered", consumer=name, failures=ended.failures, seconds=ended.seconds)
        if not log.is_enabled_for(level):
            return
        message = report.message
        if report.result == "dead":
            name = report.consumer.name
            more = {"remedy": f"Run `billing consumers show {name} --held`, fix the cause, then retry or skip it."}
        log.log(
            level,
            line,
            consumer=report.consumer.name,
            message_id=str(message.id),
            event_id=message.event.event_id,
            event_type=message.event_type,
            tenant_id=message.tenant_id,
            attempt=message.attempt,
            error=report.error,
            retry_seconds=None if report.retry_after is None else round(report.retry_after.total_seconds(), 1),
            seconds=round(report.seconds, 3),
            **more,
        )

    def sent(self, report: WebhookReport) -> None:
        """Count one attempt at a receiver, and log one that ended with the receiver disabled."""
        self.metrics.sent(report)
        if report.disabled is not None:
            log.error(
                "receiver.disabled",
                consumer=report.consumer,
                reason=report.disabled,
                remedy=f"Repair the receiver, try it with `billing consumers test {report.consumer}`, then run "
                f"`billing consumers enable {report.consumer}`. Its messages wait.",
            )

    def followed(self, report: ReceiversReport) -> None:
        """Set which consumers are disabled, and log the receivers that this process begins, ends or leaves out."""
        self.metrics.registered(report.registered)
        if report.begun or report.ended:
            log.info("receivers.changed", begun=list(report.begun), ended=list(report.ended))
        for name in report.refused:
            log.error(
                "receiver.name_taken",
                consumer=name,
                remedy=f"This process hands the messages of {name} to its own code, others send them to the receiver: "
                "each message goes to one of both. Give the code another name for its consumer, and deploy it.",
            )

    def lagged(self, report: ConsumerReport) -> None:
        """Set the metrics of what waits."""
        self.metrics.lagged(report)
