"""Shelves of a ledger: the bookkeeping that is the same for every kind of tracked object."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from billing_core.model import (
    CustomerSnapshot,
    InvoiceSnapshot,
    Snapshot,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantCustomer,
    TenantRecord,
    TenantSubscription,
    Tracked,
)

T = TypeVar("T", bound=Tracked)
T_co = TypeVar("T_co", bound=Tracked, covariant=True)


class Objects(Protocol[T_co]):
    """Objects of one kind by id: as they stand, or as tenants see them."""

    def get(self, object_id: str) -> T_co | None:
        """Return an object; None if it is not known."""
        ...

    def all(self) -> Iterable[T_co]:
        """Return every object."""
        ...


class Shelf(Generic[T]):
    """The objects of one kind by object id, and which of them changed since they were loaded."""

    def __init__(self, loaded: Iterable[T]) -> None:
        self._held = {each.object_id: each for each in loaded}
        self._loaded: dict[str, T | None] = {}
        """Each changed object as it was loaded; None if it is new."""

    def get(self, object_id: str) -> T | None:
        """Return an object as it stands; None if it was neither loaded nor added."""
        return self._held.get(object_id)

    def all(self) -> Iterable[T]:
        """Return every object as it stands."""
        return self._held.values()

    def keep(self, after: T) -> bool:
        """Put an object in place of what is held of it. False if the two are equal: then it did not change."""
        object_id = after.object_id
        before = self._held.get(object_id)
        if after == before:
            return False
        self._loaded.setdefault(object_id, before)
        self._held[object_id] = after
        return True

    def changed(self) -> Sequence[T]:
        """Return the changed objects, by id."""
        return [self._held[object_id] for object_id in sorted(self._loaded)]

    def changes(self) -> Sequence[tuple[T | None, T]]:
        """Return each changed object as it was loaded and as it stands."""
        return [(before, self._held[object_id]) for object_id, before in self._loaded.items()]


class Shelves:
    """The shelves of a ledger, one for each kind of tracked object."""

    def __init__(
        self,
        *,
        customers: Iterable[TenantCustomer],
        subscriptions: Iterable[TenantSubscription],
        invoices: Iterable[SubscriptionInvoice],
        records: Iterable[TenantRecord],
    ) -> None:
        self.customers = Shelf(customers)
        self.subscriptions = Shelf(subscriptions)
        self.invoices = Shelf(invoices)
        self.records = Shelf(records)
        self.all: tuple[Shelf[Any], ...] = (self.subscriptions, self.invoices, self.customers, self.records)
        self._by_class: Mapping[type, Shelf[Any]] = {
            SubscriptionSnapshot: self.subscriptions,
            InvoiceSnapshot: self.invoices,
            CustomerSnapshot: self.customers,
        }
        """By class of snapshot; every other class is a record."""

    def known(self, snapshot: Snapshot) -> Tracked | None:
        """Return the object that a snapshot shows, as it stands; None if it is not known."""
        return self._by_class.get(type(snapshot), self.records).get(snapshot.object_id)

    def row(self, object_id: str) -> TenantSubscription | SubscriptionInvoice | None:
        """Return the subscription or the invoice with an id, as it stands; None if it is not known."""
        return self.subscriptions.get(object_id) or self.invoices.get(object_id)

    def changed(self) -> Sequence[Tracked]:
        """Return the changed objects of every kind."""
        return [each for shelf in self.all for each in shelf.changed()]

    def changes(self) -> Sequence[tuple[Tracked | None, Tracked]]:
        """Return each changed object of every kind as it was loaded and as it stands."""
        return [change for shelf in self.all for change in shelf.changes()]
