"""Checkout sessions: how they are completed, and how they end without that."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account, Task
from billing_stripe.testing.fake_stripe.billing import collection, setups
from billing_stripe.testing.fake_stripe.billing.attachment import attach_to, existing
from billing_stripe.testing.fake_stripe.billing.cards import CARDS, declined
from billing_stripe.testing.fake_stripe.billing.payments import attempt
from billing_stripe.testing.fake_stripe.billing.starting import start
from billing_stripe.testing.fake_stripe.errors import refused

SETTLES_AFTER: Final = timedelta(minutes=3)
"""Time until the bank confirms or refuses a debit for tests."""


def complete(
    account: Account, session: objects.CheckoutSession, method_name: str | None, *, email: str | None = None
) -> objects.CheckoutSession:
    """Do what a session is for, as when the customer submits its page and authenticates where the bank asks for it.

    Args:
        account: of the session.
        session: an open one.
        method_name: a payment method's id, or the name of one for tests; None where nothing has to be paid.
        email: entered on the page, for a session without a customer.

    Raises: StripeError if the payment is declined; nothing changes then, and the session stays open.
    """
    if not session.is_open:
        raise refused(f"This Checkout Session has a status of {session.status}.", param="session")
    if method_name is None and needs_method(session):
        raise refused("A payment method is required.", param="payment_method")
    session = attrs.evolve(session, customer_email=email or session.customer_email)
    match session.mode:
        case "subscription":
            done = _subscribe(account, session, method_name)
        case "setup":
            done = _set_up(account, session, method_name or "")
        case _:
            done = _pay(account, session, method_name or "")
    completed = attrs.evolve(done, status="complete")
    account.put(completed)
    account.emit("checkout.session.completed", completed)
    return completed


def expire(account: Account, session: objects.CheckoutSession) -> objects.CheckoutSession:
    """End an open session; nothing comes of it."""
    expired = attrs.evolve(session, status="expired")
    account.put(expired)
    account.emit("checkout.session.expired", expired)
    return expired


def needs_method(session: objects.CheckoutSession) -> bool:
    """Return whether a session cannot be completed without a payment method."""
    return session.payment_method_collection != "if_required" or session.amount_total > 0


def tasks(account: Account, session: objects.CheckoutSession) -> Iterator[Task]:
    """Yield the future work for a session: it expires, and its debit is confirmed or refused."""
    work = _Work(account, session.session_id)
    if session.is_open:
        yield Task(session.expires_at, work.expire)
    if session.settles_at is not None:
        yield Task(session.settles_at, work.settle)


def clock_of(account: Account, session: objects.CheckoutSession) -> str | None:
    """Return the test clock of the session's customer."""
    customer = account.find(objects.Customer, session.customer_id)
    return None if customer is None else customer.test_clock


@attrs.frozen
class _Work:
    """The work on one session, which is read when it is done."""

    account: Account
    session_id: str

    @property
    def current(self) -> objects.CheckoutSession:
        return self.account.get(objects.CheckoutSession, self.session_id)

    def expire(self) -> None:
        """Expire it."""
        expire(self.account, self.current)

    def settle(self) -> None:
        """Let the bank decide on its debit."""
        session = attrs.evolve(self.current, settles_at=None)
        intent = self.account.get(objects.PaymentIntent, session.payment_id or "")
        method = self.account.get(objects.PaymentMethod, intent.payment_method_id or "")
        paid = attempt(self.account, intent, method, authenticated=True).status == "succeeded"
        settled = attrs.evolve(session, payment_status="paid" if paid else "unpaid")
        self.account.put(settled)
        self.account.emit(f"checkout.session.async_payment_{'succeeded' if paid else 'failed'}", settled)


def _subscribe(account: Account, session: objects.CheckoutSession, method_name: str | None) -> objects.CheckoutSession:
    customer = _customer(account, session)
    method = None if method_name is None else attach_to(account, method_name, customer.customer_id)
    params = dict(session.subscription)
    flexible = params.pop("flexible")
    if method is not None:
        params["default_payment_method"] = method.payment_method_id
    started = start(
        account,
        customer,
        {**params, "payment_behavior": "default_incomplete"},
        flexible=flexible,
        coupon_id=session.coupon_id,
    )
    invoice = account.get(objects.Invoice, started.latest_invoice_id or "")
    if invoice.status == "open" and method is not None:
        invoice = collection.collect(account, invoice, method, authenticated=True, automatic=False)
        if invoice.status != "paid":
            raise _refusal(method)
    return attrs.evolve(
        session,
        customer_id=customer.customer_id,
        subscription_id=started.subscription_id,
        invoice_id=invoice.invoice_id,
        payment_status="paid" if invoice.amount_paid > 0 else "no_payment_required",
    )


def _set_up(account: Account, session: objects.CheckoutSession, method_name: str) -> objects.CheckoutSession:
    customer = _customer(account, session)
    intent = account.get(objects.SetupIntent, session.setup_intent_id or "")
    intent = attrs.evolve(intent, customer_id=customer.customer_id)
    account.put(intent)
    setups.confirm(account, intent, method_name, authenticated=True)
    return attrs.evolve(session, customer_id=customer.customer_id, payment_status="no_payment_required")


def _pay(account: Account, session: objects.CheckoutSession, method_name: str) -> objects.CheckoutSession:
    method = existing(account, method_name)
    intent = account.create(
        objects.PaymentIntent(
            payment_id=account.new_id("pi"),
            customer_id=session.customer_id,
            created_at=account.now,
            amount=session.amount_total,
            currency=session.currency,
            payment_method_id=method.payment_method_id,
        )
    )
    session = attrs.evolve(session, payment_id=intent.payment_id)
    if method.type == "sepa_debit":
        account.update(attrs.evolve(intent, status="processing"), "payment_intent.processing")
        return attrs.evolve(session, payment_status="unpaid", settles_at=account.now + SETTLES_AFTER)
    if attempt(account, intent, method, authenticated=True).status != "succeeded":
        raise _refusal(method)
    return attrs.evolve(session, payment_status="paid")


def _refusal(method: objects.PaymentMethod) -> Exception:
    """Return the error of a declined payment, which undoes what the session did."""
    error = declined(CARDS[method.test_card])
    error.committed = False
    return error


def _customer(account: Account, session: objects.CheckoutSession) -> objects.Customer:
    """Return the customer of a session, or a new one with the address that was entered."""
    if session.customer_id is not None:
        return account.get(objects.Customer, session.customer_id)
    return account.create(
        objects.Customer(
            customer_id=account.new_id("cus"),
            created_at=account.now,
            email=session.customer_email,
            name=None,
            currency=None,
            default_payment_method_id=None,
        )
    )


def last_possible(created_at: datetime) -> tuple[datetime, datetime]:
    """Return the earliest and the latest time at which a session may expire."""
    return created_at + timedelta(minutes=30), created_at + timedelta(hours=24)
