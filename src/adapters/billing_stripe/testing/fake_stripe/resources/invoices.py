"""Invoices: creating, reading, previewing, paying and ending them."""

from datetime import timedelta

import attrs

from billing_stripe.testing import adjustments, builders, objects
from billing_stripe.testing.fake_stripe.account import Account, Deleted
from billing_stripe.testing.fake_stripe.billing import changes, collection, invoicing, periods
from billing_stripe.testing.fake_stripe.billing.cards import CARDS, declined, needs_authentication
from billing_stripe.testing.fake_stripe.billing.items import CHANGED_ITEMS
from billing_stripe.testing.fake_stripe.billing.lines import charges, trial_lines, unused_time
from billing_stripe.testing.fake_stripe.billing.payments import resolve_method
from billing_stripe.testing.fake_stripe.billing.redemption import resolve_discount
from billing_stripe.testing.fake_stripe.billing.settings import settings_of
from billing_stripe.testing.fake_stripe.billing.starting import described
from billing_stripe.testing.fake_stripe.billing.times import now_on
from billing_stripe.testing.fake_stripe.errors import Json, StripeError, invalid, refused
from billing_stripe.testing.fake_stripe.filters import select
from billing_stripe.testing.fake_stripe.forms import (
    BOOLEAN,
    INTEGER,
    METADATA,
    MOMENT,
    TEXT,
    UNSUPPORTED,
    Clearable,
    Either,
    Form,
    Listed,
    Params,
    Period,
    Required,
    Text,
    choice,
    listing,
    merged_metadata,
    unsupported,
    within,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route
from billing_stripe.testing.versions import Shape


def _payments(account: Account, invoice: objects.Invoice, api_version: str) -> Json:
    """Return `payments`, which is shown only when it is expanded."""
    data = [
        adjustments.invoice_payment(payment, api_version)
        for payment in account.all(objects.InvoicePayment)
        if payment.invoice_id == invoice.invoice_id
    ]
    url = f"/v1/invoice_payments?invoice={invoice.invoice_id}"
    return {"object": "list", "data": data, "has_more": False, "url": url}


def _confirmation_secret(account: Account, invoice: objects.Invoice, api_version: str) -> Json | None:
    """Return `confirmation_secret`, with which a browser pays an open invoice."""
    intent = account.find(objects.PaymentIntent, invoice.payment_id)
    if intent is None or invoice.status != "open":
        return None
    secret = builders.payment_intent(intent, api_version)["client_secret"]
    return {"client_secret": secret, "type": "payment_intent"}


KIND = Kind(
    source=objects.Invoice,
    noun="invoice",
    key=lambda source: source.invoice_id,
    render=builders.invoice,
    expandable=frozenset(
        {
            "charge",
            "customer",
            "default_payment_method",
            "parent.subscription_details.subscription",
            "payment_intent",
            "subscription",
            "test_clock",
        }
    ),
    included={"payments": _payments, "confirmation_secret": _confirmation_secret},
    shown_lists=("lines",),
)
LIST = listing(
    customer=TEXT,
    subscription=TEXT,
    status=choice("draft", "open", "paid", "uncollectible", "void"),
    collection_method=choice("charge_automatically", "send_invoice"),
    created=Period(),
    due_date=Period(),
)
CREATE = Form(
    auto_advance=BOOLEAN,
    collection_method=choice("charge_automatically", "send_invoice"),
    currency=Text(3),
    customer=Required(TEXT),
    days_until_due=INTEGER,
    default_payment_method=TEXT,
    description=TEXT,
    due_date=MOMENT,
    metadata=METADATA,
    pending_invoice_items_behavior=choice("exclude", "include"),
)
UPDATE = Form(
    auto_advance=BOOLEAN,
    default_payment_method=Clearable(TEXT),
    description=Clearable(TEXT),
    metadata=METADATA,
)
PAY = Form(forgive=BOOLEAN, off_session=BOOLEAN, paid_out_of_band=BOOLEAN, payment_method=TEXT)
_DETAILS = Form(
    billing_cycle_anchor=Either(("now", "unchanged"), MOMENT),
    billing_mode=Form(type=choice("classic", "flexible")),
    cancel_at=UNSUPPORTED,
    cancel_at_period_end=BOOLEAN,
    cancel_now=BOOLEAN,
    items=CHANGED_ITEMS,
    proration_behavior=choice("always_invoice", "create_prorations", "none"),
    proration_date=MOMENT,
    start_date=UNSUPPORTED,
    trial_end=Either(("now",), MOMENT),
)
PREVIEW = Form(
    customer=TEXT,
    subscription=TEXT,
    subscription_details=_DETAILS,
    preview_mode=choice("next", "recurring"),
    currency=TEXT,
    discounts=Listed(Form(coupon=TEXT, promotion_code=TEXT), longest=1),
    **unsupported("automatic_tax", "customer_details", "invoice_items", "issuer", "on_behalf_of", "schedule"),
    schedule_details=UNSUPPORTED,
)
_TRIAL_END = "subscription_details[trial_end]"


def create(call: Call) -> objects.Invoice:
    """POST /v1/invoices: a draft that belongs to no subscription."""
    account, params = call.account, call.params
    customer = account.get(objects.Customer, params["customer"], "customer")
    at, invoice_id = now_on(account, customer.test_clock), account.new_id("in")
    included = params.get("pending_invoice_items_behavior") == "include"
    pending = invoicing.pending_items(account, customer.customer_id, None) if included else []
    for item in pending:
        account.put(attrs.evolve(item, invoice_id=invoice_id))
    by_mail = params.get("collection_method") == "send_invoice"
    if by_mail and "days_until_due" not in params and "due_date" not in params:
        raise invalid("You must pass `days_until_due` or `due_date`, as the invoice is to be sent.", param="due_date")
    auto_advance = params.get("auto_advance", False)
    return account.create(
        objects.Invoice(
            invoice_id=invoice_id,
            customer_id=customer.customer_id,
            status="draft",
            created_at=at,
            lines=tuple(invoicing.line_of(account, item) for item in pending),
            period=objects.Span(at, at),
            currency=params.get("currency", customer.currency or "usd"),
            billing_reason="manual",
            collection_method=params.get("collection_method", "charge_automatically"),
            due_at=params.get("due_date", at + timedelta(days=params.get("days_until_due", 0))) if by_mail else None,
            customer_email=customer.email,
            customer_name=customer.name,
            description=params.get("description"),
            default_payment_method_id=params.get("default_payment_method"),
            metadata=merged_metadata({}, params),
            auto_advance=auto_advance,
            finalizes_at=at + settings_of(account).finalize_after if auto_advance else None,
            test_clock=customer.test_clock,
        )
    )


def retrieve(call: Call) -> objects.Invoice:
    """GET /v1/invoices/:id"""
    return call.account.get(objects.Invoice, call.id)


def invoices(call: Call) -> Listing:
    """GET /v1/invoices"""
    asked = select(
        call,
        objects.Invoice,
        customer="customer_id",
        subscription="subscription_id",
        status="status",
        collection_method="collection_method",
    )
    due = call.params.get("due_date")
    return Listing([each for each in asked if not due or (each.due_at and within(due, each.due_at))], KIND.noun)


def lines(call: Call) -> Listing:
    """GET /v1/invoices/:id/lines"""
    rendered = KIND.render(retrieve(call), call.api_version)
    return Listing(rendered["lines"]["data"], "invoice line item")


def update(call: Call) -> objects.Invoice:
    """POST /v1/invoices/:id"""
    account, params, invoice = call.account, call.params, retrieve(call)
    changed = attrs.evolve(
        invoice,
        auto_advance=params.get("auto_advance", invoice.auto_advance),
        description=params.get("description", invoice.description),
        default_payment_method_id=params.get("default_payment_method", invoice.default_payment_method_id),
        metadata=merged_metadata(invoice.metadata, params),
    )
    if params.get("auto_advance") is False:
        changed = attrs.evolve(changed, finalizes_at=None, next_payment_attempt_at=None)
    return account.update(changed)


def delete(call: Call) -> Deleted:
    """DELETE /v1/invoices/:id, of a draft that belongs to no subscription."""
    invoice = retrieve(call)
    if invoice.status != "draft" or invoice.subscription_id is not None:
        raise refused("You can only delete draft invoices that do not belong to a subscription.")
    call.account.remove(call.id)
    call.account.emit("invoice.deleted", invoice)
    return Deleted(identifier=call.id, noun=KIND.noun)


def finalize(call: Call) -> objects.Invoice:
    """POST /v1/invoices/:id/finalize"""
    account, invoice = call.account, retrieve(call)
    _check_status(invoice, "finalized", "draft")
    if "auto_advance" in call.params:
        invoice = attrs.evolve(invoice, auto_advance=call.params["auto_advance"])
    finalized = invoicing.finalize(account, invoice)
    if finalized.status == "paid":
        collection.after_payment(account, finalized)
    return account.get(objects.Invoice, call.id)


def pay(call: Call) -> objects.Invoice:
    """POST /v1/invoices/:id/pay. A declined payment is a 402, after which the attempt stays."""
    account, params, invoice = call.account, call.params, retrieve(call)
    if invoice.status == "paid":
        raise refused("Invoice is already paid", code="invoice_already_paid")
    if invoice.status == "draft":
        invoice = invoicing.finalize(account, invoice)
    _check_status(invoice, "paid", "open", "uncollectible", "paid")
    if invoice.status == "paid":
        collection.after_payment(account, invoice)
        return invoice
    if params.get("paid_out_of_band"):
        return collection.settle(account, invoice, out_of_band=True)
    method = collection.default_method(account, invoice)
    if "payment_method" in params:
        method = resolve_method(account, params["payment_method"], invoice.customer_id, "payment_method")
    tried = collection.collect(account, invoice, method, automatic=False)
    if tried.status != "paid":
        raise _unpaid(account, tried, method)
    return tried


def void(call: Call) -> objects.Invoice:
    """POST /v1/invoices/:id/void; the change that waits for its payment is withdrawn."""
    account, invoice = call.account, retrieve(call)
    _check_status(invoice, "voided", "open", "uncollectible")
    voided = invoicing.void(account, invoice)
    subscription = account.find(objects.Subscription, invoice.subscription_id)
    pending = None if subscription is None else subscription.pending_update
    if subscription is not None and pending is not None and pending.invoice_id == invoice.invoice_id:
        collection.expire_pending(account, subscription)
    return voided


def mark_uncollectible(call: Call) -> objects.Invoice:
    """POST /v1/invoices/:id/mark_uncollectible"""
    invoice = retrieve(call)
    _check_status(invoice, "marked as uncollectible", "open")
    return invoicing.mark_uncollectible(call.account, invoice)


def send(call: Call) -> objects.Invoice:
    """POST /v1/invoices/:id/send"""
    account, invoice = call.account, retrieve(call)
    if invoice.status == "draft":
        invoice = invoicing.finalize(account, invoice)
    _check_status(invoice, "sent", "open", "paid", "uncollectible")
    account.emit("invoice.sent", invoice)
    return invoice


def create_preview(call: Call) -> objects.Invoice:
    """POST /v1/invoices/create_preview: of the next invoice, or of a change."""
    return invoicing.with_balance(call.account, _preview(call))


def _preview(call: Call) -> objects.Invoice:
    account, params = call.account, call.params
    details = params.get("subscription_details", {})
    subscription = account.find(objects.Subscription, params.get("subscription"))
    if subscription is None:
        if "subscription" in params:
            account.get(objects.Subscription, params["subscription"], "subscription")
        return _preview_start(call, details)
    if subscription.ended_at is not None:
        raise refused("No upcoming invoices for customer", code="invoice_upcoming_none", param="subscription")
    if details.get("cancel_now"):
        at = details.get("proration_date", now_on(account, subscription.test_clock))
        credits = [] if details.get("proration_behavior") == "none" else unused_time(account, subscription, at)
        return invoicing.describe(account, subscription, credits, reason="upcoming", at=at)
    if "trial_end" in details:
        raise invalid("FakeStripe previews no other trial end of a subscription.", param=_TRIAL_END)
    change = changes.plan(account, subscription, details, "subscription_details[items]")
    if params.get("preview_mode") == "recurring":
        return periods.upcoming(account, change.after, with_pending=False)
    ends = details.get("cancel_at_period_end") or subscription.cancel_at is not None
    if ends and not change.lines:
        raise refused("No upcoming invoices for customer", code="invoice_upcoming_none", param="subscription")
    return changes.preview(account, change)


def _preview_start(call: Call, details: Params) -> objects.Invoice:
    """Return the first invoice of a subscription that does not exist."""
    account = call.account
    if "customer" not in call.params:
        raise invalid("You must provide either `customer` or `subscription`.", param="customer")
    customer = account.get(objects.Customer, call.params["customer"], "customer")
    if "items" not in details:
        for subscription in account.all(objects.Subscription):
            if subscription.customer_id == customer.customer_id and subscription.ended_at is None:
                return periods.upcoming(account, subscription)
        raise refused("No upcoming invoices for customer", code="invoice_upcoming_none", param="customer")
    now = now_on(account, customer.test_clock)
    flexible = Shape(call.api_version).flexible_by_default
    if "billing_mode" in details:
        flexible = details["billing_mode"].get("type") == "flexible"
    coupon_id = None
    if call.params.get("discounts"):
        (discount,) = call.params["discounts"]
        coupon = resolve_discount(account, discount, customer.customer_id, "discounts[0]", redeem=False)
        coupon_id = coupon.coupon_id
    start = described(account, customer, details, now, flexible=flexible, coupon_id=coupon_id)
    regular = call.params.get("preview_mode") == "recurring" or start.trial is None
    lines = charges(account, start, start.items) if regular else trial_lines(account, start)
    return invoicing.describe(account, start, lines, reason="upcoming", at=now)


def _check_status(invoice: objects.Invoice, verb: str, *allowed: str) -> None:
    if invoice.status not in allowed:
        raise refused(
            f"You can only have an invoice {verb} while its status is {' or '.join(allowed)}; this invoice has the "
            f"status {invoice.status}.",
            code="invoice_not_editable" if invoice.status == "draft" else None,
        )


def _unpaid(account: Account, invoice: objects.Invoice, method: objects.PaymentMethod | None) -> StripeError:
    intent = account.get(objects.PaymentIntent, invoice.payment_id or "")
    if method is None:
        error = refused("There is no `default_payment_method` set on this Customer or Invoice.")
        error.committed = True
        return error
    shown = account.show(intent, account.api_version)
    if intent.status == "requires_action":
        return needs_authentication(payment_intent=shown)
    return declined(CARDS[method.test_card], payment_intent=shown, charge=intent.latest_charge_id)


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/invoices", create, CREATE),
        Route("GET", "/v1/invoices", invoices, LIST),
        Route("POST", "/v1/invoices/create_preview", create_preview, PREVIEW),
        Route("GET", "/v1/invoices/{id}", retrieve),
        Route("POST", "/v1/invoices/{id}", update, UPDATE),
        Route("DELETE", "/v1/invoices/{id}", delete),
        Route("GET", "/v1/invoices/{id}/lines", lines, listing()),
        Route("POST", "/v1/invoices/{id}/finalize", finalize, Form(auto_advance=BOOLEAN)),
        Route("POST", "/v1/invoices/{id}/pay", pay, PAY),
        Route("POST", "/v1/invoices/{id}/void", void),
        Route("POST", "/v1/invoices/{id}/mark_uncollectible", mark_uncollectible),
        Route("POST", "/v1/invoices/{id}/send", send),
    ],
)
