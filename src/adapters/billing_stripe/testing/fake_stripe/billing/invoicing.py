"""Invoices: drafts, finalization and their ends. What a payment means to a subscription is in `collection`."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.builders.values import derived, short
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing.discounts import current_coupon, discount_of
from billing_stripe.testing.fake_stripe.billing.settings import settings_of
from billing_stripe.testing.fake_stripe.billing.times import now_on


def describe(
    account: Account,
    subscription: objects.Subscription,
    lines: Sequence[objects.InvoiceLine],
    *,
    reason: str,
    at: datetime,
    period: objects.Span | None = None,
    invoice_id: str | None = None,
) -> objects.Invoice:
    """Return an invoice of a subscription with these lines as a draft that is not stored.

    Args:
        account: of the subscription.
        subscription: what it bills.
        lines: without pending invoice items, see `pending_lines`.
        reason: its `billing_reason`.
        at: time of its creation.
        period: the time in which pending items were collected; none by default.
        invoice_id: None for a preview.
    """
    customer = account.get(objects.Customer, subscription.customer_id)
    subtotal = sum(line.amount for line in lines)
    coupon = current_coupon(account, subscription, at)
    return objects.Invoice(
        invoice_id=invoice_id,
        customer_id=subscription.customer_id,
        status="draft",
        created_at=at,
        lines=tuple(lines),
        period=period or objects.Span(at, at),
        currency=subscription.currency,
        subscription_id=subscription.subscription_id,
        subscription_metadata=subscription.metadata,
        billing_reason=reason,
        collection_method=subscription.collection_method,
        customer_email=customer.email,
        customer_name=customer.name,
        discount=discount_of(coupon, subtotal),
        discount_id=None if coupon is None else derived("di", subscription.subscription_id),
        test_clock=subscription.test_clock,
        default_payment_method_id=None,
    )


def create_draft(
    account: Account,
    subscription: objects.Subscription,
    lines: Sequence[objects.InvoiceLine],
    *,
    reason: str,
    invoice_id: str | None = None,
    period: objects.Span | None = None,
    auto_advance: bool = True,
) -> objects.Invoice:
    """Create a draft with these lines and the customer's pending items, which it takes up."""
    at = now_on(account, subscription.test_clock)
    invoice_id = invoice_id or account.new_id("in")
    pending = pending_items(account, subscription.customer_id, subscription.subscription_id)
    for item in pending:
        account.put(attrs.evolve(item, invoice_id=invoice_id))
    all_lines = [*(line_of(account, item) for item in pending), *lines]
    invoice = describe(account, subscription, all_lines, reason=reason, at=at, period=period, invoice_id=invoice_id)
    invoice = attrs.evolve(
        invoice,
        auto_advance=auto_advance,
        finalizes_at=at + settings_of(account).finalize_after if auto_advance else None,
    )
    return account.create(invoice)


def pending_items(account: Account, customer_id: str, subscription_id: str | None) -> list[objects.InvoiceItem]:
    """Return the customer's invoice items that the next invoice of a subscription takes up, oldest first."""
    return [
        item
        for item in reversed(list(account.all(objects.InvoiceItem)))
        if item.invoice_id is None
        and item.customer_id == customer_id
        and item.subscription_id in (None, subscription_id)
    ]


def add_pending(account: Account, subscription: objects.Subscription, lines: Sequence[objects.InvoiceLine]) -> None:
    """Keep lines, such as prorations, for the next invoice."""
    for line in lines:
        account.create(
            objects.InvoiceItem(
                invoice_item_id=account.new_id("ii"),
                customer_id=subscription.customer_id,
                created_at=now_on(account, subscription.test_clock),
                amount=line.amount,
                period=line.period,
                currency=subscription.currency,
                description=line.description,
                price=line.price,
                quantity=1 if line.quantity is None else int(line.quantity),
                proration=line.proration,
                subscription_id=subscription.subscription_id,
                item_id=line.item_id,
                metadata=line.metadata,
                test_clock=subscription.test_clock,
            )
        )


def line_of(account: Account, item: objects.InvoiceItem) -> objects.InvoiceLine:
    """Return the line that an invoice item becomes."""
    return objects.InvoiceLine(
        line_id=account.new_id("il"),
        amount=item.amount,
        price=item.price or _no_price(item),
        period=item.period,
        quantity=item.quantity,
        subscription_id=item.subscription_id,
        item_id=item.item_id,
        invoice_item_id=item.invoice_item_id,
        proration=item.proration,
        description=item.description or "",
        metadata=item.metadata,
    )


def finalize(account: Account, invoice: objects.Invoice) -> objects.Invoice:
    """Give a draft its number and its payment; one without anything to pay is paid at once."""
    at = now_on(account, invoice.test_clock)
    customer = account.get(objects.Customer, invoice.customer_id)
    sequence = customer.next_invoice_sequence
    account.put(attrs.evolve(customer, next_invoice_sequence=sequence + 1))
    settled = with_balance(account, invoice)
    account.update(
        attrs.evolve(
            customer,
            balance=settled.ending_balance or 0,
            currency=invoice.currency,
            next_invoice_sequence=sequence + 1,
        )
    )
    finalized = attrs.evolve(
        settled,
        status="open",
        number=f"{short(customer.customer_id)}-{sequence:04}",
        finalized_at=at,
        finalizes_at=None,
        due_at=_due_at(account, invoice, at),
    )
    if finalized.amount_due > 0:
        finalized = attrs.evolve(finalized, payment_id=_new_intent(account, finalized).payment_id)
    account.put(finalized)
    account.emit("invoice.finalized", finalized)
    if finalized.collection_method == "send_invoice" and finalized.amount_due > 0:
        account.emit("invoice.sent", finalized)
    return finalized if finalized.amount_due > 0 else mark_paid(account, finalized)


def with_balance(account: Account, invoice: objects.Invoice) -> objects.Invoice:
    """Return an invoice that the customer's balance covers as far as it goes; a negative total adds to it."""
    balance = account.get(objects.Customer, invoice.customer_id).balance
    covered = min(max(invoice.total, 0), max(-balance, 0))
    return attrs.evolve(
        invoice,
        credited=covered,
        starting_balance=balance,
        ending_balance=balance + covered + min(invoice.total, 0),
    )


def mark_paid(account: Account, invoice: objects.Invoice, *, out_of_band: bool = False) -> objects.Invoice:
    """Settle an invoice, with the events about it."""
    at = now_on(account, invoice.test_clock)
    paid = attrs.evolve(
        invoice,
        status="paid",
        paid_at=at,
        amount_paid=invoice.amount_due,
        next_payment_attempt_at=None,
        auto_advance=False,
        paid_out_of_band=out_of_band,
        attempt_count=invoice.attempt_count + (invoice.amount_due > 0 and not out_of_band),
    )
    account.update(paid)
    payment = payment_of(account, invoice)
    if payment is not None and not out_of_band:
        settled = attrs.evolve(payment, status="paid", amount_paid=invoice.amount_due, paid_at=at)
        account.put(settled)
        account.emit("invoice_payment.paid", settled)
    account.emit("invoice.paid", paid)
    if paid.amount_paid > 0:
        account.emit("invoice.payment_succeeded", paid)
    return paid


def void(account: Account, invoice: objects.Invoice) -> objects.Invoice:
    """Void a finalized invoice; its payment is canceled."""
    at = now_on(account, invoice.test_clock)
    voided = attrs.evolve(
        invoice, status="void", voided_at=at, next_payment_attempt_at=None, auto_advance=False, finalizes_at=None
    )
    account.put(voided)
    cancel_payment(account, voided)
    account.emit("invoice.voided", voided)
    return voided


def mark_uncollectible(account: Account, invoice: objects.Invoice) -> objects.Invoice:
    """Write an open invoice off; it may still be paid."""
    at = now_on(account, invoice.test_clock)
    written_off = attrs.evolve(
        invoice,
        status="uncollectible",
        marked_uncollectible_at=at,
        next_payment_attempt_at=None,
        auto_advance=False,
    )
    account.put(written_off)
    account.emit("invoice.marked_uncollectible", written_off)
    return written_off


def stop_collecting(account: Account, invoice: objects.Invoice) -> objects.Invoice:
    """Leave an invoice as it is from now on."""
    return account.update(attrs.evolve(invoice, auto_advance=False, next_payment_attempt_at=None, finalizes_at=None))


def payment_of(account: Account, invoice: objects.Invoice) -> objects.InvoicePayment | None:
    """Return the payment of a finalized invoice that is not canceled."""
    for payment in account.all(objects.InvoicePayment):
        if payment.invoice_id == invoice.invoice_id and payment.status != "canceled":
            return payment
    return None


def cancel_payment(account: Account, invoice: objects.Invoice) -> None:
    """Cancel the open payment of an invoice."""
    at = now_on(account, invoice.test_clock)
    payment = payment_of(account, invoice)
    if payment is not None and payment.status == "open":
        account.put(attrs.evolve(payment, status="canceled", canceled_at=at))
    intent = account.find(objects.PaymentIntent, invoice.payment_id)
    if intent is not None and intent.status not in ("succeeded", "canceled"):
        account.update(attrs.evolve(intent, status="canceled", canceled_at=at), "payment_intent.canceled")


def _new_intent(account: Account, invoice: objects.Invoice) -> objects.PaymentIntent:
    at = now_on(account, invoice.test_clock)
    intent = objects.PaymentIntent(
        payment_id=account.new_id("pi"),
        customer_id=invoice.customer_id,
        created_at=at,
        amount=invoice.amount_due,
        currency=invoice.currency,
        invoice_id=invoice.invoice_id,
        description="Subscription update"
        if invoice.billing_reason == "subscription_update"
        else "Subscription creation",
    )
    account.create(intent)
    account.put(
        objects.InvoicePayment(
            invoice_payment_id=account.new_id("inpay"),
            invoice_id=invoice.invoice_id or "",
            payment_id=intent.payment_id,
            amount_paid=0,
            amount_requested=invoice.amount_due,
            created_at=at,
            currency=invoice.currency,
            status="open",
        )
    )
    return intent


def _due_at(account: Account, invoice: objects.Invoice, at: datetime) -> datetime | None:
    if invoice.collection_method != "send_invoice":
        return None
    subscription = account.find(objects.Subscription, invoice.subscription_id)
    days = None if subscription is None else subscription.days_until_due
    return invoice.due_at or at + timedelta(days=30 if days is None else days)


def _no_price(item: objects.InvoiceItem) -> objects.Price:
    """Return a price for an item that names only an amount."""
    return objects.Price(
        price_id=derived("price", item.invoice_item_id),
        product_id=derived("prod", item.invoice_item_id),
        unit_amount=item.amount,
        currency=item.currency,
        recurring=False,
    )
