"""The contract of StoredEvents."""

import contextlib

from billing_core.inbox.ports import EventInbox
from billing_core.model import TenantId, TenantOccasion
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.testing.arrange import save
from billing_core.testing.builders import ACME, GLOBEX, message, provider_event
from billing_core.testing.suite import Suite


class StoredEventsContract(Suite):
    """Earlier events and occasions, inside a unit of work.

    A binding provides `unit_of_work` and `inbox`, empty and on the same data.
    """

    async def test_an_event_can_be_read_again_by_its_key(self, inbox: EventInbox, unit_of_work: UnitOfWork) -> None:
        """Deciding a tie takes all its members; an id of another account or mode is another event."""
        sent = [provider_event("evt_1"), provider_event("evt_1", account="acct_1"), provider_event("evt_2")]
        for event in sent:
            await inbox.record(event)
        absent = provider_event("evt_2", livemode=True)
        async with unit_of_work.transaction() as transaction:
            found = await transaction.stored_events([event.key for event in [*sent[1:], absent]])
            assert sorted(found, key=lambda event: event.event_id) == sent[1:]
            assert await transaction.stored_events([]) == []

    async def test_an_occasion_is_kept_for_its_tenant(self, unit_of_work: UnitOfWork) -> None:
        """Whether it was announced or not; the same key of another tenant is another occasion."""
        announced = TenantOccasion(tenant_id=ACME, key="invoice.overdue:in_1:0", sequence=1)
        over = TenantOccasion(tenant_id=GLOBEX, key="invoice.overdue:in_2:0", sequence=None)
        changes = Changes(events=[message()], occasions=[announced, over])
        await save(unit_of_work, changes, tenants=(ACME, GLOBEX))
        keys = {announced.key, over.key, "invoice.overdue:in_3:0"}
        async with unit_of_work.transaction() as transaction:
            found = await transaction.occasions(tenants=[ACME, GLOBEX], keys=keys)
            assert sorted(found) == [(ACME, announced.key), (GLOBEX, over.key)]
            assert list(await transaction.occasions(tenants=[ACME], keys=keys)) == [(ACME, announced.key)]
            assert list(await transaction.occasions(tenants=[ACME], keys=[over.key])) == []

    async def test_occasions_of_many_tenants_are_told_apart(self, unit_of_work: UnitOfWork) -> None:
        """A large batch asks for those of all its tenants at once."""
        tenants = [TenantId(f"tenant_{number:03}") for number in range(100)]
        kept = [TenantOccasion(tenant_id=each, key=f"invoice.overdue:{each}:0", sequence=None) for each in tenants]
        await save(unit_of_work, Changes(occasions=kept), tenants=tenants)
        asked = tenants[10:60]
        keys = [occasion.key for occasion in kept[50:90]]
        async with unit_of_work.transaction() as transaction:
            found = await transaction.occasions(tenants=asked, keys=keys)
        assert sorted(found) == [(occasion.tenant_id, occasion.key) for occasion in kept[50:60]]

    async def test_occasions_are_rolled_back_with_their_message(self, unit_of_work: UnitOfWork) -> None:
        """Else a repeated batch would announce nothing."""
        kept = TenantOccasion(tenant_id=ACME, key="invoice.overdue:in_1:0", sequence=1)
        with contextlib.suppress(LookupError):
            async with unit_of_work.transaction() as transaction:
                await transaction.lock_tenants([ACME])
                await transaction.save(Changes(events=[message()], occasions=[kept]))
                raise LookupError
        async with unit_of_work.transaction() as transaction:
            assert list(await transaction.occasions(tenants=[ACME], keys=[kept.key])) == []
