"""Select everything that belongs to a customer or a subscription: an operator moves or removes it as a whole.

Events and records that name no customer are found through the objects they name, so the selection grows from the
customer or the subscription until nothing is added. Pure.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import attrs

from billing_core.events import EventKey, Translation
from billing_core.model import (
    CustomerId,
    CustomerSnapshot,
    EntitlementsSnapshot,
    EventId,
    InvoiceId,
    ProvisionalView,
    RecordSnapshot,
    SubscriptionId,
    TenantRecord,
    Tracked,
)
from billing_core.state.ports import Holdings, TenantEvent
from billing_core.state.shared_customers import deciding_ids

_REFERENCES: Final = ("subscription_id", "invoice_id", "payment_id", "charge_id")
Translations = Mapping[EventKey, Translation]
"""Events that were read again, by their keys."""


@attrs.frozen(kw_only=True)
class Selection:
    """The part of a tenant's holdings that a decision is about."""

    objects: Sequence[Tracked]
    customers: frozenset[CustomerId]
    subscriptions: frozenset[SubscriptionId]
    invoices: frozenset[InvoiceId]
    records: frozenset[str]
    events: Sequence[TenantEvent]
    views: frozenset[str] = frozenset()
    """The ids of subscriptions and invoices with a provisional view; some of them have no row yet."""
    unclear: Sequence[TenantEvent] = ()
    """Events that may belong to it or not: their bodies are gone."""

    @property
    def object_ids(self) -> frozenset[str]:
        """The ids of all objects, the customer's included."""
        return self.views.union(each.object_id for each in self.objects)

    @property
    def event_ids(self) -> frozenset[EventId]:
        """The provider's ids of the events."""
        return frozenset(event.key.event_id for event in self.events)


class Selector:
    """Selects from the holdings of one tenant."""

    def __init__(self, holdings: Holdings, *, shared: bool, views: Collection[ProvisionalView] = ()) -> None:
        """`shared`: whether one customer may pay for several tenants. `views` are those of the same tenant."""
        self._holdings = holdings
        self._views = views
        self._shared = shared
        self._ties: Sequence[frozenset[str]] = ()
        """Ids that records and events name together: what one of them belongs to, all do."""

    def unread(self, object_id: str) -> Sequence[TenantEvent]:
        """Return the events that have to be read again: their rows do not say what they are about."""
        return [event for event in self._holdings.events if event.body_kept and self._may_concern(event, object_id)]

    def select(self, object_id: str, read: Translations) -> Selection:
        """Return everything that belongs to a customer, or to a subscription where these name their tenants."""
        self._ties = [*map(_named_by, self._holdings.records), *map(_named_in, read.values())]
        if any(each.object_id == object_id for each in self._holdings.subscriptions):
            return self._of_subscription(SubscriptionId(object_id), read)
        return self._of_customer(CustomerId(object_id), read)

    def _may_concern(self, event: TenantEvent, object_id: str) -> bool:
        if event.customer_id is None or not self._shared:
            return event.customer_id is None
        return event.customer_id == object_id or any(
            each.object_id == object_id and each.snapshot.customer_id == event.customer_id
            for each in self._holdings.subscriptions
        )

    # --- a customer ---------------------------------------------------------------------------------------------

    def _of_customer(self, customer_id: CustomerId, read: Translations) -> Selection:
        """Select a customer with everything it pays for; where it is shared, what is known of the customer alone."""
        held = self._holdings
        theirs = {event.key.event_id for event in held.events if event.customer_id == customer_id}
        others = self._of_subscriptions(customer_id) if self._shared else frozenset[str]()
        names: set[str] = {customer_id}
        if not self._shared:
            names |= {each.object_id for each in held.subscriptions if each.snapshot.customer_id == customer_id}
        for invoice in held.invoices:
            seen = invoice.snapshot
            if invoice.object_id not in others and (seen.customer_id == customer_id or seen.subscription_id in names):
                names.add(invoice.object_id)
        seeds = {
            record.object_id
            for record in held.records
            if record.object_id not in others
            and (_is_of(record.snapshot, customer_id) or not theirs.isdisjoint(record.provenance.event_ids))
        }
        names = self._grown(names | seeds)
        alone = not self._shared and [each.customer_id for each in held.customers] == [customer_id]
        return self._selection(names, read, customer_id=customer_id, others=others, everything=alone)

    def _of_subscriptions(self, customer_id: CustomerId) -> frozenset[str]:
        """Return the names of what belongs to the subscriptions of a shared customer."""
        held = self._holdings
        names = {each.object_id for each in held.subscriptions if each.snapshot.customer_id == customer_id}
        for invoice in held.invoices:
            if invoice.snapshot.subscription_id is not None:
                names |= {invoice.snapshot.subscription_id, invoice.object_id}
        return frozenset(self._grown(names))

    # --- a subscription -----------------------------------------------------------------------------------------

    def _of_subscription(self, subscription_id: SubscriptionId, read: Translations) -> Selection:
        names: set[str] = {subscription_id}
        names |= {
            each.object_id for each in self._holdings.invoices if each.snapshot.subscription_id == subscription_id
        }
        return self._selection(self._grown(names), read)

    # --- both ---------------------------------------------------------------------------------------------------

    def _grown(self, names: Collection[str]) -> set[str]:
        """Return the names with everything that is named together with one of them, and so on."""
        grown, waiting = set(names), list(self._ties)
        while found := [tie for tie in waiting if not grown.isdisjoint(tie)]:
            grown.update(*found)
            waiting = [tie for tie in waiting if not grown >= tie]
        return grown

    def _selection(
        self,
        names: Collection[str],
        read: Translations,
        *,
        customer_id: CustomerId | None = None,
        others: Collection[str] = (),
        everything: bool = False,
    ) -> Selection:
        held = self._holdings
        everyone: list[Tracked] = [*held.customers, *held.subscriptions, *held.invoices, *held.records]
        objects = [each for each in everyone if everything or each.object_id in names]
        rests_on = {id_ for each in objects if each.provenance for id_ in each.provenance.event_ids}
        events, unclear = [], []
        for event in held.events:
            own = event.customer_id == customer_id and not self._shared
            about = None if (found := read.get(event.key)) is None else _named_in(found)
            if everything or own or event.key.event_id in rests_on:
                events.append(event)
            elif about is not None:
                unnamed = customer_id is not None and event.customer_id == customer_id and about.isdisjoint(others)
                if unnamed or not about.isdisjoint(names):
                    events.append(event)
            elif not event.body_kept and (event.customer_id is None or self._shared):
                unclear.append(event)
        chosen = {each.object_id for each in objects}
        payer = None if self._shared else customer_id
        return Selection(
            objects=objects,
            customers=frozenset(each.customer_id for each in held.customers if each.object_id in chosen),
            subscriptions=frozenset(
                each.snapshot.subscription_id for each in held.subscriptions if each.object_id in chosen
            ),
            invoices=frozenset(each.snapshot.invoice_id for each in held.invoices if each.object_id in chosen),
            records=frozenset(each.object_id for each in held.records if each.object_id in chosen),
            events=events,
            views=frozenset(
                view.object_id for view in self._views if everything or not _shown_by(view, payer).isdisjoint(names)
            ),
            unclear=unclear,
        )


def _is_of(seen: RecordSnapshot, customer_id: CustomerId) -> bool:
    return isinstance(seen, EntitlementsSnapshot) and seen.customer_id == customer_id


def _shown_by(view: ProvisionalView, payer: CustomerId | None) -> set[str | None]:
    """Return the ids of a view's object and of what that belongs to: its subscription, and the customer that pays."""
    if view.snapshot is None:
        return {view.object_id}
    customer_id = view.snapshot.customer_id
    return {view.object_id, view.snapshot.subscription_id, customer_id if customer_id == payer else view.object_id}


def _named_by(record: TenantRecord) -> frozenset[str]:
    """Return the ids of a record and of the objects it belongs to."""
    named = (getattr(record.snapshot, name, None) for name in _REFERENCES)
    return frozenset((record.object_id, record.named_as, *(id_ for id_ in named if id_ is not None)))


def _named_in(translation: Translation) -> frozenset[str]:
    """Return the ids of the objects that an event shows, and of those it belongs to; without its customer."""
    shown = (seen.object_id for seen in translation.snapshots if not isinstance(seen, CustomerSnapshot))
    return frozenset((*deciding_ids(translation), *shown))
