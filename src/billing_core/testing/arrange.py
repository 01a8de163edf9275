"""Steps that bring stored events and state into the situation a contract is about."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from billing_core.events import Claim, Disposition, Effect, Outcome, ProviderEvent
from billing_core.inbox.ports import EventInbox, EventQueue
from billing_core.model import BillingRules, CustomerId, TenantId
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.state.rules import RulesBook
from billing_core.state.service import BillingService
from billing_core.testing.builders import ACME, provider_event
from billing_core.testing.scripted import ScriptedProvider
from billing_core.testing.timing import LONG

CUSTOMER = CustomerId("cus_1")


async def claimed(inbox: EventInbox, event: ProviderEvent, lease: timedelta = LONG) -> Claim:
    """Record a new event and claim it."""
    receipt = await inbox.record(event, lease=lease)
    assert receipt.claim is not None
    return receipt.claim


async def due(queue: EventQueue) -> Sequence[str]:
    """Claim every due event and return their ids, sorted."""
    return sorted(claim.event.event_id for claim in await queue.claim(limit=100, lease=LONG))


def applied(claim: Claim, **fields: Any) -> Outcome:
    """Return the outcome of an event that changed something, unless `fields` say otherwise."""
    given = {"disposition": Disposition.APPLIED, "effect": Effect.CHANGED, "tenant_id": ACME, "sequence": 1}
    return Outcome(claim=claim, **{**given, **fields})


def parked(claim: Claim, on: CustomerId = CUSTOMER, **fields: Any) -> Outcome:
    """Return the outcome of an event whose customer has no tenant yet."""
    return Outcome(claim=claim, disposition=Disposition.PARKED, reason="unmapped_customer", parked_on=on, **fields)


def parked_on_objects(claim: Claim, *object_ids: str) -> Outcome:
    """Return the outcome of an event that names objects, all of them still unknown."""
    return Outcome(
        claim=claim,
        disposition=Disposition.PARKED,
        reason="unmapped_object",
        parked_on=object_ids[0],
        waits_for=object_ids,
    )


def service_over(unit_of_work: UnitOfWork) -> BillingService:
    """Return a service with an open catalog that writes through a unit of work."""
    return BillingService(
        unit_of_work=unit_of_work,
        translator=ScriptedProvider(),
        rules=RulesBook(BillingRules()),
    )


async def save(unit_of_work: UnitOfWork, changes: Changes, *, tenants: Collection[TenantId] = (ACME,)) -> None:
    """Write changes as the service does: lock everything first, in the order of locks."""
    async with unit_of_work.transaction() as transaction:
        await transaction.lock_customers([each.customer_id for each in changes.customers])
        await transaction.lock_tenants(tenants)
        if changes.records:
            await transaction.lock_catalog()
        await transaction.save(changes)


async def settle(unit_of_work: UnitOfWork, outcome: Outcome) -> None:
    """Write the outcome of a claimed event."""
    async with unit_of_work.transaction() as transaction:
        assert (await transaction.hold([outcome.claim])).claims == [outcome.claim]
        await transaction.settle([outcome])


async def park(inbox: EventInbox, unit_of_work: UnitOfWork, event_id: str, *, on: CustomerId = CUSTOMER) -> None:
    """Record an event and park it on its customer."""
    claim = await claimed(inbox, provider_event(event_id))
    async with unit_of_work.transaction() as transaction:
        assert (await transaction.hold([claim])).claims == [claim]
        await transaction.lock_customers([on])
        await transaction.settle([parked(claim, on)])


async def park_on_objects(
    inbox: EventInbox, unit_of_work: UnitOfWork, event_id: str, *object_ids: str, saving: Changes | None = None
) -> None:
    """Record an event and park it on the objects it names, in a unit of work that may save something else."""
    claim = await claimed(inbox, provider_event(event_id))
    async with unit_of_work.transaction() as transaction:
        await transaction.hold([claim])
        await transaction.lock_tenants([ACME])
        if saving is not None:
            await transaction.save(saving)
        await transaction.settle([parked_on_objects(claim, *object_ids)])
