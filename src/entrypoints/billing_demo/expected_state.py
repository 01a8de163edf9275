"""The state that every tenant must have in the end, taken from the simulation itself.

Nothing here parses a webhook or merges snapshots: the expected state of an object is its state after the last event.
The expected sections are written by hand from the published schema, so that they do not repeat the code under test.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs

from billing_demo.account import AccountEvent
from billing_demo.catalog import PRICE_ROLES
from billing_stripe.testing import objects

Section = dict[str, Any]

_OWED_OR_PAID = ("open", "paid", "uncollectible")


@attrs.frozen(kw_only=True)
class ExpectedTenant:
    """A tenant's subscriptions, invoices and billed usage as the HTTP API must show them, keyed by id."""

    subscriptions: Mapping[str, Section]
    invoices: Mapping[str, Section]
    usage: Mapping[str, Section]
    """Keyed by invoice line."""


class ExpectedState:
    """The expected state of all tenants so far."""

    def __init__(self) -> None:
        self._linked: set[str] = set()
        self._subscriptions: dict[str, dict[str, objects.Subscription]] = {}
        self._invoices: dict[str, dict[str, objects.Invoice]] = {}

    def record(self, account_event: AccountEvent) -> None:
        """Record the next event. Events must come in the order in which they happened."""
        tenant_id, subject = account_event.tenant_id, account_event.subject
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
        """The tenants that the server can know by now, because an event named them."""
        return sorted(self._linked)

    def statuses(self) -> Counter[str]:
        """Count the tenants by the status of their newest subscription."""
        return Counter(list(subscriptions.values())[-1].status for subscriptions in self._subscriptions.values())

    def tenant(self, tenant_id: str) -> ExpectedTenant:
        """Return the expected data of one tenant."""
        invoices = self._invoices.get(tenant_id, {}).values()
        return ExpectedTenant(
            subscriptions={
                snapshot.subscription_id: subscription_section(snapshot)
                for snapshot in self._subscriptions.get(tenant_id, {}).values()
            },
            invoices={str(snapshot.invoice_id): invoice_section(snapshot) for snapshot in invoices},
            usage={section["line_id"]: section for snapshot in invoices for section in usage_sections(snapshot)},
        )


def subscription_section(snapshot: objects.Subscription) -> Section:
    """Render a subscription as the HTTP API does."""
    by_role = {PRICE_ROLES[item.price.price_id].role: item for item in snapshot.items}
    base = by_role["base"]
    leaving = snapshot.cancel_at_period_end or snapshot.cancel_at is not None
    ended = snapshot.status in ("canceled", "incomplete_expired")
    return {
        "subscription_id": snapshot.subscription_id,
        "customer_id": snapshot.customer_id,
        "status": snapshot.status,
        "plan_code": PRICE_ROLES[base.price.price_id].plan_code,
        "price_id": base.price.price_id,
        "seat_count": by_role.get("seat", base).quantity,
        "auto_renew": not leaving and not ended,
        "cancel_at_period_end": snapshot.cancel_at_period_end,
        "current_period_start": _wire(snapshot.span.start),
        "current_period_end": _wire(snapshot.span.end),
        "trial_ends_at": _wire(snapshot.trial.end if snapshot.trial else None),
        "cancel_at": _wire(snapshot.cancel_at),
        "canceled_at": _wire(snapshot.canceled_at),
        "ended_at": _wire(snapshot.ended_at),
        "collection_paused": snapshot.pause_collection is not None,
        "currency": snapshot.currency,
        "items": [_item_section(item) for item in sorted(snapshot.items, key=lambda item: item.item_id)],
        "interval": base.price.interval,
        "interval_count": 1,
        "unit_amount": base.price.unit_amount,
        "unit_amount_decimal": None,
        "collection_method": snapshot.collection_method,
    }


def invoice_section(snapshot: objects.Invoice) -> Section:
    """Render an invoice as the HTTP API does."""
    return {
        "invoice_id": snapshot.invoice_id,
        "subscription_id": snapshot.subscription_id,
        "customer_id": snapshot.customer_id,
        "number": snapshot.number,
        "status": snapshot.status,
        "amount_due": snapshot.amount_due,
        "amount_paid": snapshot.amount_paid,
        "amount_remaining": snapshot.amount_remaining,
        "subtotal": snapshot.subtotal,
        "total": snapshot.total,
        "tax": snapshot.tax,
        "currency": snapshot.currency,
        "billing_reason": snapshot.billing_reason,
        "collection_method": snapshot.collection_method,
        "period_start": _wire(snapshot.period.start),
        "period_end": _wire(snapshot.period.end),
        "created_at": _wire(snapshot.created_at),
        "finalized_at": _wire(snapshot.finalized_at),
        "due_at": _wire(snapshot.due_at),
        "paid_at": _wire(snapshot.paid_at),
        "attempt_count": snapshot.attempt_count,
        "next_payment_attempt_at": _wire(snapshot.next_payment_attempt_at),
    }


def usage_sections(snapshot: objects.Invoice) -> Iterable[Section]:
    """Render the billed usage of an invoice: none while it is a draft or once it is void."""
    if snapshot.status not in _OWED_OR_PAID:
        return
    for line in snapshot.lines:
        if line.price.metered and not line.proration:
            yield {
                "feature_key": PRICE_ROLES[line.price.price_id].role,
                "quantity": line.quantity,
                "quantity_decimal": str(line.quantity),
                "amount": line.amount,
                "currency": snapshot.currency,
                "period_start": _wire(line.period.start),
                "period_end": _wire(line.period.end),
                "invoice_id": snapshot.invoice_id,
                "line_id": line.line_id,
            }


def _item_section(item: objects.Item) -> Section:
    role = PRICE_ROLES[item.price.price_id].role
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
