"""Credit notes: they reduce what is due of an open invoice, and give back what was paid of another."""

from collections.abc import Sequence

import attrs

from billing_stripe.testing import adjustments, objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing.collection import settle
from billing_stripe.testing.fake_stripe.errors import refused
from billing_stripe.testing.fake_stripe.filters import select
from billing_stripe.testing.fake_stripe.forms import (
    INTEGER,
    METADATA,
    TEXT,
    Clearable,
    Form,
    Integer,
    Listed,
    Params,
    Required,
    choice,
    listing,
    merged_metadata,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.CreditNote,
    noun="credit_note",
    key=lambda source: source.credit_note_id,
    render=adjustments.credit_note,
    expandable=frozenset({"customer", "invoice"}),
)
_LINE = Form(
    type=Required(choice("custom_line_item", "invoice_line_item")),
    amount=INTEGER,
    description=TEXT,
    invoice_line_item=TEXT,
    quantity=Integer(least=1),
    unit_amount=INTEGER,
)
CREATE = Form(
    invoice=Required(TEXT),
    amount=Integer(least=1),
    credit_amount=INTEGER,
    lines=Listed(_LINE),
    memo=TEXT,
    metadata=METADATA,
    out_of_band_amount=INTEGER,
    reason=choice("duplicate", "fraudulent", "order_change", "product_unsatisfactory"),
    refund_amount=INTEGER,
)
_RETURNED = ("credit_amount", "out_of_band_amount", "refund_amount")


def create(call: Call) -> objects.CreditNote:
    """POST /v1/credit_notes"""
    account, params = call.account, call.params
    invoice = account.get(objects.Invoice, params["invoice"], "invoice")
    if invoice.status not in ("open", "paid", "uncollectible"):
        raise refused("You can only create credit notes for open, uncollectible or paid invoices.", param="invoice")
    lines = _lines(account, params)
    amount = sum(line.amount for line in lines)
    before_payment = min(amount, invoice.amount_remaining)
    _check_returned(params, amount - before_payment)
    note = account.create(
        objects.CreditNote(
            credit_note_id=account.new_id("cn"),
            invoice_id=params["invoice"],
            customer_id=invoice.customer_id,
            created_at=call.now,
            amount=amount,
            currency=invoice.currency,
            reason=params.get("reason"),
            memo=params.get("memo"),
            before_payment=before_payment,
            lines=tuple(lines),
            metadata=merged_metadata({}, params),
        )
    )
    _give_back(account, invoice, params)
    _adjust(account, invoice, before_payment, amount - before_payment)
    return note


def retrieve(call: Call) -> objects.CreditNote:
    """GET /v1/credit_notes/:id"""
    return call.account.get(objects.CreditNote, call.id)


def update(call: Call) -> objects.CreditNote:
    """POST /v1/credit_notes/:id"""
    note, params = retrieve(call), call.params
    changed = attrs.evolve(note, memo=params.get("memo", note.memo), metadata=merged_metadata(note.metadata, params))
    return call.account.update(changed)


def void(call: Call) -> objects.CreditNote:
    """POST /v1/credit_notes/:id/void: while the invoice is open, what was due is due again."""
    account, note = call.account, retrieve(call)
    invoice = account.get(objects.Invoice, note.invoice_id)
    if note.status != "issued" or invoice.status != "open":
        raise refused("Only issued credit notes for open invoices can be voided.")
    voided = account.update(attrs.evolve(note, status="void"), "credit_note.voided")
    _adjust(account, invoice, -note.before_payment, 0)
    return voided


def notes(call: Call) -> Listing:
    """GET /v1/credit_notes"""
    return Listing(select(call, objects.CreditNote, customer="customer_id", invoice="invoice_id"), KIND.noun)


def _lines(account: Account, params: Params) -> Sequence[objects.CreditNoteLine]:
    given = params.get("lines") or [{"type": "custom_line_item", "unit_amount": params.get("amount", 0)}]
    lines = [
        objects.CreditNoteLine(
            line_id=account.new_id("cnli"),
            amount=line.get("amount", line.get("unit_amount", 0) * line.get("quantity", 1)),
            description=line.get("description", "Credit"),
            quantity=line.get("quantity", 1),
            invoice_line_id=line.get("invoice_line_item"),
        )
        for line in given
    ]
    if sum(line.amount for line in lines) <= 0:
        raise refused("The credit note amount must be greater than 0.", param="amount")
    return lines


def _check_returned(params: Params, after_payment: int) -> None:
    """Raise StripeError unless the request says what happens to all that was paid and is credited."""
    returned = sum(params.get(name, 0) for name in _RETURNED)
    if returned != after_payment:
        raise refused(
            f"The sum of credit amount, refund amount and out of band amount ({returned}) must equal the post payment "
            f"amount ({after_payment}).",
        )


def _give_back(account: Account, invoice: objects.Invoice, params: Params) -> None:
    """Add what is credited to the customer's balance. Refunds are requests of their own here."""
    credit = params.get("credit_amount", 0)
    if credit:
        customer = account.get(objects.Customer, invoice.customer_id)
        account.update(attrs.evolve(customer, balance=customer.balance - credit))


def _adjust(account: Account, invoice: objects.Invoice, before_payment: int, after_payment: int) -> None:
    """Change what is due of an invoice; it is paid once nothing is left."""
    adjusted = account.update(
        attrs.evolve(
            invoice,
            credited_before_payment=invoice.credited_before_payment + before_payment,
            credited_after_payment=invoice.credited_after_payment + after_payment,
        )
    )
    if adjusted.status == "open" and adjusted.amount_remaining == 0:
        settle(account, adjusted)


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/credit_notes", create, CREATE),
        Route("GET", "/v1/credit_notes", notes, listing(customer=TEXT, invoice=TEXT)),
        Route("GET", "/v1/credit_notes/{id}", retrieve),
        Route("POST", "/v1/credit_notes/{id}", update, Form(memo=Clearable(TEXT), metadata=METADATA)),
        Route("POST", "/v1/credit_notes/{id}/void", void),
    ],
)
