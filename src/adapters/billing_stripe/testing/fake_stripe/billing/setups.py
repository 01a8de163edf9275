"""Payment methods set up for later payments."""

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing.attachment import attach_to
from billing_stripe.testing.fake_stripe.billing.cards import CARDS, declined
from billing_stripe.testing.fake_stripe.errors import refused


def confirm(
    account: Account, intent: objects.SetupIntent, method_name: str | None, *, authenticated: bool = False
) -> objects.SetupIntent:
    """Set a payment method up and attach it to the intent's customer. Raises StripeError if its bank declines it."""
    check_open(intent)
    if method_name is None:
        raise refused("You cannot confirm this SetupIntent because it's missing a payment method.")
    if intent.customer_id is None:
        method = account.get(objects.PaymentMethod, method_name, "payment_method")
    else:
        method = attach_to(account, method_name, intent.customer_id)
    card = CARDS[method.test_card]
    if not card.attaches:
        raise declined(card)
    tried = attrs.evolve(intent, payment_method_id=method.payment_method_id)
    if card.authentication != "never" and not authenticated:
        waiting = attrs.evolve(tried, status="requires_action")
        account.put(waiting)
        account.emit("setup_intent.requires_action", waiting)
        return waiting
    account.put(attrs.evolve(method, set_up=True))
    done = attrs.evolve(tried, status="succeeded")
    account.put(done)
    account.emit("setup_intent.succeeded", done)
    for subscription in account.all(objects.Subscription):
        if subscription.pending_setup_intent_id == done.setup_intent_id:
            account.update(
                attrs.evolve(
                    subscription,
                    pending_setup_intent_id=None,
                    default_payment_method_id=method.payment_method_id,
                )
            )
    return done


def check_open(intent: objects.SetupIntent) -> None:
    """Raise StripeError for an intent that is done or canceled."""
    if intent.status in ("succeeded", "canceled"):
        raise refused(
            f"This SetupIntent's status is {intent.status}, so it can no longer be changed.",
            code="setup_intent_unexpected_state",
        )
