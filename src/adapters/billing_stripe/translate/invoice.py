"""Invoices and their lines. 2025-03-31 moved an invoice's subscription to `parent`, a line's price to `pricing`."""

import re

import attrs

from billing_core.events import Translation
from billing_core.model import (
    DELETED,
    InvoiceId,
    InvoiceLine,
    InvoiceSnapshot,
    ItemId,
    LineId,
    PriceId,
    SubscriptionId,
    TenantId,
)
from billing_stripe.translate.payment import payment_in_invoice
from billing_stripe.translate.reading import Reader, fits
from billing_stripe.translate.reasons import NO_CUSTOMER, UNREADABLE_OBJECT

_NO_CURRENCY = "xxx"
"""ISO 4217's code for no currency, since a deleted draft may contain only its id."""
_LINK = re.compile(r"https://([a-z0-9.-]{1,253})(?:[/?#][!-~]{0,2000})?")
"""A link that no browser reads as one to another host: no user, port, backslash or blank. Shorter than the longest text
that is read, so that a truncated link does not match."""


def read_invoice(seen: Reader) -> Translation:
    """Read an invoice."""
    invoice_id = seen.required("id", seen.word("id"))
    status = seen.required("status", seen.word("status"))
    currency = seen.required("currency", seen.currency("currency"))
    customer_id = seen.required("customer", seen.customer())
    if invoice_id is None or status is None or currency is None:
        return Translation(ignored=UNREADABLE_OBJECT)
    if customer_id is None:
        return Translation(ignored=NO_CUSTOMER)
    origin = _origin_of_invoice(seen)
    listed = seen.child("lines")
    rows = listed.children("data")
    transitions = seen.child("status_transitions")
    snapshot = InvoiceSnapshot(
        invoice_id=InvoiceId(invoice_id),
        customer_id=customer_id,
        status=status,
        currency=currency,
        subscription_id=_subscription_id(seen, origin),
        number=seen.text("number"),
        amount_due=seen.amount("amount_due"),
        amount_paid=seen.amount("amount_paid"),
        amount_remaining=seen.amount("amount_remaining"),
        subtotal=seen.amount("subtotal"),
        total=seen.amount("total"),
        tax=_tax(seen),
        billing_reason=seen.word("billing_reason"),
        collection_method=seen.word("collection_method"),
        hosted_invoice_url=_link(seen, "hosted_invoice_url"),
        invoice_pdf=_link(seen, "invoice_pdf"),
        period=seen.period("period_start", "period_end"),
        created_at=seen.required("created", seen.instant("created")),
        finalized_at=transitions.instant("finalized_at"),
        due_at=seen.instant("due_date"),
        paid_at=transitions.instant("paid_at"),
        attempt_count=seen.required("attempt_count", seen.integer("attempt_count")) or 0,
        next_payment_attempt_at=seen.instant("next_payment_attempt"),
        lines=_lines(rows),
        lines_complete=_lines_complete(seen, listed),
    )
    return Translation(customer_id=customer_id, tenant_hint=_tenant_hint(seen, origin, rows), snapshots=(snapshot,))


def read_paid_invoice(seen: Reader) -> Translation:
    """Read an invoice, and the payment that settled it if the invoice names it."""
    translation = read_invoice(seen)
    for snapshot in translation.snapshots:
        if isinstance(snapshot, InvoiceSnapshot) and snapshot.status == "paid":
            payment = payment_in_invoice(seen, snapshot.invoice_id, snapshot.currency)
            if payment is not None:
                return attrs.evolve(translation, snapshots=(snapshot, payment))
    return translation


def read_deleted_invoice(seen: Reader) -> Translation:
    """Read a deleted draft. The event may contain only the id; the owner is then looked up."""
    invoice_id = seen.required("id", seen.word("id"))
    if invoice_id is None:
        return Translation(ignored=UNREADABLE_OBJECT)
    customer_id = seen.customer()
    origin = _origin_of_invoice(seen)
    snapshot = InvoiceSnapshot(
        invoice_id=InvoiceId(invoice_id),
        customer_id=customer_id,
        status=DELETED,
        currency=seen.currency("currency") or _NO_CURRENCY,
        subscription_id=_subscription_id(seen, origin),
    )
    return Translation(
        customer_id=customer_id,
        about=(invoice_id,) if customer_id is None else (),
        tenant_hint=_tenant_hint(seen, origin, seen.child("lines").children("data")),
        snapshots=(snapshot,),
    )


def read_upcoming_invoice(seen: Reader) -> Translation:
    """Read a forecast of an invoice. It does not exist yet: it has no id, or one that is used only here."""
    customer_id = seen.required("customer", seen.customer())
    if customer_id is None:
        return Translation(ignored=NO_CUSTOMER)
    origin = _origin_of_invoice(seen)
    hint = _tenant_hint(seen, origin, seen.child("lines").children("data"))
    subscription_id = _subscription_id(seen, origin)
    about = () if subscription_id is None else (subscription_id,)
    period = seen.period("period_start", "period_end")
    notice_of = None if subscription_id is None or period is None else f"{subscription_id}:{period.end:%Y-%m-%dT%H:%M}"
    return Translation(customer_id=customer_id, about=about, tenant_hint=hint, notice_of=notice_of)


def _origin_of_invoice(seen: Reader) -> Reader:
    """Return the new place of the subscription's details; empty in older versions, and for another kind of parent."""
    return seen.child("parent").details("subscription_details")


def _subscription_id(seen: Reader, origin: Reader) -> SubscriptionId | None:
    value = origin.reference("subscription") or seen.reference("subscription")
    return None if value is None else SubscriptionId(value)


def _tenant_hint(seen: Reader, origin: Reader, lines: list[Reader]) -> TenantId | None:
    """Return the tenant in the subscription's metadata; older versions show it elsewhere, the oldest in the lines.

    The invoice's own metadata is not used: it is about that one invoice.
    """
    hint = origin.tenant_in_metadata() or seen.child("subscription_details").tenant_in_metadata()
    if hint is not None:
        return hint
    hints = {line.tenant_in_metadata() for line in lines if _bills_subscription(line)} - {None}
    return hints.pop() if len(hints) == 1 else None


def _tax(seen: Reader) -> int:
    """Read the tax at its newest place, then at older ones; they repeat each other and are not added up."""
    if "total_taxes" in seen:
        return _sum_of_amounts(seen, "total_taxes")
    if "tax" in seen:
        return seen.integer("tax") or 0
    return _sum_of_amounts(seen, "total_tax_amounts")


def _sum_of_amounts(seen: Reader, key: str) -> int:
    total = sum(part.amount("amount") for part in seen.children(key))
    if fits(total):
        return total
    seen.note(key)
    return 0


def _link(seen: Reader, key: str) -> str | None:
    """Return a page or file of the invoice. It must be Stripe's, since it becomes a link in our users' browsers."""
    url = seen.text(key)
    if url is None:
        return None
    match = _LINK.fullmatch(url)
    host = "" if match is None else match[1]
    if host == "stripe.com" or host.endswith(".stripe.com"):
        return url
    seen.note(key)
    return None


def _lines_complete(seen: Reader, listed: Reader) -> bool:
    """Tell whether the payload has all lines; it shows the first ten."""
    if "data" not in listed:
        seen.note("lines")
        return False
    return not listed.flag("has_more")


def _lines(rows: list[Reader]) -> tuple[InvoiceLine, ...]:
    read = [line for row in rows if (line := _line(row)) is not None]
    return tuple(sorted(read, key=_by_id)) if len(read) > 1 else tuple(read)


def _by_id(line: InvoiceLine) -> str:
    return line.line_id


def _line(seen: Reader) -> InvoiceLine | None:
    """Read one line, without its usage type: newer versions lack it, and an invoice has to read the same in all.

    The subscription's items and the catalog say which prices are metered, in every version.
    """
    line_id = seen.required("id", seen.word("id"))
    if line_id is None:
        return None
    origin = _origin(seen)
    proration = origin.flag("proration") or False
    return InvoiceLine(
        line_id=LineId(line_id),
        amount=seen.amount("amount"),
        quantity=seen.integer("quantity"),
        quantity_decimal=seen.fraction("quantity_decimal"),
        price_id=_price_id(seen),
        product_id=_product_id(seen),
        subscription_item_id=None if proration else _subscription_item_id(origin),
        proration=proration,
        description=seen.text("description"),
        period=seen.child("period").period("start", "end"),
    )


def _origin(line: Reader) -> Reader:
    """Return the place of a line's origin: one of two details of its parent, in older versions the line itself."""
    parent = line.child("parent")
    for kind in ("subscription_item_details", "invoice_item_details"):
        if kind in parent and parent.is_of(kind):
            return parent.child(kind)
    return line


def _bills_subscription(line: Reader) -> bool:
    """Tell whether a line's metadata is that of its subscription; an invoice item has metadata of its own."""
    parent, kind = line.child("parent"), "subscription_item_details"
    return (kind in parent and parent.is_of(kind)) or line.word("type") == "subscription"


def _subscription_item_id(origin: Reader) -> ItemId | None:
    """Read the item, only of regular lines: older versions always name it for prorations, newer ones rarely."""
    value = origin.word("subscription_item")
    return None if value is None else ItemId(value)


def _price_id(line: Reader) -> PriceId | None:
    """Read the price; an amount without one, such as a one-off item, has none."""
    new_place = line.child("pricing").child("price_details")
    value = new_place.reference("price") or line.reference("price") or line.reference("plan")
    return None if value is None else PriceId(value)


def _product_id(line: Reader) -> str | None:
    """Read the product of the price: beside the price in newer versions, in the price or plan itself in older ones."""
    new_place = line.child("pricing").child("price_details")
    place = new_place if "product" in new_place else line.child("price" if "price" in line else "plan")
    return place.reference("product")
