"""Erase a tenant inside a unit of work, and leave out events that come for it afterwards."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

import attrs

from billing_core.errors import ErasureRefusedError, LinkRefusedError
from billing_core.events import Disposition, Outcome
from billing_core.model import CustomerId, TenantCustomer, TenantId
from billing_core.state.loading import LinksMovedError
from billing_core.state.ports import ERASED, BillingTransaction, Erasure, Holdings
from billing_core.state.reading import ClaimedEvent
from billing_core.state.shared_customers import deciding_ids


@attrs.frozen(kw_only=True)
class ErasedTenant:
    """The result of an erasure, or of its dry run."""

    tenant_id: TenantId
    rows: Mapping[str, int]
    """The number of rows that went, by kind."""


async def erase_tenant(
    transaction: BillingTransaction, tenant_id: TenantId, *, actor: str, reason: str, token_lifetime: timedelta
) -> ErasedTenant:
    """Erase a tenant with everything that belongs to it.

    Args:
        transaction: a unit of work that has locked nothing.
        tenant_id: the tenant.
        actor: who decides, for the audit log.
        reason: why, for the same log.
        token_lifetime: how long a token of the tenant may live; those issued until now are revoked.

    Raises: ErasureRefusedError; LinksMovedError if it has to begin again.
    """
    payers = await transaction.lock_payers(tenant_id)
    locked = await transaction.lock_tenants([tenant_id])
    held = await transaction.holdings(tenant_id)
    if locked.overtaken or not _payers_of(held) <= payers.keys():
        raise LinksMovedError
    if unresolved := await transaction.unresolved_operations(tenant_id):
        raise ErasureRefusedError(
            f"{unresolved} operations of {tenant_id} have no outcome yet. Wait until a worker has settled them, or end "
            "them: `billing gateway pending`."
        )
    own, shared = await _divide(transaction, tenant_id, payers)
    views = (view.object_id for view in locked.views.get(tenant_id, ()))
    named = (id_ for record in held.records for id_ in (record.object_id, record.named_as))
    objects = (
        *(each.object_id for each in held.subscriptions),
        *(each.object_id for each in held.invoices),
    )
    rows = await transaction.erase(
        Erasure(
            tenant_id=tenant_id,
            customers=own,
            shared_customers=shared,
            objects=frozenset((*own, *objects, *named, *views)),
            contacts=_contacts(payers[id_] for id_ in own | shared),
            actor=actor,
            reason=reason,
            token_lifetime=token_lifetime,
        )
    )
    return ErasedTenant(tenant_id=tenant_id, rows=rows)


def _payers_of(held: Holdings) -> set[CustomerId]:
    linked = (each.customer_id for each in held.customers)
    return {*linked, *(each.snapshot.customer_id for each in held.subscriptions)}


async def _divide(
    transaction: BillingTransaction, tenant_id: TenantId, payers: Mapping[CustomerId, TenantCustomer]
) -> tuple[frozenset[CustomerId], frozenset[CustomerId]]:
    """Return the customers that are the tenant's alone, and those linked to it that pay for other tenants, too."""
    own, shared = set(), set()
    for customer_id, customer in payers.items():
        under = (await transaction.tenants_under([customer_id])).get(customer_id, ())
        others = {*under, customer.tenant_id} - {tenant_id, None}
        if not others:
            own.add(customer_id)
        elif customer.tenant_id == tenant_id:
            shared.add(customer_id)
    return frozenset(own), frozenset(shared)


def _contacts(customers: Iterable[TenantCustomer]) -> frozenset[str]:
    seen = [each.snapshot for each in customers if each.snapshot is not None]
    return frozenset(contact for each in seen for contact in (each.name, each.email) if contact)


async def leave_out_erased(
    transaction: BillingTransaction,
    events: Sequence[ClaimedEvent],
    customers: Mapping[CustomerId, TenantCustomer],
    *,
    shared: bool,
) -> tuple[Sequence[ClaimedEvent], Sequence[Outcome]]:
    """Return the events of a batch that go on, and the outcomes of those that name what was erased.

    Only events of unknown customers and objects can. `customers` are the known ones of the batch; where they are
    `shared`, one that has a tenant may have paid for the erased one.
    """
    asked = {event.claim.dispatch_id: _unknown(event, {} if shared else customers) for event in events}
    ids = frozenset[str]().union(*asked.values())
    erased = frozenset(await transaction.erased(ids)) if ids else frozenset[str]()
    if not erased:
        return events, ()
    ended = [event for event in events if not erased.isdisjoint(asked[event.claim.dispatch_id])]
    outcomes = [Outcome(claim=each.claim, disposition=Disposition.IGNORED, reason=ERASED) for each in ended]
    return [each for each in events if each not in ended], outcomes


def _unknown(event: ClaimedEvent, customers: Mapping[CustomerId, TenantCustomer]) -> frozenset[str]:
    """Return the ids of an event by which it may belong to an erased tenant; none if its customer has a tenant."""
    shown = event.translation
    if shown.customer_id is None:
        return frozenset(shown.about)
    customer = customers.get(shown.customer_id)
    if customer is not None and customer.tenant_id is not None:
        return frozenset()
    return frozenset((shown.customer_id, *deciding_ids(shown)))


async def require_not_erased(transaction: BillingTransaction, object_id: str) -> None:
    """Refuse to link what belonged to an erased tenant: its events stay ignored. Raises LinkRefusedError."""
    if await transaction.erased([object_id]):
        raise LinkRefusedError(
            f"{object_id} belonged to a tenant that was erased. Its events are ignored, so it cannot be linked: create "
            "a new customer at Stripe."
        )
