"""Explain a tenant's state from the events received, the decisions made and the messages published. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import attrs

from billing_core.events import BillingEvent
from billing_core.model import AccessPolicy, AccessVerdict, Attention, EventId, TenantCustomer, TenantId, TenantState
from billing_core.model.time import aware
from billing_core.oversight.inspection import FailedAttempt, StoredEvent
from billing_core.payloads import (
    AccessSection,
    BillingEventPayload,
    InvoiceSection,
    SourceSection,
    SubscriptionSection,
    loads,
)
from billing_core.state.diff import FieldChange, changed_fields

MESSAGES_BEFORE: Final = 500
"""How many earlier messages are read: one of them usually shows the object as it was before the first change."""
ObjectSection = SubscriptionSection | InvoiceSection


@attrs.frozen(kw_only=True)
class TenantHistory:
    """The rows that an explanation needs, read at one instant."""

    state: TenantState
    customers: Sequence[TenantCustomer]
    events: Sequence[StoredEvent]
    """In the order they were received."""
    since: datetime | None = attrs.field(default=None, validator=aware)
    """The beginning of the requested time range; None: the first event."""
    cut: bool
    """Whether the limit left out earlier events of the requested time range."""
    attempts: Mapping[int, Sequence[FailedAttempt]]
    """The failed attempts of these events, by `dispatch_id`."""
    messages: Sequence[BillingEvent]
    """The messages that these events caused, those of other causes among and after them, and some earlier ones to
    compare them with, by number."""
    attention: Attention
    """The reasons for attention now, whatever the requested time range."""


@attrs.frozen(kw_only=True)
class Transition:
    """A message and the fields it changed, compared with the tenant's previous message about the same object."""

    tenant_id: TenantId
    sequence: int
    event_type: str
    occurred_at: datetime
    summary: str
    source: SourceSection
    object_id: str | None
    """The subscription or invoice in the message; None if it has neither."""
    first: bool
    """True if no earlier message about the object was read, so that there is nothing to compare with."""
    changes: tuple[FieldChange, ...]
    access: AccessSection
    """The access verdict as of this message."""


@attrs.frozen(kw_only=True)
class TimelineEntry:
    """One event with its failed attempts and the messages it caused, or one message that no event caused."""

    event: StoredEvent | None
    attempts: tuple[FailedAttempt, ...]
    transitions: tuple[Transition, ...]

    @property
    def decision(self) -> str:
        """The decision as a phrase that an operator reads."""
        return f"no event: {self.transitions[0].source.kind}" if self.event is None else decision_of(self.event)


_APPLIED: Mapping[str, str] = {
    "changed": "applied: changed the state",
    "confirmed": "applied: confirmed the state",
    "stale": "applied: stale, newer data was already known",
}


@attrs.frozen(kw_only=True)
class Explanation:
    """A tenant's state and access verdict, and the timeline of events that led to them."""

    state: TenantState
    verdict: AccessVerdict
    customers: Sequence[TenantCustomer]
    timeline: Sequence[TimelineEntry]
    cut: bool
    attention: Attention

    @property
    def tenant_id(self) -> TenantId:
        """The tenant that is explained."""
        return self.state.tenant_id


def explain(history: TenantHistory, *, policy: AccessPolicy) -> Explanation:
    """Arrange a tenant's history: each event with its decision, its messages, and the access verdict after each one."""
    beside, caused = _beside(history), dict[EventId | None, list[Transition]]()
    for event_id, transition in transitions(history.messages):
        caused.setdefault(event_id, []).append(transition)
    timeline = [
        TimelineEntry(
            event=event,
            attempts=tuple(history.attempts.get(event.dispatch_id, ())),
            transitions=tuple(caused.get(event.key.event_id, ())),
        )
        for event in history.events
    ]
    return Explanation(
        state=history.state,
        verdict=policy.evaluate(history.state.access_facts, history.state.as_of),
        customers=history.customers,
        timeline=_with_messages_beside(timeline, [each for each in caused.get(None, ()) if each.sequence in beside]),
        cut=history.cut,
        attention=history.attention,
    )


def decision_of(event: StoredEvent) -> str:
    """Return the end of an event, or what it waits for, as a phrase that an operator reads."""
    match event.status.value:
        case "applied":
            return _APPLIED[event.effect.value] if event.effect else "applied"
        case "ignored":
            return f"ignored: {event.reason}"
        case "parked":
            waits = f"waiting for {event.parked_on} ({event.reason})" if event.parked_on else event.reason
            return f"parked: {waits}"
        case "dead":
            return f"dead: {event.reason}"
        case "leased":
            return f"being processed, attempt {event.attempt}"
        case _:
            return f"waiting for attempt {event.attempt + 1}"


def _with_messages_beside(timeline: Sequence[TimelineEntry], messages: Iterable[Transition]) -> Sequence[TimelineEntry]:
    """Insert the messages that no event caused, each after the last event with a lower number, else before the rest."""
    placed = list(timeline)
    for message in messages:
        numbers = [[each.sequence for each in entry.transitions] for entry in placed]
        above = (index for index, each in enumerate(numbers) if each and max(each) > message.sequence)
        below = (index for index, each in enumerate(numbers, start=1) if each and min(each) < message.sequence)
        place = max(below, default=next(above, len(placed)))
        placed.insert(place, TimelineEntry(event=None, attempts=(), transitions=(message,)))
    return placed


def _beside(history: TenantHistory) -> frozenset[int]:
    """Return the numbers of messages that belong beside the events; the others were read for comparison only.

    These are all above the first number that an event caused, and all since the time that the timeline begins with.
    """
    shown = {event.key.event_id for event in history.events}
    first = min((each.sequence for each in history.messages if each.event_id in shown), default=None)
    begins = history.events[0].received_at if history.cut else history.since
    return frozenset(
        each.sequence
        for each in history.messages
        if each.event_id is None
        and (begins is None or each.occurred_at >= begins or (first is not None and each.sequence >= first))
    )


def transitions(messages: Sequence[BillingEvent]) -> Iterable[tuple[EventId | None, Transition]]:
    """Yield each message as a transition. After a gap in the numbers nothing is compared: the changes are unknown."""
    known: dict[str, ObjectSection] = {}
    expected = 0
    for message in messages:
        payload = loads(message.payload)
        if message.sequence not in (expected, 1):
            known = {}
        expected = message.sequence + 1
        shown = payload.subscription or payload.invoice
        yield message.event_id, _transition(payload, shown, known)
        for section in (payload.subscription, payload.invoice):
            if section is not None:
                known[_id_of(section)] = section


def _transition(
    payload: BillingEventPayload, shown: ObjectSection | None, known: Mapping[str, ObjectSection]
) -> Transition:
    before = None if shown is None else known.get(_id_of(shown))
    return Transition(
        tenant_id=TenantId(payload.tenant_id),
        sequence=payload.sequence,
        event_type=payload.event_type,
        occurred_at=payload.occurred_at,
        summary=payload.summary,
        source=payload.source,
        object_id=None if shown is None else _id_of(shown),
        first=before is None,
        changes=() if before is None else changed_fields(before, shown),
        access=payload.access,
    )


def _id_of(section: ObjectSection) -> str:
    return section.subscription_id if isinstance(section, SubscriptionSection) else section.invoice_id
