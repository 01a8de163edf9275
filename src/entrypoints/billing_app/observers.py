"""The observers of a process: they turn the domain's reports into metrics and log lines."""

import logging
from datetime import timedelta
from typing import Final, Protocol, runtime_checkable

import attrs
import structlog

from billing_app.dependencies import Dependencies
from billing_app.tracing import Tracing
from billing_core.entitlements.service import EntitlementReport
from billing_core.errors import GatewayAuthenticationError, GatewayUnavailableError
from billing_core.events import Disposition, Outcome
from billing_core.inbox.batch import ProcessingReport
from billing_core.operations.call_reports import Circuit, CircuitChange, GatewayCall
from billing_core.operations.pruning import PruningReport
from billing_core.operations.runner import OperationReport
from billing_core.operations.settling import SettlingReport
from billing_core.operations.stored import StoredOperation
from billing_core.oversight.heartbeat import HeartbeatReport
from billing_core.oversight.monitors import (
    BacklogReport,
    DuplicateReport,
    InvariantReport,
    ProcessesReport,
    UnmappedReport,
)
from billing_core.state.access_review import AccessReport
from billing_core.state.following_products import ProductReport
from billing_core.state.following_rules import RulesReport
from billing_core.state.refetch import RefetchReport
from billing_core.state.rules import Activation, ActivationReport
from billing_core.stream.backfill import BackfillReport
from billing_core.stream.ports import BackfillClaim
from billing_core.stream.publisher import PublishingReport
from billing_core.stream.rewrite import RewriteReport

log = structlog.get_logger()

_CALLS: Final = "call"
_SHOWN: Final = 5
"""Examples in a log line; its count says how many there are."""


_EXPECTED: Final = frozenset({"ok", "not_found", "canceled"})
"""Results of calls that need no attention."""
_REMEDIES: Final = {
    GatewayAuthenticationError.code: "Stripe refuses STRIPE_SECRET_KEY. Replace it, then restart this process.",
    GatewayUnavailableError.code: "Stripe does not answer. Calls are sent again when it does.",
}

_SUPERSEDED: Final = (
    "The rules of this process were in force before others, which it follows. If they are to return, run "
    "`billing plans refresh` with its configuration."
)
_TAKES_PLANS_AWAY: Final = (
    "The rules of this process would leave live subscriptions without a plan, so that those in force stay. "
    "Add the plans, or run `billing plans refresh` with its configuration."
)


@runtime_checkable
class ReportMetrics(Protocol):
    """Counts what the reports say; no call blocks or fails. Label values are closed sets."""

    def processed(self, report: ProcessingReport) -> None:
        """Count a batch of events by outcome."""
        ...

    def published(self, report: PublishingReport) -> None:
        """Count messages sent to the bus."""
        ...

    def refetched(self, report: RefetchReport) -> None:
        """Count an object fetched from the provider, by result."""
        ...

    def operations_settled(self, report: SettlingReport) -> None:
        """Count settled operations, and set how many are unresolved."""
        ...

    def access_reviewed(self, report: AccessReport) -> None:
        """Count tenants whose access was decided on again."""
        ...

    def gateway_called(self, call: GatewayCall) -> None:
        """Count and time one call to the provider."""
        ...

    def backlog_seen(self, report: BacklogReport) -> None:
        """Set what is waiting now."""
        ...

    def entitlements_read(self, report: EntitlementReport) -> None:
        """Count one reading of a tenant's entitlements, or one stale answer."""
        ...

    def heartbeat_taken(self, ahead: timedelta | None) -> None:
        """Note that the database took a heartbeat, and how far our clock is ahead of its clock."""
        ...

    def processes_seen(self, report: ProcessesReport) -> None:
        """Set how many processes are alive now."""
        ...

    def duplicates_seen(self, report: DuplicateReport) -> None:
        """Set how many tenants have duplicate subscriptions now."""
        ...

    def unmapped_seen(self, report: UnmappedReport) -> None:
        """Set how many prices of live subscriptions belong to no plan now."""
        ...

    def invariants_checked(self, report: InvariantReport) -> None:
        """Set how many rows violate each invariant now."""
        ...


@attrs.frozen
class Observers:
    """One method per report."""

    metrics: ReportMetrics
    dependencies: Dependencies = attrs.field(factory=Dependencies)
    tracing: Tracing | None = None

    def beaten(self, report: HeartbeatReport) -> None:
        """Note whether the database took the heartbeat of this process."""
        if report.failure is None:
            self.metrics.heartbeat_taken(report.ahead)
            self.dependencies.database.succeeded("heartbeat")
        else:
            self.dependencies.database.failed("heartbeat", report.failure)

    def processed(self, report: ProcessingReport) -> None:
        """Count a batch of events, and log each failed attempt; at debug level, also the events that did not fail."""
        self.metrics.processed(report)
        if self.tracing is not None:
            self.tracing.processed(report)
        for retry in report.retries:
            event = retry.claim.event
            log.warning(
                "event.attempt_failed",
                event_id=event.event_id,
                event_type=event.type,
                outcome="retried",
                attempt=retry.claim.tries,
                reason=retry.reason,
                error=retry.error,
                next_in_seconds=round(retry.after.total_seconds()),
            )
        debugging = log.is_enabled_for(logging.DEBUG)  # asked once: a log call costs more than counting a batch
        for outcome in report.outcomes:
            if outcome.error is not None:
                write = log.error if outcome.disposition is Disposition.DEAD else log.warning
                write("event.needs_attention", **_described(outcome), error=outcome.error)
            elif debugging:
                effect = None if outcome.effect is None else outcome.effect.value
                log.debug("event.processed", **_described(outcome), effect=effect, sequence=outcome.sequence)

    def published(self, report: PublishingReport) -> None:
        """Count messages, log how many they are at debug level, and note whether the bus took them."""
        self.metrics.published(report)
        if self.tracing is not None:
            self.tracing.published(report)
        if log.is_enabled_for(logging.DEBUG):
            log.debug(
                "messages.published", published=report.published, backfilled=report.backfilled, failed=report.failed
            )
        if report.bus_error is not None:
            self.dependencies.bus.failed("publish", report.bus_error)
        elif report.published:
            self.dependencies.bus.succeeded("publish")

    def entitlements_read(self, report: EntitlementReport) -> None:
        """Count a reading of entitlements or a stale answer; they are too many to log."""
        self.metrics.entitlements_read(report)

    def rules_followed(self, report: RulesReport) -> None:
        """Log how many tenants' state was read by rules that came into force."""
        if report.reread:
            log.info("rules.followed", generation=report.generation, tenants=report.reread)

    def products_followed(self, report: ProductReport) -> None:
        """Log that products are of other plans than before, by the provider's catalog."""
        if report.changed:
            log.info("products.followed", generation=report.generation, products=report.products)

    def rules_activated(self, report: ActivationReport) -> None:
        """Log whether the rules of this process are in force; a warning says what an operator has to do if not."""
        match report.result:
            case Activation.ACTIVATED:
                log.info("rules.activated", generation=report.generation)
            case Activation.SUPERSEDED:
                log.warning("rules.superseded", generation=report.generation, remedy=_SUPERSEDED)
            case Activation.TAKES_PLANS_AWAY:
                log.warning(
                    "rules.take_plans_away",
                    generation=report.generation,
                    subscriptions=len(report.lost),
                    examples=sorted(report.lost)[:_SHOWN],
                    remedy=_TAKES_PLANS_AWAY,
                )

    def backfilled(self, report: BackfillReport) -> None:
        """Log how the bus was filled when the process started."""
        ours = report.claim is BackfillClaim.OURS
        log.info("stream.backfilled", here=ours, tenants=report.tenants, messages=report.messages)

    def logs_replaced(self, report: RewriteReport) -> None:
        """Log that logs of the bus were replaced, or could not be."""
        if report.replaced or report.failed:
            log.info("stream.logs_replaced", replaced=report.replaced, failed=report.failed)

    def refetched(self, report: RefetchReport) -> None:
        """Count and log one object that was fetched from the provider; an error means that it is fetched again."""
        self.metrics.refetched(report)
        write = log.info if report.error is None else log.warning
        write(
            "object.refetched",
            kind=report.uncertainty.kind,
            object_id=report.uncertainty.object_id,
            result=report.result,
            error=report.error,
            seconds=round(report.seconds, 3),
        )

    def operation_ended(self, report: OperationReport) -> None:
        """Log one request of a caller; the calls that were made for it are counted where they are made."""
        request = report.request
        log.info(
            "operation.ended",
            operation=request.operation,
            command=report.command,
            tenant_id=request.tenant_id,
            request_id=request.request_id,
            subject=request.subject,
            actor=request.actor,
            result=report.result,
            attempts=report.attempts,
            seconds=round(report.seconds, 3),
        )

    def operations_settled(self, report: SettlingReport) -> None:
        """Count and log each operation whose outcome was unknown; an error or a bug means that it still is."""
        self.metrics.operations_settled(report)
        for settlement in report.settlements:
            operation = settlement.operation
            settled = settlement.error is None and settlement.result != "bug"
            write = log.info if settled else log.warning
            write(
                "operation.settled",
                operation=operation.request.operation,
                tenant_id=operation.request.tenant_id,
                request_id=operation.request.request_id,
                key=operation.key,
                result=settlement.result,
                error=None if settlement.error is None else str(settlement.error),
                attempts=operation.attempts,
                age_seconds=round(operation.age.total_seconds()),
            )

    def operation_broke(self, operation: StoredOperation, bug: Exception) -> None:
        """Log a bug with its traceback; what it left open is settled later."""
        log.error(
            "operation.broke",
            operation=operation.request.operation,
            tenant_id=operation.request.tenant_id,
            request_id=operation.request.request_id,
            key=operation.key,
            exc_info=bug,
        )

    def operations_pruned(self, report: PruningReport) -> None:
        """Log how much was deleted; nothing is no news."""
        if report.deleted:
            log.info("operations.pruned", deleted=report.deleted)

    def gateway_called(self, call: GatewayCall) -> None:
        """Count one call to the provider, and log it with the ids by which the provider finds it."""
        self.metrics.gateway_called(call)
        if call.result == GatewayUnavailableError.code:
            self.dependencies.stripe.failed(_CALLS, f"{call.operation}: {call.result}")
        elif call.attempts and call.result not in ("canceled", "bug"):
            self.dependencies.stripe.succeeded(_CALLS)
        write = log.info if call.result in _EXPECTED else log.warning
        write(
            "gateway.called",
            operation=call.operation,
            plan_code=call.plan_code,
            request_id=call.request_id,
            original_request=call.original_request,
            attempts=call.attempts,
            seconds=round(call.seconds, 3),
            outcome=call.result,
        )

    def circuit_changed(self, change: CircuitChange) -> None:
        """Log that calls to the provider are no longer sent, or are sent again."""
        match change.state:
            case Circuit.OPEN:
                log.error("gateway.circuit_opened", cause=change.cause, remedy=_REMEDIES.get(change.cause or ""))
            case Circuit.CLOSED:
                log.info("gateway.circuit_closed")

    def access_reviewed(self, report: AccessReport) -> None:
        """Count and log reviews of tenants that were due; one that found none is no news."""
        self.metrics.access_reviewed(report)
        if report.reviewed:
            changed = {state.value: count for state, count in report.changed.items()}
            log.info("access.reviewed", tenants=report.reviewed, changed=changed)

    def backlog_seen(self, report: BacklogReport) -> None:
        """Show what is waiting."""
        self.metrics.backlog_seen(report)

    def processes_seen(self, report: ProcessesReport) -> None:
        """Show how many processes are alive."""
        self.metrics.processes_seen(report)

    def duplicates_seen(self, report: DuplicateReport) -> None:
        """Count tenants with more than one subscription of a kind, and log the first of them."""
        self.metrics.duplicates_seen(report)
        if report.duplicates:
            first = [f"{each.tenant_id}: {', '.join(each.subscription_ids)}" for each in report.duplicates[:_SHOWN]]
            log.warning("subscriptions.duplicated", count=len(report.duplicates), first=first)

    def unmapped_seen(self, report: UnmappedReport) -> None:
        """Count the prices of live subscriptions that belong to no plan, and log the first of them."""
        self.metrics.unmapped_seen(report)
        if report.prices:
            first = [f"{each.price_id}: {', '.join(each.tenants[:_SHOWN])}" for each in report.prices[:_SHOWN]]
            log.warning("prices.unmapped", count=len(report.prices), first=first)

    def invariants_checked(self, report: InvariantReport) -> None:
        """Count violations, and log each violated invariant with examples."""
        self.metrics.invariants_checked(report)
        for violation in report.violations:
            log.error(
                "invariant.violated",
                invariant=violation.invariant.value,
                meaning=violation.invariant.meaning,
                count=violation.count,
                examples=violation.examples,
            )


def _described(outcome: Outcome) -> dict[str, str | int | None]:
    event = outcome.claim.event
    return {
        "event_id": event.event_id,
        "event_type": event.type,
        "tenant_id": outcome.tenant_id,
        "outcome": outcome.disposition.value,
        "attempt": outcome.claim.tries,
        "reason": outcome.reason,
    }
