"""Decide which tenant an event belongs to where one customer may pay for several tenants.

Each subscription names its own tenant. Invoices, payments and what is given back of them follow their subscription;
what is known of the customer alone belongs to the customer's own tenant, if it has one.
"""

from collections.abc import Collection, Iterable
from typing import Any, Final

from billing_core.errors import TenantConflictError
from billing_core.events import Disposition, Outcome, Translation
from billing_core.model import (
    ChargeSnapshot,
    CreditNoteSnapshot,
    CustomerId,
    CustomerSnapshot,
    DisputeSnapshot,
    EntitlementsSnapshot,
    InvoiceSnapshot,
    PaymentSnapshot,
    RefundSnapshot,
    ScheduleSnapshot,
    Snapshot,
    SubscriptionId,
    SubscriptionSnapshot,
    TenantId,
)
from billing_core.state.ownership import Ownership
from billing_core.state.reading import ClaimedEvent

SHARED_CUSTOMER: Final = "shared_customer"
"""The reason to ignore what belongs to a customer that has no tenant of its own."""


def followed_by(translation: Translation) -> tuple[str, ...]:
    """Return the ids of the objects whose tenant an event belongs to; none if it is about its customer alone."""
    shown = (id_ for snapshot in translation.snapshots for id_ in _followed(snapshot))
    return tuple(dict.fromkeys([*translation.about, *(id_ for id_ in shown if id_ is not None)]))


def objects_of(events: Iterable[ClaimedEvent]) -> set[str]:
    """Return the ids under which the objects are stored that decide on the tenants of these events."""
    return {id_ for event in events for id_ in deciding_ids(event.translation)}


def names_new_owner(translation: Translation, known: Collection[str]) -> bool:
    """Return whether the metadata of an event may give a customer, or a subscription that is not known, its tenant."""
    subscription_id = described_subscription(translation)
    return _shows_customer(translation) or (subscription_id is not None and subscription_id not in known)


def described_subscription(translation: Translation) -> SubscriptionId | None:
    """Return the subscription whose metadata an event carries, if it carries any."""
    for snapshot in translation.snapshots:
        if isinstance(snapshot, SubscriptionSnapshot | InvoiceSnapshot):
            return snapshot.subscription_id
    return None


def subject_of(translation: Translation) -> str | None:
    """Return the id of the object whose tenant the metadata of an event names: the customer's or a subscription's."""
    if _shows_customer(translation):
        return translation.customer_id
    return described_subscription(translation) or next(iter(translation.about), None)


def _followed(snapshot: Snapshot) -> tuple[str | None, ...]:
    match snapshot:
        case SubscriptionSnapshot() | InvoiceSnapshot() | ScheduleSnapshot():
            return (snapshot.subscription_id,)
        case PaymentSnapshot() | CreditNoteSnapshot():
            return (snapshot.invoice_id,)
        case ChargeSnapshot():
            return (snapshot.invoice_id or snapshot.payment_id,)
        case RefundSnapshot() | DisputeSnapshot():
            return snapshot.payment_id, snapshot.charge_id
        case _:
            return ()


def deciding_ids(translation: Translation) -> tuple[str, ...]:
    """Return the ids of the objects that an event follows or shows: an object stays with its tenant."""
    shown = (
        snapshot.payment_id if isinstance(snapshot, PaymentSnapshot) else snapshot.object_id
        for snapshot in translation.snapshots
        if not isinstance(snapshot, CustomerSnapshot)
    )
    return (*followed_by(translation), *shown)


class OwnershipBySubscription(Ownership):
    """The tenants of a batch's events, where a subscription's own metadata names its tenant."""

    def __init__(self, **held: Any) -> None:
        """Take over what a ledger holds, see `Ownership`."""
        super().__init__(**held)
        self._named: dict[str, TenantId] = {}
        """The tenants that events of the batch name for subscriptions that are still unknown."""

    def link_customers(self, batch: Iterable[ClaimedEvent]) -> None:
        """Link customers that name their own tenant, and note the tenants of subscriptions that are still unknown."""
        batch = list(batch)
        super().link_customers(each for each in batch if _shows_customer(each.translation))
        for event in batch:
            subscription_id = described_subscription(event.translation)
            if subscription_id is None or self._owner(subscription_id) is not None:
                continue
            named = self._named_tenant(event.translation, subscription_id)
            if named is not None and self._contradiction(named, event.translation) is None:
                self._named[subscription_id] = named

    def _subject(self, translation: Translation) -> str | None:
        return subject_of(translation)

    def _owner(self, id_: str) -> TenantId | None:
        return super()._owner(id_) or self._named.get(id_)

    def _contradiction(self, tenant_id: TenantId, translation: Translation) -> TenantConflictError | None:
        """Return why an event cannot be the tenant's. The hint of one that shows nothing is about something else."""
        if not translation.snapshots and not followed_by(translation):
            return None
        return super()._contradiction(tenant_id, translation)

    def _by_customer(self, event: ClaimedEvent, customer_id: CustomerId) -> TenantId | Outcome:
        translation = event.translation
        if any(isinstance(seen, EntitlementsSnapshot) for seen in translation.snapshots):
            # They name features of the payer, not of the subscription that grants them.
            return Outcome(claim=event.claim, disposition=Disposition.IGNORED, reason=SHARED_CUSTOMER)
        owners = {owner for id_ in deciding_ids(translation) if (owner := self._owner(id_)) is not None}
        if len(owners) > 1:
            return Outcome.dead(event.claim, TenantConflictError(f"{event.event_id} concerns several tenants"))
        if owners:
            return owners.pop()
        own = self.customer(customer_id).tenant_id
        followed = followed_by(translation)
        falls_back = not followed or (_shows_subscription(translation) and not self._was_unlinked(translation))
        if own is not None and falls_back:
            return own
        return self._waiting(event, customer_id, followed)

    def _was_unlinked(self, translation: Translation) -> bool:
        """Tell whether an operator took the subscription of an event away from a tenant: it then waits for another."""
        return bool(self._standing(self._subject(translation)).refused)

    def _waiting(self, event: ClaimedEvent, customer_id: CustomerId, followed: tuple[str, ...]) -> Outcome:
        """Return the outcome of an event whose tenant is not known yet, or never."""
        if not followed:
            return Outcome(
                claim=event.claim,
                disposition=Disposition.IGNORED,
                reason=SHARED_CUSTOMER,
                parked_on=customer_id,
                customer_id=customer_id,
            )
        if _shows_subscription(event.translation) and self.customer(customer_id).tenant_id is None:
            return self._parked_on_customer(event, customer_id, waits_for=followed)
        return self._parked_on_objects(event, followed)  # a customer with a tenant would make it due at once


def _shows_customer(translation: Translation) -> bool:
    return any(isinstance(seen, CustomerSnapshot) for seen in translation.snapshots)


def _shows_subscription(translation: Translation) -> bool:
    return any(isinstance(seen, SubscriptionSnapshot) for seen in translation.snapshots)
