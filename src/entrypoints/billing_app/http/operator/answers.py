"""The bodies of answers to operators, and how they are made of what the domain found."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, Literal

import attrs

from billing_core.inbox.selection import EventFilter
from billing_core.oversight.explain import Transition, decision_of
from billing_core.oversight.inspection import Audit, EventTally, FailedAttempt, StoredEvent
from billing_core.payloads import AccessSection
from billing_core.state.diff import FieldChange

_PRIVATE: Final = frozenset({"email", "name", "hosted_invoice_url", "invoice_pdf"})
"""Fields of stored objects that are personal, or links that need no sign-in."""


@attrs.frozen(kw_only=True)
class SessionAnswer:
    """The operator, as the token describes it, and what this server is about."""

    subject: str
    role: str
    expires_at: datetime
    livemode: bool | None
    account: str | None


@attrs.frozen(kw_only=True)
class StoredEventAnswer:
    """One event of the inbox without its body."""

    number: int
    event_id: str
    account: str | None
    livemode: bool
    type: str
    api_version: str | None
    created_at: datetime
    received_at: datetime
    status: Literal["due", "leased", "applied", "ignored", "parked", "dead"]
    attempts: int
    due_at: datetime | None
    """Null for a finished event, which has nothing due."""
    effect: Literal["changed", "confirmed", "stale"] | None
    reason: str | None
    error: str | None
    customer_id: str | None
    waits_for: str | None
    tenant_id: str | None
    sequence: int | None
    finished_at: datetime | None
    duplicates: int
    last_duplicate_at: datetime | None
    body_kept: bool
    outcome: str
    """Its end, or what it waits for, as a phrase."""


def event_answer(event: StoredEvent) -> StoredEventAnswer:
    """Return an event for operators."""
    return StoredEventAnswer(
        number=event.dispatch_id,
        event_id=event.key.event_id,
        account=event.key.account or None,
        livemode=event.key.livemode,
        type=event.type,
        api_version=event.api_version,
        created_at=event.created_at,
        received_at=event.received_at,
        status=event.status.value,
        attempts=event.attempt,
        due_at=event.due_at if event.finished_at is None else None,
        effect=None if event.effect is None else event.effect.value,
        reason=event.reason,
        error=event.error,
        customer_id=event.customer_id,
        waits_for=event.parked_on,
        tenant_id=event.tenant_id,
        sequence=event.sequence,
        finished_at=event.finished_at,
        duplicates=event.duplicates,
        last_duplicate_at=event.last_duplicate_at,
        body_kept=event.body_kept,
        outcome=decision_of(event),
    )


@attrs.frozen(kw_only=True)
class StoredEventsAnswer:
    """A page of events, latest received first."""

    as_of: datetime
    """As the `until` of a request, it leaves out what was received after this page was read."""
    events: tuple[StoredEventAnswer, ...]
    next_before: int | None
    """The `before` of the next page; null at the end."""


@attrs.frozen(kw_only=True)
class EventFilterAnswer:
    """The conditions of a dry run, to be sent back unchanged: its end is fixed, so that later events do not join."""

    ids: tuple[str, ...]
    types: tuple[str, ...]
    tenant: str | None
    customer: str | None
    statuses: tuple[str, ...]
    reasons: tuple[str, ...]
    since: datetime | None
    until: datetime | None


def filter_answer(wanted: EventFilter) -> EventFilterAnswer:
    """Return conditions as the API writes them."""
    return EventFilterAnswer(
        ids=wanted.ids,
        types=wanted.types,
        tenant=wanted.tenant_id,
        customer=wanted.customer_id,
        statuses=tuple(status.value for status in wanted.statuses),
        reasons=wanted.reasons,
        since=wanted.since,
        until=wanted.until,
    )


@attrs.frozen(kw_only=True)
class EventGroup:
    """How many events of a group there are, by status."""

    name: str
    total: int
    due: int = 0
    leased: int = 0
    applied: int = 0
    ignored: int = 0
    parked: int = 0
    dead: int = 0


@attrs.frozen(kw_only=True)
class EventCountsAnswer:
    """Counts of the events that match a filter."""

    by: str
    since: datetime | None
    groups: tuple[EventGroup, ...]


def group_of(tally: EventTally) -> EventGroup:
    """Return the counts of a group."""
    return EventGroup(
        name=tally.name, total=tally.total, **{status.value: count for status, count in tally.counts.items()}
    )


@attrs.frozen(kw_only=True)
class ChangeAnswer:
    """One field with its values before and after."""

    field: str
    before: object
    after: object
    hidden: bool
    """Both values are personal or secret, and null here."""


def change_answers(changes: Iterable[FieldChange]) -> tuple[ChangeAnswer, ...]:
    """Return changes without personal values."""
    return tuple(
        ChangeAnswer(field=each.field, before=None, after=None, hidden=True)
        if each.field in _PRIVATE
        else ChangeAnswer(field=each.field, before=each.before, after=each.after, hidden=False)
        for each in changes
    )


@attrs.frozen(kw_only=True)
class MessageSource:
    """The cause of a message."""

    kind: str
    id: str | None


@attrs.frozen(kw_only=True)
class CausedMessage:
    """A message to a tenant, and what it changed."""

    tenant_id: str
    sequence: int
    event_type: str
    occurred_at: datetime
    summary: str
    source: MessageSource
    object_id: str | None
    first: bool
    """There was no earlier message about the object to compare with."""
    changes: tuple[ChangeAnswer, ...]
    access: AccessSection
    """The access as of this message."""


def message_answer(transition: Transition) -> CausedMessage:
    """Return a message and its changes."""
    return CausedMessage(
        tenant_id=transition.tenant_id,
        sequence=transition.sequence,
        event_type=transition.event_type,
        occurred_at=transition.occurred_at,
        summary=transition.summary,
        source=MessageSource(kind=transition.source.kind, id=transition.source.id),
        object_id=transition.object_id,
        first=transition.first,
        changes=change_answers(transition.changes),
        access=transition.access,
    )


@attrs.frozen(kw_only=True)
class FailedAttemptAnswer:
    """An attempt that did not succeed."""

    attempt: int
    failed_at: datetime
    reason: str
    error: str | None


def attempt_answers(attempts: Iterable[FailedAttempt]) -> tuple[FailedAttemptAnswer, ...]:
    """Return failed attempts, earliest first."""
    return tuple(
        FailedAttemptAnswer(attempt=each.attempt, failed_at=each.failed_at, reason=each.reason, error=each.error)
        for each in attempts
    )


@attrs.frozen(kw_only=True)
class BodyAnswer:
    """The body of an event. A hidden value is `{"$hidden": 19}`: its number of characters, or null for no text."""

    state: Literal["redacted", "pruned", "unreadable"]
    bytes: int | None = None
    sha256: str | None = None
    content: object = None


@attrs.frozen(kw_only=True)
class EventDetailsAnswer:
    """One event with its attempts, changes, messages and redacted body."""

    event: StoredEventAnswer
    dashboard_url: str | None
    others: tuple[StoredEventAnswer, ...]
    """Events of other accounts or modes with the same id."""
    failed_attempts: tuple[FailedAttemptAnswer, ...]
    messages: tuple[CausedMessage, ...]
    body: BodyAnswer


@attrs.frozen(kw_only=True)
class RevealedBodyAnswer:
    """The whole body of an event, personal data and secrets included."""

    audit_id: int
    content: object


@attrs.frozen(kw_only=True)
class SelectionAnswer:
    """The events that an action would concern. Nothing was changed."""

    as_of: datetime
    filter: EventFilterAnswer
    matched: int
    fingerprint: str
    """Stands for the events that match, as they are. Send it with the request that was confirmed."""


@attrs.frozen(kw_only=True)
class IgnoredAnswer:
    """The result of ignoring events."""

    audit_id: int
    matched: int
    ignored: int
    left: int
    """Already applied or ignored, or being processed."""


@attrs.frozen(kw_only=True)
class AuditAnswer:
    """An action of an operator."""

    audit_id: int
    action: str
    actor: str
    why: str | None
    filter: Mapping[str, object]
    started_at: datetime
    finished_at: datetime | None
    result: object
    """Null while it runs, and for good if it was interrupted."""


@attrs.frozen(kw_only=True)
class AuditsAnswer:
    """A page of the audit log, latest first."""

    audits: tuple[AuditAnswer, ...]
    next_before: int | None


def audit_answer(audit: Audit) -> AuditAnswer:
    """Return an entry of the audit log."""
    return AuditAnswer(
        audit_id=audit.audit_id,
        action=audit.action,
        actor=audit.actor,
        why=audit.reason,
        filter=audit.filter,
        started_at=audit.started_at,
        finished_at=audit.finished_at,
        result=audit.result,
    )


def seconds(span: timedelta) -> float:
    """Return a length of time as JSON has it."""
    return round(span.total_seconds(), 3)
