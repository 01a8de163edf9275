"""Payment methods of customers."""

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing.cards import CARDS, declined, named
from billing_stripe.testing.fake_stripe.errors import missing, refused


def new_method(account: Account, name: str, param: str) -> objects.PaymentMethod:
    """Store a card that is attached to no customer. Raises StripeError for an unknown name, token or number."""
    known = named(name)
    if known is None:
        raise missing("payment_method", name, param)
    card = CARDS[known]
    method = objects.PaymentMethod(
        payment_method_id=account.new_id("pm"),
        customer_id=None,
        created_at=account.now,
        brand=card.brand,
        last4=card.last4,
        test_card=known,
    )
    account.put(method)
    return method


def attach_to(account: Account, identifier: str, customer_id: str) -> objects.PaymentMethod:
    """Attach a payment method, or a new one of a name for tests, to a customer.

    Raises: StripeError for one that belongs to another customer, that was detached, or that its bank declines.
    """
    customer = account.get(objects.Customer, customer_id, "customer")
    if customer.deleted:
        raise missing("customer", customer_id, "customer")
    method = existing(account, identifier)
    if method.customer_id == customer_id:
        return method
    if method.customer_id is not None:
        raise refused("The payment method you provided has already been attached to a customer.")
    if not CARDS[method.test_card].attaches:
        raise declined(CARDS[method.test_card])
    attached = attrs.evolve(method, customer_id=customer_id)
    account.update(attached, "payment_method.attached")
    return attached


def existing(account: Account, identifier: str) -> objects.PaymentMethod:
    """Return a payment method, or a new one of a name for tests. Raises StripeError for an unknown one."""
    if account.find(objects.PaymentMethod, identifier) is None and named(identifier) is not None:
        return new_method(account, identifier, "id")
    return account.get(objects.PaymentMethod, identifier)
