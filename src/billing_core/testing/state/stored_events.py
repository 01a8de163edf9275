"""The contract of StoredEvents."""

from billing_core.inbox.ports import EventInbox
from billing_core.model import EventId
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.testing.arrange import save
from billing_core.testing.builders import ACME, GLOBEX, message, provider_event


class StoredEventsContract:
    """Earlier events and messages, inside a unit of work.

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

    async def test_messages_are_found_by_the_event_they_follow_from(self, unit_of_work: UnitOfWork) -> None:
        """One call finds messages of several tenants; an event without a message is left out."""
        mine, theirs = message(event_id="evt_1"), message(tenant_id=GLOBEX, event_id="evt_2")
        await save(unit_of_work, Changes(events=[mine, theirs]), tenants=(ACME, GLOBEX))
        async with unit_of_work.transaction() as transaction:
            found = await transaction.notified([EventId("evt_1"), EventId("evt_2"), EventId("evt_3")])
            assert sorted(found) == [(ACME, "evt_1"), (GLOBEX, "evt_2")]
            assert list(await transaction.notified([EventId("evt_2")])) == [(GLOBEX, "evt_2")]
