"""Payments: attempts to charge a payment method, and the intents that hold their outcome."""

from collections.abc import Mapping
from typing import Any

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing.cards import CARDS, message_of
from billing_stripe.testing.fake_stripe.billing.disputes import open_dispute
from billing_stripe.testing.fake_stripe.billing.times import now_on
from billing_stripe.testing.fake_stripe.errors import refused


def outcome(method: objects.PaymentMethod | None) -> str:
    """Return the status that a payment intent has after an attempt with this payment method."""
    if method is None:
        return "requires_payment_method"
    card = CARDS[method.test_card]
    if card.authentication == "always" or (card.authentication == "unless_set_up" and not method.set_up):
        return "requires_action"
    return "succeeded" if card.decline_code is None else "requires_payment_method"


def attempt(
    account: Account, intent: objects.PaymentIntent, method: objects.PaymentMethod, *, authenticated: bool = False
) -> objects.PaymentIntent:
    """Try to collect an intent. Returns it as it is afterwards, with the events about it.

    Args:
        account: of both.
        intent: what to collect.
        method: what to charge.
        authenticated: whether the customer has confirmed this payment.
    """
    status = outcome(method)
    card = CARDS[method.test_card]
    if authenticated and status == "requires_action":
        status = "succeeded" if card.decline_code is None else "requires_payment_method"
    tried = attrs.evolve(intent, status=status, payment_method_id=method.payment_method_id, error=None)
    if status == "requires_action":
        account.put(tried)
        account.emit("payment_intent.requires_action", tried)
        return tried
    charge = _charge(account, tried, failed=status != "succeeded")
    account.put(charge)
    if status == "succeeded":
        paid = attrs.evolve(tried, amount_received=tried.amount, latest_charge_id=charge.charge_id)
        account.put(paid)
        account.emit("charge.succeeded", charge)
        account.emit("payment_intent.succeeded", paid)
        if card.dispute is not None:
            open_dispute(account, charge, card.dispute)
        return paid
    failed = attrs.evolve(tried, latest_charge_id=charge.charge_id, error=_error(account, charge, method))
    account.put(failed)
    account.emit("charge.failed", charge)
    account.emit("payment_intent.payment_failed", failed)
    return failed


def method_of(account: Account, *candidates: str | None) -> objects.PaymentMethod | None:
    """Return the first payment method of these that exists."""
    for candidate in candidates:
        found = account.find(objects.PaymentMethod, candidate)
        if found is not None:
            return found
    return None


def resolve_method(account: Account, given: str, customer_id: str, param: str) -> objects.PaymentMethod:
    """Return the customer's payment method with this id.

    Raises: StripeError if it does not exist, or belongs to another customer or to none.
    """
    method = account.get(objects.PaymentMethod, given, param)
    if method.customer_id != customer_id:
        raise refused(
            f"The customer does not have a payment method with the ID {given}. The payment method must be attached to "
            "the customer.",
            param=param,
            code="resource_missing",
        )
    return method


def _charge(account: Account, intent: objects.PaymentIntent, *, failed: bool) -> objects.Charge:
    method = account.get(objects.PaymentMethod, intent.payment_method_id or "")
    card = CARDS[method.test_card]
    customer = account.find(objects.Customer, intent.customer_id)
    return objects.Charge(
        charge_id=account.new_id("ch"),
        payment_id=intent.payment_id,
        customer_id=intent.customer_id,
        created_at=now_on(account, None if customer is None else customer.test_clock),
        amount=intent.amount,
        currency=intent.currency,
        invoice_id=intent.invoice_id,
        payment_method_id=method.payment_method_id,
        status="failed" if failed else "succeeded",
        failure_code=card.code if failed else None,
        failure_message=message_of(card.decline_code) if failed else None,
    )


def _error(account: Account, charge: objects.Charge, method: objects.PaymentMethod) -> Mapping[str, Any]:
    card = CARDS[method.test_card]
    return {
        "charge": charge.charge_id,
        "code": card.code,
        **({"decline_code": card.decline_code} if card.code == "card_declined" else {}),
        "doc_url": f"https://stripe.com/docs/error-codes/{card.code.replace('_', '-')}",
        "message": message_of(card.decline_code),
        "payment_method": account.show(method, account.api_version),
        "type": "card_error",
    }
