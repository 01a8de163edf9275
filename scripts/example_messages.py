"""The examples in docs/billing/event-schema.md, one message of each type: `python -m scripts.example_messages`.

They are the messages that a tenant gets when the Stripe events below go through the real code.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import attrs
from scripts.memory_loop import MemoryLoop

from billing_core.events import BillingEvent, BillingEventType
from billing_core.model import TenantId, TenantRules
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_stripe.testing import API_VERSIONS, accounts, adjustments, builders, encode, event, make_id, objects
from billing_stripe.testing import samples as known

DOCUMENT: Final = Path("docs/billing/event-schema.md")
HEADING: Final = "## One message of each type\n"
"""This program writes everything below it in the document."""

_VERSION: Final = API_VERSIONS[-1]
_DAY: Final = timedelta(days=1)
_LONG_AFTER: Final = timedelta(days=60)
_BETWEEN: Final = timedelta(hours=12)
_BUSINESS: Final = attrs.evolve(
    known.TEAM, price_id="price_1ExampleBusiness", unit_amount=9900, lookup_key="business_monthly", plan_code="business"
)
_RUNNING: Final = attrs.evolve(
    known.SUBSCRIPTION,
    items=(attrs.evolve(known.SUBSCRIPTION.items[0], quantity=5), known.SUBSCRIPTION.items[2]),
)

_CAUSES: Final = {
    "access.changed": "the clock",
    "grant.added": "<code>billing grants add</code>",
    "grant.revoked": "<code>billing grants revoke</code>",
}
_SCHEDULE: Final = attrs.evolve(
    known.SCHEDULE,
    phases=tuple(
        objects.SchedulePhase(period=period, prices={price.price_id: 5})
        for period, price in (
            (_RUNNING.span, known.TEAM),
            (objects.Span(_RUNNING.span.end, _RUNNING.span.end + 365 * _DAY), _BUSINESS),
        )
    ),
)

StoryEvent = tuple[str, dict[str, Any]]
"""A Stripe event: its type and the object it shows."""


@attrs.frozen(kw_only=True)
class Example:
    """A message and its cause."""

    message: BillingEvent
    cause: str


async def examples(database: MemoryDatabase) -> Mapping[str, Example]:
    """Play the story in the database and return the first message of each type, by type."""
    clock = ManualClock(known.AT)
    loop = MemoryLoop(database, clock)
    found: dict[str, Example] = {}
    for number, (stripe_type, shown) in enumerate(_story()):
        clock.advance(_BETWEEN)
        await loop.receive(_body(stripe_type, shown, number, clock.now()))
        await loop.process()
        for message in loop.messages:
            found.setdefault(message.event_type, Example(message=message, cause=f"Stripe's <code>{stripe_type}</code>"))
        loop.messages.clear()
    clock.advance(_LONG_AFTER)
    await loop.review_access()
    await loop.grant(TenantId("acme"), "pro", until=clock.now() + _LONG_AFTER)
    found |= {each.event_type: Example(message=each, cause=_CAUSES[each.event_type]) for each in loop.messages}
    return {**await _moved(), **found}


async def _moved() -> Mapping[str, Example]:
    """Move a subscription, then its customer, to another tenant, and return the messages that follow from that."""
    found = {}
    for link, object_id in (
        ("subscription", known.SUBSCRIPTION.subscription_id),
        ("customer", known.CUSTOMER.customer_id),
    ):
        loop = MemoryLoop(MemoryDatabase(), ManualClock(known.AT), tenants=TenantRules(link=link))
        await loop.receive(_body("customer.subscription.created", _subscription(_RUNNING), 0, known.AT))
        await loop.process()
        change = await loop.service.move(object_id, TenantId("globex"), reason="an example")
        (withdrawn, _) = await loop.history.events(TenantId("acme"), after=0, limit=2)
        for message in (*change.events, withdrawn):
            found[message.event_type] = Example(message=message, cause="<code>billing tenants move</code>")
    return found


def _body(stripe_type: str, shown: dict[str, Any], number: int, at: datetime) -> bytes:
    event_id = make_id("evt", "example", number)
    return encode(event(stripe_type, shown, created=at, api_version=_VERSION, event_id=event_id))


def _story() -> Iterator[StoryEvent]:
    """Yield the story: a trial, changes and problems of a subscription, its invoices, their corrections, the end."""
    yield "customer.created", builders.customer(known.CUSTOMER, _VERSION)
    yield from _subscription_changes()
    yield from _invoices()
    yield from _corrections()
    yield from _benefits()
    yield from _the_end()


def _subscription_changes() -> Iterator[StoryEvent]:
    new = attrs.evolve(_RUNNING, status="trialing", trial=_RUNNING.span)
    yield "customer.subscription.created", _subscription(new)
    yield "customer.subscription.trial_will_end", _subscription(new)
    team, calls = _RUNNING.items
    running = attrs.evolve(new, status="active")
    more_seats = attrs.evolve(running, items=(attrs.evolve(team, quantity=8), calls))
    upgraded = attrs.evolve(running, items=(attrs.evolve(team, quantity=8, price=_BUSINESS), calls))
    renewed = attrs.evolve(upgraded, items=tuple(map(_next_period, upgraded.items)))
    yield "subscription_schedule.created", accounts.subscription_schedule(_SCHEDULE, _VERSION)
    for changed in (
        *(running, attrs.evolve(running, schedule_id=_SCHEDULE.schedule_id), more_seats, upgraded, renewed),
        *(attrs.evolve(renewed, cancel_at_period_end=True), renewed),
        *(attrs.evolve(renewed, status="past_due"), attrs.evolve(renewed, status="unpaid"), renewed),
        *(attrs.evolve(renewed, status="paused"), renewed),
        attrs.evolve(renewed, items=renewed.items[:1]),
    ):
        yield "customer.subscription.updated", _subscription(changed)


def _invoices() -> Iterator[StoryEvent]:
    yield "invoice.upcoming", _invoice(known.DRAFT, invoice_id=None, billing_reason="upcoming")
    yield "invoice.created", _invoice(known.DRAFT)
    yield "invoice.finalized", _invoice(known.OPEN)
    yield "invoice.payment_failed", _invoice(known.FAILED)
    yield "invoice.payment_action_required", _invoice(known.FAILED)
    yield "invoice.updated", _invoice(known.FAILED, next_payment_attempt_at=known.AT + 5 * _DAY)
    yield "invoice.paid", _invoice(known.PAID)
    renewal = tuple(attrs.evolve(line, period=_next_span(_next_span(line.period))) for line in known.PAID.lines[:1])
    yield "invoice.paid", _invoice(known.PAID, invoice_id="in_1ExampleRenewal", number="ACME-0009", lines=renewal)
    other = {"invoice_id": "in_1ExampleByMail", "number": "ACME-0008"}
    yield "invoice.sent", _invoice(known.BY_MAIL, **other)
    yield "invoice.overdue", _invoice(known.BY_MAIL, **other)
    yield "invoice.marked_uncollectible", _invoice(known.BY_MAIL, **other, status="uncollectible")
    yield "invoice.voided", _invoice(known.BY_MAIL, **other, status="void")
    yield "invoice.deleted", _invoice(known.DRAFT, invoice_id="in_1ExampleDraft")


def _corrections() -> Iterator[StoryEvent]:
    yield "invoice_payment.paid", adjustments.invoice_payment(known.PAYMENT, _VERSION)
    yield "charge.refunded", adjustments.charge(known.CHARGE, _VERSION)
    yield "charge.dispute.created", adjustments.dispute(known.DISPUTE, _VERSION)
    yield "charge.dispute.closed", adjustments.dispute(attrs.evolve(known.DISPUTE, status="won"), _VERSION)
    yield "credit_note.created", adjustments.credit_note(known.CREDIT_NOTE, _VERSION)


def _benefits() -> Iterator[StoryEvent]:
    yield "entitlements.active_entitlement_summary.updated", accounts.entitlement_summary(known.ENTITLEMENTS)
    yield "billing.alert.triggered", accounts.alert_triggered(known.ALERT)


def _the_end() -> Iterator[StoryEvent]:
    over = {"status": "canceled", "canceled_at": known.AT, "ended_at": known.AT}
    yield "customer.subscription.deleted", _subscription(_RUNNING, **over)
    never_paid = attrs.evolve(_RUNNING, subscription_id="sub_1ExampleNeverPaid", status="incomplete")
    yield "customer.subscription.created", _subscription(never_paid)
    yield "customer.subscription.updated", _subscription(never_paid, status="incomplete_expired", ended_at=known.AT)
    later = tuple(map(_next_period, _RUNNING.items))
    unended = attrs.evolve(_RUNNING, subscription_id="sub_1ExampleTrial", status="trialing", trial=_RUNNING.span)
    unended = attrs.evolve(unended, items=later)
    yield "customer.subscription.created", _subscription(unended)
    yield "customer.deleted", builders.customer(known.CUSTOMER, _VERSION)


def _next_period(item: objects.Item) -> objects.Item:
    return attrs.evolve(item, period=_next_span(item.period))


def _next_span(span: objects.Span) -> objects.Span:
    return objects.Span(span.end, span.end + (span.end - span.start))


def _subscription(of: objects.Subscription, **changes: Any) -> dict[str, Any]:
    return builders.subscription(attrs.evolve(of, **changes), _VERSION)


def _invoice(of: objects.Invoice, **changes: Any) -> dict[str, Any]:
    return builders.invoice(attrs.evolve(of, **changes), _VERSION)


def render(found: Mapping[str, Example]) -> str:
    """Return the examples as a part of the document, in the order in which the types are declared."""
    head = (
        "Generated by `python -m scripts.example_messages`, which plays a story of Stripe events: these are the first\n"
        "messages of each type. The numbers left out belong to further messages of the same types. What operators\n"
        "cause has a short story of its own.\n"
    )
    return "\n".join([HEADING, head, *(_rendered(type_.value, found[type_.value]) for type_ in BillingEventType)])


def _rendered(type_: str, example: Example) -> str:
    text = json.dumps(json.loads(example.message.payload), indent=2, ensure_ascii=False)
    caption = f"<summary><code>{type_}</code>, here caused by {example.cause}</summary>"
    return f"<details>\n{caption}\n\n```json\n{text}\n```\n\n</details>\n"


def main() -> None:
    """Replace the examples in the document."""
    above, _, _ = DOCUMENT.read_text(encoding="utf-8").partition(HEADING)
    DOCUMENT.write_text(above + render(asyncio.run(examples(MemoryDatabase()))), encoding="utf-8")


if __name__ == "__main__":
    main()
