"""What must be true of every tenant in the end, known from the lives themselves.

Nothing here reads an event or folds a snapshot: the truth about an object is the last thing that happened to it. The
expected sections are written down by hand from the published schema.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs

from billing_demo.account import Happening
from billing_demo.catalog import PLACES
from billing_stripe.testing import objects

Section = dict[str, Any]

_OWED_OR_PAID = ("open", "paid", "uncollectible")


@attrs.frozen(kw_only=True)
class Expectation:
    """One tenant's subscriptions, invoices and billed usage, as the HTTP API must show them, keyed by id."""

    subscriptions: Mapping[str, Section]
    invoices: Mapping[str, Section]
    usage: Mapping[str, Section]
    """Keyed by invoice line."""


class Truth:
    """Remembers what has happened so far."""

    def __init__(self) -> None:
        self._linked: set[str] = set()
        self._subscriptions: dict[str, dict[str, objects.Subscription]] = {}
        self._invoices: dict[str, dict[str, objects.Invoice]] = {}

    def observe(self, happening: Happening) -> None:
        """Take the next happening; they come in the order in which they happen."""
        tenant_id, subject = happening.tenant_id, happening.subject
        if _names_tenant(subject):
            self._linked.add(tenant_id)
        match subject:
            case objects.Subscription():
                self._subscriptions.setdefault(tenant_id, {})[subject.subscription_id] = subject
            case objects.Invoice(invoice_id=str() as invoice_id):
                self._invoices.setdefault(tenant_id, {})[invoice_id] = subject
            case _:
                pass

    @property
    def tenants(self) -> list[str]:
        """The tenants that can be known by now: those that some event has named."""
        return sorted(self._linked)

    def statuses(self) -> Counter[str]:
        """How many tenants' newest subscription has which status."""
        return Counter(list(subscriptions.values())[-1].status for subscriptions in self._subscriptions.values())

    def expect(self, tenant_id: str) -> Expectation:
        """What one tenant must have."""
        invoices = self._invoices.get(tenant_id, {}).values()
        return Expectation(
            subscriptions={
                fact.subscription_id: subscription_section(fact)
                for fact in self._subscriptions.get(tenant_id, {}).values()
            },
            invoices={str(fact.invoice_id): invoice_section(fact) for fact in invoices},
            usage={section["line_id"]: section for fact in invoices for section in usage_sections(fact)},
        )


def subscription_section(fact: objects.Subscription) -> Section:
    """A subscription in the form of the HTTP API."""
    by_role = {PLACES[item.price.price_id].role: item for item in fact.items}
    base = by_role["base"]
    leaving = fact.cancel_at_period_end or fact.cancel_at is not None
    ended = fact.status in ("canceled", "incomplete_expired")
    return {
        "subscription_id": fact.subscription_id,
        "customer_id": fact.customer_id,
        "status": fact.status,
        "plan_code": PLACES[base.price.price_id].plan_code,
        "price_id": base.price.price_id,
        "seat_count": by_role.get("seat", base).quantity,
        "auto_renew": not leaving and not ended,
        "cancel_at_period_end": fact.cancel_at_period_end,
        "current_period_start": _wire(fact.span.start),
        "current_period_end": _wire(fact.span.end),
        "trial_ends_at": _wire(fact.trial.end if fact.trial else None),
        "cancel_at": _wire(fact.cancel_at),
        "canceled_at": _wire(fact.canceled_at),
        "ended_at": _wire(fact.ended_at),
        "collection_paused": fact.pause_collection is not None,
        "currency": fact.currency,
        "items": [_item_section(item) for item in sorted(fact.items, key=lambda item: item.item_id)],
    }


def invoice_section(fact: objects.Invoice) -> Section:
    """An invoice in the form of the HTTP API."""
    return {
        "invoice_id": fact.invoice_id,
        "subscription_id": fact.subscription_id,
        "customer_id": fact.customer_id,
        "number": fact.number,
        "status": fact.status,
        "amount_due": fact.amount_due,
        "amount_paid": fact.amount_paid,
        "amount_remaining": fact.amount_remaining,
        "total": fact.total,
        "tax": fact.tax,
        "currency": fact.currency,
        "billing_reason": fact.billing_reason,
        "collection_method": fact.collection_method,
        "period_start": _wire(fact.period.start),
        "period_end": _wire(fact.period.end),
        "due_at": _wire(fact.due_at),
        "paid_at": _wire(fact.paid_at),
        "attempt_count": fact.attempt_count,
        "next_payment_attempt_at": _wire(fact.next_payment_attempt_at),
    }


def usage_sections(fact: objects.Invoice) -> Iterable[Section]:
    """What an invoice billed for metered features: nothing while it is a draft, nothing any more once it is void."""
    if fact.status not in _OWED_OR_PAID:
        return
    for line in fact.lines:
        if line.price.metered and not line.proration:
            yield {
                "feature_key": PLACES[line.price.price_id].role,
                "quantity": line.quantity,
                "amount": line.amount,
                "currency": fact.currency,
                "period_start": _wire(line.period.start),
                "period_end": _wire(line.period.end),
                "invoice_id": fact.invoice_id,
                "line_id": line.line_id,
            }


def _item_section(item: objects.Item) -> Section:
    role = PLACES[item.price.price_id].role
    return {
        "item_id": item.item_id,
        "price_id": item.price.price_id,
        "quantity": None if item.price.metered else item.quantity,
        "usage_type": "metered" if item.price.metered else "licensed",
        "feature_key": role if item.price.metered else None,
        "current_period_start": _wire(item.period.start),
        "current_period_end": _wire(item.period.end),
    }


def _names_tenant(subject: object) -> bool:
    match subject:
        case objects.Customer() | objects.Subscription():
            return "tenant_id" in subject.metadata
        case objects.Invoice():
            return "tenant_id" in subject.subscription_metadata
        case objects.CheckoutSession():
            return subject.client_reference_id is not None
        case _:
            return False


def _wire(instant: datetime | None) -> str | None:
    return None if instant is None else instant.strftime("%Y-%m-%dT%H:%M:%SZ")
