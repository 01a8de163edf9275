"""Stripe's side of a history: customer `cus_1` of tenant `acme` with one subscription, unless a test says otherwise."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from billing_stripe.testing import API_VERSIONS, accounts, builders, event, make_id, objects
from billing_stripe.testing.objects import InvoiceLine, Item, Price, Span

Json = dict[str, Any]

VERSION: Final = API_VERSIONS[-1]


def day(text: str) -> datetime:
    """Return an instant in UTC: `2026-11-01`, or `2026-11-01 12:30`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


OCTOBER: Final = Span(day("2026-10-01"), day("2026-11-01"))
NOVEMBER: Final = Span(day("2026-11-01"), day("2026-12-01"))
DECEMBER: Final = Span(day("2026-12-01"), day("2027-01-01"))

ACME: Final[Mapping[str, str]] = {"tenant_id": "acme"}


def price(price_id: str = "price_pro", amount: int | None = 2000, **fields: Any) -> Price:
    """Describe a price of the product `prod_app`."""
    return Price(**{"price_id": price_id, "product_id": "prod_app", "unit_amount": amount, **fields})


PRO: Final = price()
CALLS: Final = price("price_api", None, unit_amount_decimal="0.05", lookup_key="api_calls", metered=True)


def item(of: Price = PRO, period: Span = NOVEMBER, **fields: Any) -> Item:
    """Describe a subscription's item."""
    return Item(**{"item_id": f"si_{of.price_id}", "price": of, "period": period, **fields})


def subscription(status: str = "active", *items: Item, changes: Mapping[str, Any] | None = None, **fields: Any) -> Json:
    """Render a subscription; `changes` overwrite what the builders cannot say."""
    given = {
        "subscription_id": "sub_1",
        "customer_id": "cus_1",
        "status": status,
        "created_at": OCTOBER.start,
        "items": items or (item(),),
        "metadata": ACME,
        **fields,
    }
    return {**builders.subscription(objects.Subscription(**given), VERSION), **(changes or {})}


def line(
    line_id: str = "il_1", amount: int = 2000, of: Price = PRO, period: Span = NOVEMBER, **fields: Any
) -> InvoiceLine:
    """Describe an invoice line of the subscription's item with this price."""
    given = {"subscription_id": "sub_1", "item_id": f"si_{of.price_id}", **fields}
    return InvoiceLine(**{"line_id": line_id, "amount": amount, "price": of, "period": period, **given})


def invoice(status: str = "open", *lines: InvoiceLine, changes: Mapping[str, Any] | None = None, **fields: Any) -> Json:
    """Render an invoice of the subscription; `changes` overwrite what the builders cannot say."""
    given = {
        "invoice_id": "in_1",
        "customer_id": "cus_1",
        "subscription_id": "sub_1",
        "subscription_metadata": ACME,
        "status": status,
        "created_at": NOVEMBER.start,
        "lines": lines or (line(),),
        "period": Span(NOVEMBER.start, NOVEMBER.start),
        "finalized_at": None if status == "draft" else NOVEMBER.start,
        "number": None if status == "draft" else "A-1",
        **fields,
    }
    return {**builders.invoice(objects.Invoice(**given), VERSION), **(changes or {})}


def checkout(session_id: str, *, changes: Mapping[str, Any] | None = None, **fields: Any) -> Json:
    """Render a completed Checkout session of `cus_1`."""
    given = {"created_at": OCTOBER.start, "customer_id": "cus_1", "subscription_id": None, **fields}
    return {
        **builders.checkout_session(objects.CheckoutSession(session_id=session_id, **given), VERSION),
        **(changes or {}),
    }


def clock(frozen_at: str, status: str = "ready", **fields: Any) -> Json:
    """Render the test clock `clock_1`."""
    described = objects.Clock(
        clock_id="clock_1", created_at=day("2026-10-01"), frozen_at=day(frozen_at), status=status, **fields
    )
    return accounts.clock(described)


def sent(type: str, object: Mapping[str, Any], at: str | datetime, *, before: Mapping[str, Any] | None = None) -> Json:
    """Return the webhook about an object.

    Args:
        type: Stripe's event type.
        object: the object after the change.
        at: when Stripe created the event.
        before: the object before an update.
    """
    created = day(at) if isinstance(at, str) else at
    previous = None if before is None else builders.previous_attributes(before, object)
    event_id = make_id("evt", type, created, repr(object))
    return event(type, object, created=created, api_version=VERSION, event_id=event_id, previous_attributes=previous)
