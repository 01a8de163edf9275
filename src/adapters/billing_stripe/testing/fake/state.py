"""The fake Stripe's objects, by id."""

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
    """The objects and events of one account. An object replaces the earlier one with the same id."""

    def __init__(self) -> None:
        self._objects: dict[str, StripeObject] = {}
        self._events: dict[str, Mapping[str, Any]] = {}

    def put(self, source: StripeObject) -> None:
        """Add or replace an object. Raises ValueError for a preview, which has no id."""
        self._objects[_id(source)] = source

    def put_event(self, body: Mapping[str, Any]) -> None:
        """Add an event. It stays in its API version, as Stripe's do."""
        self._events[body["id"]] = body

    def remove(self, identifier: str) -> None:
        """Remove an object or an event. Raises KeyError if there is none."""
        owner = self._objects if identifier in self._objects else self._events
        del owner[identifier]

    def find(self, kind: type[F], identifier: str) -> F | None:
        """Return the object of this kind with this id, or None."""
        source = self._objects.get(identifier)
        return source if isinstance(source, kind) else None

    def all(self, kind: type[F]) -> Iterator[F]:
        """Iterate over all objects of this kind, newest first, as Stripe lists them."""
        return (source for source in reversed(self._objects.values()) if isinstance(source, kind))

    def event(self, identifier: str) -> Mapping[str, Any] | None:
        """Return the event with this id, as it was added, or None."""
        return self._events.get(identifier)


def _id(source: StripeObject) -> str:
    match source:
        case objects.Customer():
            return source.customer_id
        case objects.Subscription():
            return source.subscription_id
        case objects.CheckoutSession():
            return source.session_id
        case objects.Entitlements():
            return f"entitlements:{source.customer_id}"
        case ThinEvent():
            return source.event_id
        case objects.Invoice():
            if source.invoice_id is None:
                raise ValueError("a preview of an invoice cannot be fetched")
            return source.invoice_id
