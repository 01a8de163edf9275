"""What the fake Stripe knows: facts, each under its id."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from billing_stripe.testing import facts
from billing_stripe.testing.thin import ThinEvent

Fact = facts.Customer | facts.Subscription | facts.Invoice | facts.CheckoutSession | facts.Entitlements | ThinEvent

F = TypeVar(
    "F", facts.Customer, facts.Subscription, facts.Invoice, facts.CheckoutSession, facts.Entitlements, ThinEvent
)


class State:
    """The objects of one account. A fact that is put again under the same id takes the place of the earlier one."""

    def __init__(self) -> None:
        self._facts: dict[str, Fact] = {}
        self._events: dict[str, Mapping[str, Any]] = {}

    def put(self, fact: Fact) -> None:
        """Let an object be, or be like this from now on. Raises ValueError for a preview, which has no id."""
        self._facts[_id(fact)] = fact

    def put_event(self, body: Mapping[str, Any]) -> None:
        """Let an event have happened. It stays in the API version it was made in, as Stripe's do."""
        self._events[body["id"]] = body

    def remove(self, identifier: str) -> None:
        """Let an object or an event be gone without a trace. Raises KeyError when there is none."""
        owner = self._facts if identifier in self._facts else self._events
        del owner[identifier]

    def find(self, kind: type[F], identifier: str) -> F | None:
        """The object of this kind with this id."""
        fact = self._facts.get(identifier)
        return fact if isinstance(fact, kind) else None

    def all(self, kind: type[F]) -> Iterator[F]:
        """Every object of this kind, newest first, as Stripe lists them."""
        return (fact for fact in reversed(self._facts.values()) if isinstance(fact, kind))

    def event(self, identifier: str) -> Mapping[str, Any] | None:
        """The event with this id, as it was put."""
        return self._events.get(identifier)


def _id(fact: Fact) -> str:
    match fact:
        case facts.Customer():
            return fact.customer_id
        case facts.Subscription():
            return fact.subscription_id
        case facts.CheckoutSession():
            return fact.session_id
        case facts.Entitlements():
            return f"entitlements:{fact.customer_id}"
        case ThinEvent():
            return fact.event_id
        case facts.Invoice():
            if fact.invoice_id is None:
                raise ValueError("a preview of an invoice cannot be fetched")
            return fact.invoice_id
