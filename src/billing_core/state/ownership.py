"""Decide which tenant an event belongs to: by links and stored objects, else by the tenant that its metadata names.

Metadata may make a link where there is none; it never moves one. Where an operator has decided, it counts for nothing.
"""

from collections.abc import Collection, Iterable, Mapping

import attrs

from billing_core.errors import TenantConflictError
from billing_core.events import Disposition, Outcome, Translation
from billing_core.model import (
    UNDECIDED,
    CustomerId,
    LinkStanding,
    TenantCustomer,
    TenantId,
    payment_object_id,
)
from billing_core.state.reading import ClaimedEvent
from billing_core.state.shelf import Shelves


class Ownership:
    """The tenants of a batch's events, as stored and as linked while the batch is folded."""

    def __init__(
        self,
        *,
        shelves: Shelves,
        owners: Mapping[str, TenantId],
        decided: Mapping[str, LinkStanding],
        locked: Collection[TenantId],
    ) -> None:
        """Take over what a ledger holds.

        Args:
            shelves: the loaded objects; links are kept with the customers.
            owners: the tenants of objects that events name in place of a customer.
            decided: what operators decided about customers and subscriptions whose events name a new or another tenant.
            locked: the tenants that the batch may write to.
        """
        self._customers = shelves.customers
        self._records = shelves.records
        self._shelves = shelves
        self._owners = owners
        self._decided = decided
        self._locked = locked
        self._links: dict[int, CustomerId] = {}

    def made_link(self, event: ClaimedEvent) -> bool:
        """Tell whether this event linked its customer to a tenant."""
        return event.claim.dispatch_id in self._links

    def link_customers(self, batch: Iterable[ClaimedEvent]) -> None:
        """Link each customer without a tenant to the tenant of the first event that contradicts nothing we know."""
        for event in batch:
            customer_id = event.translation.customer_id
            named = None if customer_id is None else self._named_tenant(event.translation, customer_id)
            if customer_id is None or named is None:
                continue
            customer = self.customer(customer_id)
            if customer.tenant_id is None and self._contradiction(named, event.translation) is None:
                self._customers.keep(attrs.evolve(customer, tenant_id=named))
                self._links[event.claim.dispatch_id] = customer_id

    def customer(self, customer_id: CustomerId) -> TenantCustomer:
        """Return a customer that the batch names: all of them were loaded, unknown ones without a tenant."""
        customer = self._customers.get(customer_id)
        if customer is None:
            raise LookupError(f"{customer_id} was not loaded")
        return customer

    def owner_of(self, event: ClaimedEvent) -> TenantId | Outcome:
        """Return the tenant of an event that names a customer or objects; else the outcome it ends with."""
        customer_id = event.translation.customer_id
        found = self._by_objects(event) if customer_id is None else self._by_customer(event, customer_id)
        if isinstance(found, Outcome):
            return found
        contradiction = self._contradiction(found, event.translation)
        return found if contradiction is None else Outcome.dead(event.claim, contradiction, customer_id=customer_id)

    def _by_customer(self, event: ClaimedEvent, customer_id: CustomerId) -> TenantId | Outcome:
        tenant_id = self.customer(customer_id).tenant_id or self._named_tenant(event.translation, customer_id)
        if tenant_id is not None:
            return tenant_id
        return self._parked_on_customer(event, customer_id)

    def _by_objects(self, event: ClaimedEvent) -> TenantId | Outcome:
        about = event.translation.about
        owners = {id_: owner for id_ in about if (owner := self._owner(id_)) is not None}
        if not owners:
            return self._parked_on_objects(event, about)
        if len(set(owners.values())) > 1:
            return Outcome.dead(event.claim, TenantConflictError(f"{', '.join(owners)} belong to different tenants"))
        return next(iter(owners.values()))

    def _parked_on_customer(
        self, event: ClaimedEvent, customer_id: CustomerId, *, waits_for: tuple[str, ...] = ()
    ) -> Outcome:
        refused = event.translation.refused_hint or self._refusal(event.translation)
        return Outcome(
            claim=event.claim,
            disposition=Disposition.PARKED,
            reason="unmapped_customer" if refused is None else "refused_tenant_id",
            error=refused,
            parked_on=customer_id,
            waits_for=waits_for,
            customer_id=customer_id,
        )

    def _parked_on_objects(self, event: ClaimedEvent, about: tuple[str, ...]) -> Outcome:
        refused = self._refusal(event.translation)
        return Outcome(
            claim=event.claim,
            disposition=Disposition.PARKED,
            reason="unmapped_object" if refused is None else "refused_tenant_id",
            error=refused,
            parked_on=about[0],
            waits_for=about,
            customer_id=event.translation.customer_id,
        )

    def _owner(self, id_: str) -> TenantId | None:
        """Return the tenant that owns an object; None if it is unknown or that tenant is not locked."""
        if id_ in self._owners:
            return self._owners[id_]
        found = (shelf.get(id_) for shelf in self._shelves.all)
        held = next((each for each in found if each is not None), None) or self._records.get(payment_object_id(id_))
        return held.tenant_id if held is not None and held.tenant_id in self._locked else None

    def _contradiction(self, tenant_id: TenantId, translation: Translation) -> TenantConflictError | None:
        """Return why an event cannot be the tenant's: metadata moves no link, and no object changes its tenant."""
        hint = translation.tenant_hint
        if hint is not None and hint != tenant_id and not self._is_outdated(translation, hint):
            return TenantConflictError(
                f"{translation.customer_id or translation.about[0]} belongs to {tenant_id!r}, the event names {hint!r}"
            )
        for snapshot in translation.snapshots:
            known = self._shelves.known(snapshot)
            if known is not None and known.tenant_id not in (None, tenant_id):
                return TenantConflictError(f"{snapshot.object_id} belongs to {known.tenant_id!r}, not to {tenant_id!r}")
        return None

    # --- metadata beside decisions ------------------------------------------------------------------------------

    def _subject(self, translation: Translation) -> str | None:
        """Return the id of the object whose tenant the metadata of an event names."""
        return translation.customer_id

    def _standing(self, id_: str | None) -> LinkStanding:
        return UNDECIDED if id_ is None else self._decided.get(id_, UNDECIDED)

    def _named_tenant(self, translation: Translation, id_: str) -> TenantId | None:
        """Return the tenant that an object without one gets: an operator's choice, else the one its metadata names."""
        standing, hint = self._standing(id_), translation.tenant_hint
        return standing.tenant_id or (None if hint is None or standing.outranks(hint) else hint)

    def _is_outdated(self, translation: Translation, hint: TenantId) -> bool:
        """Tell whether an operator's decision outranks the metadata of an event."""
        return self._standing(self._subject(translation)).outranks(hint)

    def _refusal(self, translation: Translation) -> str | None:
        """Return the text for operators about metadata that names a tenant which an operator refused."""
        hint = translation.tenant_hint
        if hint is None or not self._is_outdated(translation, hint):
            return None
        return f"An operator unlinked {self._subject(translation)} from the tenant {hint!a} that its metadata names."
