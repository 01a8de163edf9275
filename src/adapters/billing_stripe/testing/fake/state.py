"""What the fake Stripe knows: facts, each under its id."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from billing_stripe.testing import objects
from billing_stripe.testing.thin import ThinEvent

StripeObject = (
    objects.Customer
    | objects.Subscription
    | objects.Invoice
    | objects.CheckoutSession
    | objects.Entitlements
    | ThinEvent
)

F = TypeVar(
    "F",
    objects.Customer,
    objects.Subscription,
    objects.Invoice,
    objects.CheckoutSession,
    objects.Entitlements,
    ThinEvent,
)


class State:
    """The objects of one account. A fact that is put again under the same id takes the place of the earlier one."""

    def __init__(self) -> None:
        self._objects: dict[str, StripeObject] = {}
        self._events: dict[str, Mapping[str, Any]] = {}

    def put(self, fact: StripeObject) -> None:
        """Let an object be, or be like this from now on. Raises ValueError for a preview, which has no id."""
        self._objects[_id(fact)] = fact

    def put_event(self, body: Mapping[str, Any]) -> None:
        """Let an event have happened. It stays in the API version it was made in, as Stripe's do."""
        self._events[body["id"]] = body

    def remove(self, identifier: str) -> None:
        """Let an object or an event be gone without a trace. Raises KeyError when there is none."""
        owner = self._objects if identifier in self._objects else self._events
        del owner[identifier]

    def find(self, kind: type[F], identifier: str) -> F | None:
        """The object of this kind with this id."""
        fact = self._objects.get(identifier)
        return fact if isinstance(fact, kind) else None

    def all(self, kind: type[F]) -> Iterator[F]:
        """Every object of this kind, newest first, as Stripe lists them."""
        return (fact for fact in reversed(self._objects.values()) if isinstance(fact, kind))

    def event(self, identifier: str) -> Mapping[str, Any] | None:
        """The event with this id, as it was put."""
        return self._events.get(identifier)


def _id(fact: StripeObject) -> str:
    match fact:
        case objects.Customer():
            return fact.customer_id
        case objects.Subscription():
            return fact.subscription_id
        case objects.CheckoutSession():
            return fact.session_id
        case objects.Entitlements():
            return f"entitlements:{fact.customer_id}"
        case ThinEvent():
            return fact.event_id
        case objects.Invoice():
            if fact.invoice_id is None:
                raise ValueError("a preview of an invoice cannot be fetched")
            return fact.invoice_id
