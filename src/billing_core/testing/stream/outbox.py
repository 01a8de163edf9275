"""The contract of Outbox."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.stream.ports import MessageHistory, Outbox
from billing_core.testing.arrange import save
from billing_core.testing.builders import ACME, GLOBEX, message, messages
from billing_core.testing.suite import Suite
from billing_core.testing.timing import TICK, Elapse

NOW = timedelta(0)


async def commit(unit_of_work: UnitOfWork, events: Sequence[BillingEvent]) -> None:
    """Commit messages, of several tenants at once."""
    await save(unit_of_work, Changes(events=events), tenants={event.tenant_id for event in events})


class OutboxContract(Suite):
    """Committed messages, until they are confirmed.

    A binding provides `outbox`; `unit_of_work` and `history` on the same data, all empty; and `elapse`.
    """

    async def test_committed_messages_wait_until_they_are_published(
        self, unit_of_work: UnitOfWork, outbox: Outbox
    ) -> None:
        """They come back whole, the payload character by character, and leave once they are confirmed."""
        sent = [message(ACME, 1, payload='{"summary":"Zoë’s \\"plan\\" \\u2028 💶", "a":[1, 2.50]}'), message(ACME, 2)]
        await commit(unit_of_work, sent)
        assert [entry.event for entry in await outbox.unpublished(older_than=NOW, limit=10)] == sent
        await outbox.published(sent[:1])
        assert [entry.event for entry in await outbox.unpublished(older_than=NOW, limit=10)] == sent[1:]

    async def test_confirming_twice_is_harmless(self, unit_of_work: UnitOfWork, outbox: Outbox) -> None:
        """So is confirming nothing, or a message that was never there."""
        sent = messages(ACME, 1, 3)
        await commit(unit_of_work, sent)
        for confirmed in (sent[:2], sent[:2], [], [message(GLOBEX, 7)]):
            await outbox.published(confirmed)
        assert [entry.event for entry in await outbox.unpublished(older_than=NOW, limit=10)] == sent[2:]

    async def test_published_messages_stay_in_the_history(
        self, unit_of_work: UnitOfWork, outbox: Outbox, history: MessageHistory
    ) -> None:
        """The outbox is a to-do list, not the record."""
        sent = messages(ACME, 1, 3)
        await commit(unit_of_work, sent)
        await outbox.published(sent)
        assert await outbox.unpublished(older_than=NOW, limit=10) == []
        assert await history.events(ACME, after=0, limit=10) == sent

    async def test_the_history_holds_published_messages_only(self, unit_of_work: UnitOfWork, outbox: Outbox) -> None:
        """Tenant by tenant, in pages; the newest of each tenant, counted whether or not they still wait."""
        acme, globex = messages(ACME, 1, 9), messages(GLOBEX, 1, 2)
        await commit(unit_of_work, [*acme, *globex])
        assert await outbox.history(after=(TenantId(""), 0), newest=10, limit=10) == []
        await outbox.published([*acme[:7], *globex])
        assert await outbox.history(after=(TenantId(""), 0), newest=10, limit=20) == [*acme[:7], *globex]
        assert await outbox.history(after=(TenantId(""), 0), newest=4, limit=20) == [*acme[5:7], *globex]
        assert await outbox.history(after=(TenantId(""), 0), newest=10, limit=3) == acme[:3]
        assert await outbox.history(after=(ACME, 3), newest=10, limit=5) == [*acme[3:7], *globex[:1]]
        assert await outbox.history(after=(GLOBEX, 2), newest=10, limit=5) == []

    async def test_a_rolled_back_message_never_waits(self, unit_of_work: UnitOfWork, outbox: Outbox) -> None:
        """Nothing is published that did not happen."""
        with pytest.raises(LookupError):  # noqa: PT012 - the block is what fails
            async with unit_of_work.transaction() as transaction:
                await transaction.lock_tenants([ACME])
                await transaction.save(Changes(events=messages(ACME, 1, 3)))
                raise LookupError
        assert await outbox.unpublished(older_than=NOW, limit=10) == []

    async def test_the_longest_waiting_come_first_and_each_tenants_in_order(
        self, unit_of_work: UnitOfWork, outbox: Outbox, elapse: Elapse
    ) -> None:
        """A page never holds a number without those before it."""
        await commit(unit_of_work, [*messages(GLOBEX, 1, 2), *messages(ACME, 1, 2)])
        await elapse(TICK)
        await commit(unit_of_work, messages(ACME, 3, 12))
        page = await outbox.unpublished(older_than=NOW, limit=7)
        numbers = {
            tenant: [entry.event.sequence for entry in page if entry.event.tenant_id == tenant]
            for tenant in (ACME, GLOBEX)
        }
        assert numbers == {GLOBEX: [1, 2], ACME: [1, 2, 3, 4, 5]}

    async def test_young_messages_are_left_to_the_process_that_committed_them(
        self, unit_of_work: UnitOfWork, outbox: Outbox, elapse: Elapse
    ) -> None:
        """A sweep can skip messages that are already being published."""
        await commit(unit_of_work, messages(ACME, 1, 1))
        assert await outbox.unpublished(older_than=timedelta(minutes=1), limit=10) == []
        await elapse(TICK)
        (entry,) = await outbox.unpublished(older_than=TICK, limit=10)
        await commit(unit_of_work, messages(GLOBEX, 1, 1))
        (_, younger) = await outbox.unpublished(older_than=NOW, limit=10)
        assert entry.waited >= TICK
        assert timedelta(0) <= younger.waited < entry.waited

    async def test_the_oldest_message_gives_the_age_of_the_backlog(
        self, unit_of_work: UnitOfWork, outbox: Outbox, elapse: Elapse
    ) -> None:
        """The gauge falls back to zero once the bus has everything."""
        assert await outbox.oldest() == NOW
        await commit(unit_of_work, messages(ACME, 1, 2))
        await elapse(TICK)
        assert await outbox.oldest() >= TICK
        await outbox.published(messages(ACME, 1, 2))
        assert await outbox.oldest() == NOW
