"""Payments of invoices."""

from collections.abc import Iterator

from billing_stripe.testing import adjustments, builders, objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.errors import Json
from billing_stripe.testing.fake_stripe.forms import TEXT, Form, choice, listing
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route
from billing_stripe.versions import API_VERSIONS, BASIL

KIND = Kind(
    source=objects.InvoicePayment,
    noun="invoice_payment",
    key=lambda source: source.invoice_payment_id,
    render=adjustments.invoice_payment,
    since=BASIL,
    expandable=frozenset({"invoice", "payment.payment_intent", "payment.charge"}),
)
LIST = listing(
    invoice=TEXT,
    payment=Form(type=choice("payment_intent", "charge", "payment_record"), payment_intent=TEXT),
    status=choice("open", "paid", "canceled"),
)

_OLDEST = API_VERSIONS[0]


def payments(call: Call) -> Listing:
    """GET /v1/invoice_payments, by invoice or by payment intent."""
    wanted_invoice = call.params.get("invoice")
    wanted_intent = call.params.get("payment", {}).get("payment_intent")
    wanted_status = call.params.get("status")
    matching = [
        payment
        for payment in _all(call.account, call.api_version)
        if wanted_invoice in (None, payment["invoice"])
        and wanted_intent in (None, payment["payment"].get("payment_intent"))
        and wanted_status in (None, payment["status"])
    ]
    return Listing(matching, KIND.noun)


def _all(account: Account, api_version: str) -> Iterator[Json]:
    """Yield the payments that were made here, and those of invoices that a test put in as they are."""
    made = list(account.all(objects.InvoicePayment))
    for payment in made:
        yield KIND.render(payment, api_version)
    paid_here = {payment.invoice_id for payment in made}
    for source in account.all(objects.Invoice):
        if source.invoice_id not in paid_here and (derived := _derived(source)) is not None:
            yield derived


def _derived(source: objects.Invoice) -> Json | None:
    """Return the payment of an invoice; the oldest API version names its payment intent."""
    intent = builders.invoice(source, _OLDEST)["payment_intent"]
    if intent is None:
        return None
    paid = source.status == "paid"
    return {
        "id": f"inpay_{intent.removeprefix('pi_')}",
        "object": "invoice_payment",
        "amount_paid": source.amount_paid if paid else None,
        "amount_requested": source.amount_due,
        "created": int((source.finalized_at or source.created_at).timestamp()),
        "currency": source.currency,
        "invoice": source.invoice_id,
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": intent, "type": "payment_intent"},
        "status": "paid" if paid else "canceled" if source.status == "void" else "open",
        "status_transitions": {
            "canceled_at": None if source.voided_at is None else int(source.voided_at.timestamp()),
            "paid_at": None if source.paid_at is None else int(source.paid_at.timestamp()),
        },
    }


RESOURCE = Resource(kinds=[KIND], routes=[Route("GET", "/v1/invoice_payments", payments, LIST)])
