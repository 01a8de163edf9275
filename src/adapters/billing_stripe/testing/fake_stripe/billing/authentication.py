"""The owner of a card, who is asked to confirm a payment or a setup."""

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing import collection, setups
from billing_stripe.testing.fake_stripe.billing.cards import message_of
from billing_stripe.testing.fake_stripe.billing.payments import attempt

_FAILED = {
    "code": "payment_intent_authentication_failure",
    "doc_url": "https://stripe.com/docs/error-codes/payment-intent-authentication-failure",
    "message": "The provided PaymentMethod has failed authentication.",
    "type": "invalid_request_error",
}


def answer(account: Account, intent_id: str, *, succeed: bool) -> None:
    """Confirm or fail an intent that requires action. Raises ValueError for any other."""
    intent = account.find(objects.PaymentIntent, intent_id)
    setup = account.find(objects.SetupIntent, intent_id)
    if intent is not None and intent.status == "requires_action":
        _answer_payment(account, intent, succeed=succeed)
    elif setup is not None and setup.status == "requires_action":
        _answer_setup(account, setup, succeed=succeed)
    else:
        raise ValueError(f"{intent_id} is no intent that requires action")


def _answer_payment(account: Account, intent: objects.PaymentIntent, *, succeed: bool) -> None:
    if not succeed:
        failed = attrs.evolve(intent, status="requires_payment_method", error=_FAILED)
        account.put(failed)
        account.emit("payment_intent.payment_failed", failed)
        return
    method = account.get(objects.PaymentMethod, intent.payment_method_id or "")
    invoice = account.find(objects.Invoice, intent.invoice_id)
    if invoice is None:
        attempt(account, intent, method, authenticated=True)
    else:
        collection.collect(account, invoice, method, authenticated=True, automatic=False)


def _answer_setup(account: Account, intent: objects.SetupIntent, *, succeed: bool) -> None:
    if succeed:
        setups.confirm(account, intent, intent.payment_method_id, authenticated=True)
        return
    error = {**_FAILED, "code": "setup_intent_authentication_failure", "message": message_of(None)}
    failed = attrs.evolve(intent, status="requires_payment_method", error=error)
    account.put(failed)
    account.emit("setup_intent.setup_failed", failed)
