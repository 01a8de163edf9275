"""Explaining: why a tenant is in the state it is in, from what was received, decided and told. Pure and read-only."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import attrs

from billing_core.events import BillingEvent
from billing_core.model import AccessPolicy, AccessVerdict, EventId, TenantCustomer, TenantId, TenantState
from billing_core.oversight.inspection import FailedAttempt, StoredEvent
from billing_core.payloads import AccessSection, BillingEventPayload, InvoiceSection, SubscriptionSection, loads
from billing_core.state.diff import FieldChange, changed_fields

MESSAGES_BEFORE: Final = 500
"""So many messages before the first one in question are read: one of them mostly shows the object as it was before."""
Section = SubscriptionSection | InvoiceSection


@attrs.frozen(kw_only=True)
class TenantHistory:
    """Everything an explanation is made from, read at one instant."""

    state: TenantState
    customers: Sequence[TenantCustomer]
    events: Sequence[StoredEvent]
    """Those asked for, in the order they were received."""
    cut: bool
    """Whether there are earlier ones in the time asked for."""
    attempts: Mapping[int, Sequence[FailedAttempt]]
    """The failed attempts at these events, by the events' numbers."""
    messages: Sequence[BillingEvent]
    """The messages these events caused, and some that went before: they tell what changed. By number."""


@attrs.frozen(kw_only=True)
class Transition:
    """A message and what changed by it, compared with what the tenant was told of the same object before."""

    sequence: int
    event_type: str
    summary: str
    object_id: str | None
    """The subscription or invoice it shows; None when it shows neither."""
    first: bool
    """Whether nothing earlier of that object is at hand: then nothing is compared."""
    changes: tuple[FieldChange, ...]
    access: AccessSection
    """The verdict from then on."""


@attrs.frozen(kw_only=True)
class Entry:
    """One event: when it came, how often, what was decided, and what followed."""

    event: StoredEvent
    attempts: tuple[FailedAttempt, ...]
    transitions: tuple[Transition, ...]

    @property
    def decision(self) -> str:
        """What was decided, in a sentence's part."""
        event = self.event
        match event.status.value:
            case "applied":
                return _APPLIED[event.effect.value] if event.effect else "applied"
            case "ignored":
                return f"ignored: {event.reason}"
            case "parked":
                return f"parked on {event.parked_on}: {event.reason}" if event.parked_on else f"parked: {event.reason}"
            case "dead":
                return f"dead: {event.reason}"
            case "leased":
                return f"being processed, attempt {event.attempt}"
            case _:
                return "waits for its first attempt" if event.attempt == 0 else f"waits for attempt {event.attempt + 1}"


_APPLIED: Mapping[str, str] = {
    "changed": "applied: changed the state",
    "confirmed": "applied: confirmed the state",
    "stale": "applied: stale, something newer was known",
}


@attrs.frozen(kw_only=True)
class Explanation:
    """A tenant's verdict, what it rests on, and how it came about."""

    state: TenantState
    verdict: AccessVerdict
    customers: Sequence[TenantCustomer]
    timeline: Sequence[Entry]
    cut: bool

    @property
    def tenant_id(self) -> TenantId:
        """Who it is about."""
        return self.state.tenant_id


def explain(history: TenantHistory, *, policy: AccessPolicy, now: datetime) -> Explanation:
    """Put a tenant's history together: each event with its decision, its messages and the verdict after each."""
    caused: dict[EventId, list[Transition]] = {}
    for event_id, transition in transitions(history.messages):
        caused.setdefault(event_id, []).append(transition)
    timeline = [
        Entry(
            event=event,
            attempts=tuple(history.attempts.get(event.dispatch_id, ())),
            transitions=tuple(caused.get(event.key.event_id, ())),
        )
        for event in history.events
    ]
    subscriptions = [each.snapshot for each in history.state.subscriptions]
    return Explanation(
        state=history.state,
        verdict=policy.evaluate(subscriptions, now),
        customers=history.customers,
        timeline=timeline,
        cut=history.cut,
    )


def transitions(messages: Sequence[BillingEvent]) -> Iterable[tuple[EventId, Transition]]:
    """What each message changed. A hole between two messages leaves open what the later one changed."""
    known: dict[str, Section] = {}
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


def _transition(payload: BillingEventPayload, shown: Section | None, known: Mapping[str, Section]) -> Transition:
    before = None if shown is None else known.get(_id_of(shown))
    return Transition(
        sequence=payload.sequence,
        event_type=payload.event_type,
        summary=payload.summary,
        object_id=None if shown is None else _id_of(shown),
        first=before is None,
        changes=() if before is None else changed_fields(before, shown),
        access=payload.access,
    )


def _id_of(section: Section) -> str:
    return section.subscription_id if isinstance(section, SubscriptionSection) else section.invoice_id
