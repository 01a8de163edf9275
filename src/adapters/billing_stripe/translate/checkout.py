"""Checkout sessions, which link a customer to its tenant."""

from typing import Final

from billing_core.events import Translation
from billing_stripe.translate.reading import Reader
from billing_stripe.translate.reasons import NO_CUSTOMER, UNFINISHED_CHECKOUT

_LASTING: Final = frozenset({"subscription", "setup"})
"""Modes of sessions whose `client_reference_id` may name a tenant."""


def read_completed_checkout(seen: Reader) -> Translation:
    """Read the customer that a completed session created or used. Subscription and payment have events of their own.

    Metadata is set by the server that opens the session. `client_reference_id` can be set by any visitor in the address
    of a payment link, so it is used only if the metadata names no tenant, and only where something lasting begins: in a
    one-off payment it is often the number of an order or a cart.
    """
    customer_id = seen.customer()
    if customer_id is None:
        return Translation(ignored=NO_CUSTOMER)
    hint = seen.tenant_in_metadata()
    if hint is None and seen.word("mode") in _LASTING:
        hint = seen.tenant("client_reference_id")
    subscription_id = seen.reference("subscription")
    about = () if subscription_id is None else (subscription_id,)
    return Translation(customer_id=customer_id, about=about, tenant_hint=hint)


def read_failed_checkout(_: Reader) -> Translation:
    """Ignore a session without a result."""
    return Translation(ignored=UNFINISHED_CHECKOUT)


def read_checkout(seen: Reader) -> Translation:
    """Read a session in any state: until it is completed, it links no customer."""
    return read_completed_checkout(seen) if seen.word("status") == "complete" else read_failed_checkout(seen)
