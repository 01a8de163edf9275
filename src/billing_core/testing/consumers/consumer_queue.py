"""The contract of ConsumerQueue."""

import asyncio
from datetime import timedelta

import attrs
import pytest

from billing_core.consumers.ports import ConsumerOversight, ConsumerQueue, ConsumerRegister, Step, Want
from billing_core.consumers.values import MessageId
from billing_core.errors import ClaimLostError
from billing_core.model import TenantId
from billing_core.state.ports import Changes, Transfer, UnitOfWork
from billing_core.stream.ports import EpochLog
from billing_core.testing.builders import ACME, GLOBEX, message
from billing_core.testing.consumers.arrange import (
    CRM,
    MAILS,
    claim,
    consumer,
    moved,
    number,
    number_up_to,
    numbers,
    settle,
    step,
    waiting_numbers,
)
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LEASE, LONG, TICK, Elapse


class ConsumerQueueContract(Suite):
    """Each tenant's messages in order, by one process at a time, until they are handled.

    A binding provides `consumer_queue`; `consumer_register`, `consumer_oversight`, `epochs` and `unit_of_work` on the
    same data, all empty; and `elapse`.
    """

    @pytest.fixture(autouse=True)
    async def mails(self, consumer_register: ConsumerRegister, epochs: EpochLog) -> None:
        """Register the consumer that the tests are about, in a database that has an epoch."""
        await epochs.enter()
        await consumer_register.register(consumer())

    async def test_a_message_comes_whole(
        self, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork, epochs: EpochLog
    ) -> None:
        """Character by character, under an id that names its epoch, its tenant and its number."""
        sent = message(ACME, 1, payload='{"summary":"Zoë’s \\"plan\\" 💶", "a":[1, 2.50]}')
        await number(unit_of_work, sent)
        (held,) = await claim(consumer_queue)
        (waiting,) = await consumer_queue.messages([held], limit=10)
        (received,) = waiting.messages
        assert received.event == sent
        epoch = (await epochs.enter()).token
        assert received.id == MessageId(epoch=epoch, tenant_id=ACME, sequence=1)
        assert waiting.until == 1

    async def test_a_claim_is_exclusive_until_its_lease_runs_out(
        self, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork, elapse: Elapse
    ) -> None:
        """A process that died is replaced, and its attempt stays counted."""
        await number_up_to(unit_of_work, 1)
        (first,) = await claim(consumer_queue, lease=LEASE)
        assert await claim(consumer_queue) == []
        await elapse(LEASE)
        (second,) = await claim(consumer_queue)
        assert (first.attempt, second.attempt) == (1, 2)
        assert (first.position, second.position) == (0, 0)

    async def test_a_lost_claim_changes_nothing(
        self, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork, elapse: Elapse
    ) -> None:
        """A process that froze and wakes up finds its tenant taken over, even if it was handled to the end since."""
        await number_up_to(unit_of_work, 2)
        (frozen,) = await claim(consumer_queue, lease=LEASE)
        await elapse(LEASE)
        (held,) = await claim(consumer_queue)
        for lost in (Step.CONTINUE, Step.SKIP, Step.DONE, Step.RETRY, Step.HOLD):
            assert not await settle(consumer_queue, step(frozen, lost, 1))
        assert await settle(consumer_queue, step(held, Step.DONE, 2))
        await number_up_to(unit_of_work, 3, first=3)
        (later,) = await claim(consumer_queue)
        for lost in (Step.DONE, Step.HOLD):
            assert not await settle(consumer_queue, step(frozen, lost, 2))
            assert not await settle(consumer_queue, step(held, lost, 2))
        assert await numbers(consumer_queue, later) == [3]
        assert await settle(consumer_queue, step(later, Step.DONE, 3))

    async def test_a_position_is_stored_once(self, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork) -> None:
        """A claim that went on cannot be set back by a late result of an earlier message."""
        await number_up_to(unit_of_work, 3)
        (held,) = await claim(consumer_queue)
        assert await settle(consumer_queue, step(held, Step.CONTINUE, 1))
        assert not await settle(consumer_queue, step(held, Step.RETRY, 0))
        assert await settle(consumer_queue, step(moved(held, 1), Step.DONE, 3))
        assert await claim(consumer_queue) == []

    async def test_a_claim_goes_on_from_message_to_message(
        self, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork, elapse: Elapse
    ) -> None:
        """Each message renews the lease, and has its own attempts."""
        await number_up_to(unit_of_work, 3)
        (held,) = await claim(consumer_queue, lease=LEASE)
        assert await settle(consumer_queue, step(held, Step.CONTINUE, 1, after=2 * LEASE))
        await elapse(LEASE)
        assert await claim(consumer_queue) == []
        await elapse(LEASE)
        (next_,) = await claim(consumer_queue)
        assert (next_.position, next_.attempt) == (1, 2)
        assert await numbers(consumer_queue, next_) == [2, 3]

    async def test_messages_come_in_order_and_in_pages(
        self, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """A page says up to which number nothing else waits."""
        await number_up_to(unit_of_work, 5)
        (held,) = await claim(consumer_queue)
        (page,) = await consumer_queue.messages([held], limit=2)
        assert [each.sequence for each in page.messages] == [1, 2]
        assert page.until == 2
        assert await settle(consumer_queue, step(held, Step.DONE, page.until))
        (rest,) = await claim(consumer_queue)
        (page,) = await consumer_queue.messages([rest], limit=3)
        assert ([each.sequence for each in page.messages], page.until) == ([3, 4, 5], 5)

    async def test_a_message_that_comes_during_the_work_is_not_forgotten(
        self, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """The tenant is due again at once."""
        await number_up_to(unit_of_work, 1)
        (held,) = await claim(consumer_queue)
        await number_up_to(unit_of_work, 2, first=2)
        assert await claim(consumer_queue) == []
        assert await settle(consumer_queue, step(held, Step.DONE, 1))
        assert await waiting_numbers(consumer_queue) == {ACME: [2]}

    async def test_a_retry_is_due_when_its_pause_is_over(
        self, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork, elapse: Elapse
    ) -> None:
        """Neither sooner nor because another message came; attempts that count are kept."""
        await number_up_to(unit_of_work, 2)
        (held,) = await claim(consumer_queue)
        retry = step(held, Step.RETRY, 0, attempts=1, after=LEASE, error="connection refused")
        assert await settle(consumer_queue, retry)
        await number_up_to(unit_of_work, 3, first=3)
        assert await claim(consumer_queue) == []
        await elapse(LEASE)
        (again,) = await claim(consumer_queue)
        assert again.attempt == 2
        assert await settle(consumer_queue, step(again, Step.RETRY, 0, attempts=1, after=timedelta(0)))
        (third,) = await claim(consumer_queue)
        assert third.attempt == 2
        assert await numbers(consumer_queue, third) == [1, 2, 3]

    async def test_a_dead_message_holds_back_its_tenant_in_its_consumer_only(
        self,
        consumer_queue: ConsumerQueue,
        consumer_register: ConsumerRegister,
        unit_of_work: UnitOfWork,
        elapse: Elapse,
    ) -> None:
        """Neither other tenants nor other consumers wait for it."""
        await consumer_register.register(consumer(CRM))
        await number(unit_of_work, message(ACME, 1), message(GLOBEX, 1))
        held = {each.tenant_id: each for each in await claim(consumer_queue)}
        assert await settle(consumer_queue, step(held[ACME], Step.HOLD, 0, attempts=3, error="no such address"))
        assert await settle(consumer_queue, step(held[GLOBEX], Step.DONE, 1))
        await number(unit_of_work, message(ACME, 2), message(GLOBEX, 2))
        await elapse(LONG)
        assert await waiting_numbers(consumer_queue) == {GLOBEX: [2]}
        assert await waiting_numbers(consumer_queue, CRM) == {ACME: [1, 2], GLOBEX: [1, 2]}

    async def test_a_message_that_is_passed_over_is_kept_for_operators(
        self, consumer_queue: ConsumerQueue, consumer_oversight: ConsumerOversight, unit_of_work: UnitOfWork
    ) -> None:
        """The claim goes on after it."""
        await number_up_to(unit_of_work, 2)
        (held,) = await claim(consumer_queue)
        assert await settle(consumer_queue, step(held, Step.SKIP, 1, attempts=3, error="no such address"))
        assert await settle(consumer_queue, step(moved(held, 1), Step.DONE, 2))
        (skipped,) = await consumer_oversight.skipped(MAILS, limit=10)
        assert (skipped.tenant_id, skipped.sequence, skipped.attempts) == (ACME, 1, 3)
        assert (skipped.error, skipped.actor) == ("no such address", None)
        assert await claim(consumer_queue) == []

    async def test_several_positions_are_stored_together(
        self, consumer_queue: ConsumerQueue, consumer_register: ConsumerRegister, unit_of_work: UnitOfWork
    ) -> None:
        """A lost claim among them changes nothing for the others."""
        await consumer_register.register(consumer(CRM))
        await number(unit_of_work, message(ACME, 1), message(GLOBEX, 1))
        wants = [Want(consumer=name, limit=10, lease=LONG) for name in (MAILS, CRM)]
        claims = await consumer_queue.claim(wants)
        assert {(each.consumer, each.tenant_id) for each in claims} == {
            (MAILS, ACME),
            (MAILS, GLOBEX),
            (CRM, ACME),
            (CRM, GLOBEX),
        }
        lost = attrs.evolve(claims[0], fence=claims[0].fence + 10_000)
        steps = [step(each, Step.DONE, 1) for each in [lost, *claims[1:]]]
        assert await consumer_queue.settle(steps) == [False, True, True, True]
        assert await consumer_queue.settle([]) == []

    async def test_each_consumer_gets_as_many_tenants_as_wanted_the_longest_waiting_first(
        self,
        consumer_queue: ConsumerQueue,
        consumer_register: ConsumerRegister,
        unit_of_work: UnitOfWork,
        elapse: Elapse,
    ) -> None:
        """A consumer with much to do takes nothing from another one."""
        names = [TenantId(f"tenant-{number}") for number in (3, 1, 2)]
        for name in names:
            await number_up_to(unit_of_work, 1, name)
            await elapse(TICK)
        await consumer_register.register(consumer(CRM))
        await number_up_to(unit_of_work, 2, names[2], first=2)
        wants = [Want(consumer=MAILS, limit=2, lease=LONG), Want(consumer=CRM, limit=2, lease=LONG)]
        claims = await consumer_queue.claim(wants)
        assert [each.tenant_id for each in claims if each.consumer == MAILS] == names[:2]
        assert [each.tenant_id for each in claims if each.consumer == CRM] == [names[2]]

    async def test_concurrent_claims_share_the_work(
        self, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """No tenant goes to two of them, and none is left over."""
        names = [TenantId(f"tenant-{number}") for number in range(40)]
        await number(unit_of_work, *(message(name, 1) for name in names))
        shares = await asyncio.gather(*(claim(consumer_queue, limit=15) for _ in range(4)))
        rest = await claim(consumer_queue, limit=40)
        assert sorted(each.tenant_id for share in [*shares, rest] for each in share) == sorted(names)

    async def test_a_rolled_back_message_never_waits(
        self, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """Nothing is handed over that did not happen."""
        with pytest.raises(LookupError):  # noqa: PT012 - the block is what fails
            async with unit_of_work.transaction() as transaction:
                await transaction.lock_tenants([ACME])
                await transaction.save(Changes(events=[message(ACME, 1)]))
                raise LookupError
        assert await claim(consumer_queue) == []

    async def test_a_withdrawn_message_is_handed_over_as_withdrawn(
        self, consumer_queue: ConsumerQueue, consumer_register: ConsumerRegister, unit_of_work: UnitOfWork
    ) -> None:
        """Nothing of the other tenant's data reaches a consumer, whether or not it wants to know of the withdrawal."""
        await consumer_register.register(consumer(CRM, event_types=("subscription.*",)))
        await number_up_to(unit_of_work, 2)
        withdrawn = message(ACME, 1, event_type="withdrawn", event_id=None, payload='{"sequence":1}')
        async with unit_of_work.transaction() as transaction:
            await transaction.lock_tenants([ACME, GLOBEX])
            await transaction.transfer(Transfer(from_tenant=ACME, to_tenant=GLOBEX, withdrawn=[withdrawn]))
        (mails,) = await claim(consumer_queue)
        (waiting,) = await consumer_queue.messages([mails], limit=10)
        assert [each.event_type for each in waiting.messages] == ["withdrawn", "subscription.updated"]
        assert waiting.messages[0].event == withdrawn
        (crm,) = await claim(consumer_queue, CRM)
        assert await numbers(consumer_queue, crm) == [2]

    async def test_a_transaction_stores_the_position_at_its_end(
        self, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """An exception leaves the position as it was, and the claim in force."""
        await number_up_to(unit_of_work, 2)
        (held,) = await claim(consumer_queue)
        with pytest.raises(LookupError):
            async with consumer_queue.settling(step(held, Step.CONTINUE, 1), limit=LONG):
                raise LookupError
        async with consumer_queue.settling(step(held, Step.CONTINUE, 1), limit=LONG):
            pass
        async with consumer_queue.settling(step(moved(held, 1), Step.DONE, 2), limit=LONG):
            pass
        assert await claim(consumer_queue) == []
        assert not await settle(consumer_queue, step(held, Step.RETRY, 0))

    async def test_a_transaction_of_a_lost_claim_fails(
        self, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork, elapse: Elapse
    ) -> None:
        """At its end, when another process has the tenant."""
        await number_up_to(unit_of_work, 1)
        (frozen,) = await claim(consumer_queue, lease=LEASE)
        await elapse(LEASE)
        (held,) = await claim(consumer_queue)
        with pytest.raises(ClaimLostError):
            async with consumer_queue.settling(step(frozen, Step.DONE, 1), limit=LONG):
                pass
        assert await settle(consumer_queue, step(held, Step.DONE, 1))

    async def test_waiting_ends_with_a_notice(self, consumer_queue: ConsumerQueue) -> None:
        """At once if it came since the last claim, and after the given time without one."""
        await claim(consumer_queue)
        consumer_queue.notify()
        async with asyncio.timeout(LONG.total_seconds()):
            await consumer_queue.wait(at_most=LONG)
        await claim(consumer_queue)
        await consumer_queue.wait(at_most=TICK)
