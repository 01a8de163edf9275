"""Checkout sessions: where a customer and a tenant meet for the first time."""

from billing_core.events import Translation
from billing_stripe.translate.reading import Reader
from billing_stripe.translate.reasons import NO_CUSTOMER, UNFINISHED_CHECKOUT


def read_completed_checkout(seen: Reader) -> Translation:
    """Whose customer somebody became. What they bought arrives with its own events, and so does whether they paid.

    Metadata is set by the server that opens the session; `client_reference_id` can be set in a payment link's address
    by whoever follows it, so it speaks only where metadata is silent.
    """
    customer_id = seen.customer()
    if customer_id is None:
        return Translation(ignored=NO_CUSTOMER)
    hint = seen.tenant_in_metadata() or seen.tenant("client_reference_id")
    return Translation(customer_id=customer_id, tenant_hint=hint)


def read_failed_checkout(_: Reader) -> Translation:
    """Nothing came of the session: no state here waits for one."""
    return Translation(ignored=UNFINISHED_CHECKOUT)


def read_checkout(seen: Reader) -> Translation:
    """A session in whatever state: before it is completed nobody has become anybody's customer."""
    return read_completed_checkout(seen) if seen.word("status") == "complete" else read_failed_checkout(seen)
