"""The bodies of answers about tenants, their links and their grants."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import attrs

from billing_app.http.operator.answers import (
    CausedMessage,
    ChangeAnswer,
    FailedAttemptAnswer,
    StoredEventAnswer,
    attempt_answers,
    change_answers,
    event_answer,
    message_answer,
)
from billing_core.events import BillingEvent
from billing_core.model import AccessGrant
from billing_core.oversight.explain import TimelineEntry
from billing_core.oversight.ports import CustomerLink, LoggedDecision
from billing_core.payloads import AccessSection, ProvisionalSection, loads
from billing_core.state.diff import ObjectChange


@attrs.frozen(kw_only=True)
class CustomerAnswer:
    """A customer, the tenant it is linked to, and what waits or is dead. Addresses are not shown."""

    customer_id: str
    tenant_id: str | None
    plans: tuple[str, ...]
    statuses: tuple[str, ...]
    access: str | None
    """As announced to the tenant last."""
    waiting_events: int
    dead_events: int


@attrs.frozen(kw_only=True)
class CustomersAnswer:
    """A page of customers, by id."""

    customers: tuple[CustomerAnswer, ...]
    next_after: str | None


def customer_answer(link: CustomerLink) -> CustomerAnswer:
    """Return a customer for operators."""
    return CustomerAnswer(
        customer_id=link.customer_id,
        tenant_id=link.tenant_id,
        plans=link.plans,
        statuses=link.statuses,
        access=None if link.access is None else link.access.value,
        waiting_events=link.waiting,
        dead_events=link.dead,
    )


@attrs.frozen(kw_only=True)
class UncertainAnswer:
    """An object that is to be fetched from Stripe."""

    kind: str
    object_id: str
    complete: bool
    ambiguous: bool


@attrs.frozen(kw_only=True)
class AttentionAnswer:
    """The reasons for an operator to look at a tenant."""

    needed: bool
    dead_events: int
    uncertain: tuple[UncertainAnswer, ...]


@attrs.frozen(kw_only=True)
class HeldSubscription:
    """A subscription, and the events that its state rests on."""

    subscription_id: str
    customer_id: str
    status: str
    plan_code: str | None
    seat_count: int | None
    current_period_end: datetime | None
    rests_on: tuple[str, ...]
    observed_at: datetime
    dashboard_url: str | None


@attrs.frozen(kw_only=True)
class HeldInvoice:
    """An invoice. Amounts are in the minor unit of its currency."""

    invoice_id: str
    number: str | None
    status: str
    total: int
    amount_remaining: int
    currency: str
    due_at: datetime | None
    next_payment_attempt_at: datetime | None
    dashboard_url: str | None


@attrs.frozen(kw_only=True)
class LinkedCustomer:
    """A customer of a tenant."""

    customer_id: str
    deleted: bool
    dashboard_url: str | None


@attrs.frozen(kw_only=True)
class GrantAnswer:
    """Access that an operator gave."""

    grant_id: str
    tenant_id: str
    plan_code: str
    until: datetime | None
    actor: str
    reason: str
    granted_at: datetime
    revoked_at: datetime | None
    revoked_by: str | None
    revoked_reason: str | None
    holds: bool
    """Whether it gives access now."""


def grant_answer(grant: AccessGrant, now: datetime) -> GrantAnswer:
    """Return a grant."""
    return GrantAnswer(
        grant_id=grant.grant_id,
        tenant_id=grant.tenant_id,
        plan_code=grant.plan_code,
        until=grant.until,
        actor=grant.actor,
        reason=grant.reason,
        granted_at=grant.granted_at,
        revoked_at=grant.revoked_at,
        revoked_by=grant.revoked_by,
        revoked_reason=grant.revoked_reason,
        holds=grant.holds(now),
    )


@attrs.frozen(kw_only=True)
class DecisionAnswer:
    """A decision about a link."""

    number: int
    made_at: datetime
    action: Literal["link", "move", "unlink"]
    object_id: str
    from_tenant: str | None
    to_tenant: str | None
    actor: str
    reason: str | None


def decision_answer(logged: LoggedDecision) -> DecisionAnswer:
    """Return a decision."""
    decision = logged.decision
    return DecisionAnswer(
        number=logged.number,
        made_at=logged.made_at,
        action=decision.action.value,
        object_id=decision.object_id,
        from_tenant=decision.from_tenant,
        to_tenant=decision.to_tenant,
        actor=decision.actor,
        reason=decision.reason,
    )


@attrs.frozen(kw_only=True)
class DecisionsAnswer:
    """A page of decisions, the last made first."""

    decisions: tuple[DecisionAnswer, ...]
    next_before: int | None


@attrs.frozen(kw_only=True)
class TenantAnswer:
    """A tenant: its access, and everything that decides on it."""

    tenant_id: str
    sequence: int
    as_of: datetime
    access: AccessSection
    test_clock: str | None
    """The test clock by which the access was decided; null for real time."""
    access_without_grants: AccessSection
    attention: AttentionAnswer
    subscriptions: tuple[HeldSubscription, ...]
    invoices: tuple[HeldInvoice, ...]
    customers: tuple[LinkedCustomer, ...]
    grants: tuple[GrantAnswer, ...]
    decisions: tuple[DecisionAnswer, ...]
    provisional: tuple[ProvisionalSection, ...]


@attrs.frozen(kw_only=True)
class TimelineAnswerEntry:
    """An event with its attempts and messages, or a message that no event caused."""

    event: StoredEventAnswer | None
    decision: str
    failed_attempts: tuple[FailedAttemptAnswer, ...]
    messages: tuple[CausedMessage, ...]


@attrs.frozen(kw_only=True)
class TimelineAnswer:
    """The events and messages that led to a tenant's state, in the order in which they were received."""

    tenant_id: str
    earlier_events: bool
    """There are earlier events in the time that was asked for."""
    timeline: tuple[TimelineAnswerEntry, ...]


def timeline_entry(entry: TimelineEntry) -> TimelineAnswerEntry:
    """Return an entry of a timeline."""
    return TimelineAnswerEntry(
        event=None if entry.event is None else event_answer(entry.event),
        decision=entry.decision,
        failed_attempts=attempt_answers(entry.attempts),
        messages=tuple(map(message_answer, entry.transitions)),
    )


@attrs.frozen(kw_only=True)
class DifferenceAnswer:
    """An object that changes, field by field."""

    kind: str
    object_id: str
    tenant_id: str | None
    changes: tuple[ChangeAnswer, ...]


def difference_answers(differences: Iterable[ObjectChange]) -> tuple[DifferenceAnswer, ...]:
    """Return changed objects without personal values."""
    return tuple(
        DifferenceAnswer(
            kind=each.kind,
            object_id=each.object_id,
            tenant_id=each.tenant_id,
            changes=change_answers(each.fields),
        )
        for each in differences
    )


@attrs.frozen(kw_only=True)
class PlannedMessage:
    """A message that a tenant gets, or would get."""

    tenant_id: str
    sequence: int
    event_type: str
    summary: str
    access: AccessSection


def planned_messages(events: Iterable[BillingEvent]) -> tuple[PlannedMessage, ...]:
    """Return messages as operators see them."""
    return tuple(
        PlannedMessage(
            tenant_id=payload.tenant_id,
            sequence=payload.sequence,
            event_type=payload.event_type,
            summary=payload.summary,
            access=payload.access,
        )
        for payload in (loads(event.payload) for event in events)
    )


@attrs.frozen(kw_only=True)
class LinkedAnswer:
    """The result of linking a customer."""

    audit_id: int
    made: bool
    """False if it was linked to this tenant before."""


@attrs.frozen(kw_only=True)
class LinkChangeAnswer:
    """The result of a decision about a link; of a dry run, the one that it would have."""

    dry_run: bool
    audit_id: int | None
    object_id: str
    action: Literal["link", "move", "unlink"]
    from_tenant: str | None
    to_tenant: str | None
    tenant_known: bool
    """Whether the tenant that is named has been seen before."""
    withdrawn_messages: int
    """Messages of the former tenant that lose their content."""
    reprocessed_events: int
    fingerprint: str
    """Stands for the decision and its differences. Send it with the change that was confirmed."""
    differences: tuple[DifferenceAnswer, ...]
    messages: tuple[PlannedMessage, ...]


@attrs.frozen(kw_only=True)
class GrantsAnswer:
    """Grants, the last made first."""

    grants: tuple[GrantAnswer, ...]


@attrs.frozen(kw_only=True)
class GrantedAnswer:
    """The result of granting or revoking access."""

    audit_id: int
    grant: GrantAnswer
    changed: bool
    """False if it was revoked before."""


@attrs.frozen(kw_only=True)
class PlanAnswer:
    """A plan of the rules in force."""

    plan_code: str
    name: str | None


@attrs.frozen(kw_only=True)
class PlanChoicesAnswer:
    """The plans that can be granted."""

    plans: tuple[PlanAnswer, ...]
