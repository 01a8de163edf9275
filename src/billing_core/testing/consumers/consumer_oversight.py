"""The contract of ConsumerOversight."""

from typing import Literal

import pytest

from billing_core.consumers.ports import ConsumerOversight, ConsumerQueue, ConsumerRegister, Lag, Step
from billing_core.consumers.values import ConsumerName
from billing_core.model import TenantId
from billing_core.oversight.ports import AuditLog
from billing_core.state.ports import UnitOfWork
from billing_core.testing.builders import ACME, GLOBEX, message
from billing_core.testing.consumers.arrange import (
    CRM,
    MAILS,
    catch_up,
    claim,
    consumer,
    handle,
    number,
    number_up_to,
    settle,
    step,
    waiting_numbers,
)
from billing_core.testing.suite import Suite
from billing_core.testing.timing import TICK, Elapse


class ConsumerOversightContract(Suite):
    """Operators see waiting and dead messages, and decide about them.

    A binding provides `consumer_oversight`; `consumer_register`, `consumer_queue`, `audit_log` and `unit_of_work` on
    the same data, all empty; and `elapse`.
    """

    @pytest.fixture(autouse=True)
    async def mails(self, consumer_register: ConsumerRegister) -> None:
        """Register the consumer that the tests are about."""
        await consumer_register.register(consumer())

    async def kill(
        self, queue: ConsumerQueue, tenant_id: TenantId = ACME, *, position: int = 0, name: ConsumerName = MAILS
    ) -> None:
        """Have the next message of a tenant be dead."""
        for held in await claim(queue, name):
            if held.tenant_id == tenant_id:
                dead = step(held, Step.HOLD, position, attempts=12, error="boom")
                assert await settle(queue, dead)
            else:
                assert await settle(queue, step(held, Step.DONE, held.position))

    async def test_a_consumer_with_nothing_waiting(self, consumer_oversight: ConsumerOversight) -> None:
        """It is listed, and everything about it is zero."""
        (standing,) = await consumer_oversight.standings()
        assert standing.registered.consumer == consumer()
        assert (standing.waiting, standing.skipped, standing.lag) == (0, 0, Lag())
        assert await consumer_oversight.lags() == {MAILS: Lag()}
        assert await consumer_oversight.waiting(MAILS, limit=10) == []

    async def test_ages_are_those_of_the_oldest_message(
        self,
        consumer_oversight: ConsumerOversight,
        consumer_queue: ConsumerQueue,
        unit_of_work: UnitOfWork,
        elapse: Elapse,
    ) -> None:
        """Whether it waits, is tried again or is dead; and of the next one once it is handled."""
        await number_up_to(unit_of_work, 1)
        await elapse(20 * TICK)
        await number(unit_of_work, message(ACME, 2), message(GLOBEX, 1))
        await elapse(TICK)
        (held, _) = await claim(consumer_queue)
        assert held.tenant_id == ACME
        assert (await consumer_oversight.lags())[MAILS].oldest >= 21 * TICK
        assert await settle(consumer_queue, step(held, Step.HOLD, 0, error="boom"))
        (standing,) = await consumer_oversight.standings()
        assert standing.lag.oldest >= 21 * TICK
        assert (standing.waiting, standing.lag.held) == (2, 1)
        assert (await consumer_oversight.lags())[MAILS].held == 1
        before = (await consumer_oversight.waiting(MAILS, held=True, limit=10))[0].waiting_since
        await consumer_oversight.skip(MAILS, tenant_id=ACME, sequence=1, actor="ops", reason=None)
        (acme, _) = await consumer_oversight.waiting(MAILS, limit=10)
        assert acme.waiting_since > before

    async def test_a_consumer_does_not_wait_for_anothers_messages(
        self,
        consumer_oversight: ConsumerOversight,
        consumer_queue: ConsumerQueue,
        consumer_register: ConsumerRegister,
        unit_of_work: UnitOfWork,
    ) -> None:
        """One that handled them is idle, however much another one is behind."""
        await consumer_register.register(consumer(CRM))
        await number_up_to(unit_of_work, 3)
        await handle(consumer_queue, CRM)
        await self.kill(consumer_queue)
        await consumer_oversight.skip(MAILS, tenant_id=ACME, sequence=1, actor="ops", reason=None)
        await self.kill(consumer_queue, position=1)
        shown = {each.registered.consumer.name: each for each in await consumer_oversight.standings()}
        assert (shown[CRM].waiting, shown[CRM].skipped, shown[CRM].lag) == (0, 0, Lag())
        assert (shown[MAILS].waiting, shown[MAILS].skipped, shown[MAILS].lag.held) == (1, 1, 1)
        lags = await consumer_oversight.lags()
        assert (lags[CRM], lags[MAILS].held) == (Lag(), 1)

    async def test_waiting_tenants_are_shown_with_their_failures(
        self,
        consumer_oversight: ConsumerOversight,
        consumer_queue: ConsumerQueue,
        unit_of_work: UnitOfWork,
        elapse: Elapse,
    ) -> None:
        """The longest waiting first; of one tenant, or those that are held back, if asked for."""
        await number_up_to(unit_of_work, 2, GLOBEX)
        await elapse(TICK)
        await number_up_to(unit_of_work, 1)
        await self.kill(consumer_queue, ACME)
        globex, acme = await consumer_oversight.waiting(MAILS, limit=10)
        assert (globex.tenant_id, globex.position, globex.last, globex.dead_at) == (GLOBEX, 0, 2, None)
        assert (acme.tenant_id, acme.attempts, acme.error) == (ACME, 12, "boom")
        assert acme.dead_at is not None
        assert await consumer_oversight.waiting(MAILS, held=True, limit=10) == [acme]
        assert await consumer_oversight.waiting(MAILS, tenant_id=GLOBEX, limit=10) == [globex]
        assert await consumer_oversight.waiting(MAILS, limit=1) == [globex]
        assert await consumer_oversight.waiting(CRM, limit=10) == []

    async def test_a_retry_gives_a_dead_message_all_attempts_again(
        self,
        consumer_oversight: ConsumerOversight,
        consumer_queue: ConsumerQueue,
        unit_of_work: UnitOfWork,
        audit_log: AuditLog,
    ) -> None:
        """It comes with everything behind it, and the action is on record."""
        await number_up_to(unit_of_work, 2)
        await self.kill(consumer_queue)
        assert await consumer_oversight.retry(MAILS, tenant_id=GLOBEX, actor="ops", reason=None) == 0
        assert await consumer_oversight.retry(MAILS, actor="ops", reason="address corrected") == 1
        (held,) = await claim(consumer_queue)
        assert (held.attempt, held.position, held.last) == (1, 0, 2)
        audit = (await audit_log.latest(limit=10))[0]
        assert (audit.action, audit.actor, audit.reason) == ("consumer_retry", "ops", "address corrected")
        assert audit.filter == {"consumer": MAILS, "tenant": None}
        assert audit.result == {"tenants": 1}
        assert audit.finished_at is not None

    async def test_a_skip_passes_over_the_dead_message_alone(
        self,
        consumer_oversight: ConsumerOversight,
        consumer_queue: ConsumerQueue,
        unit_of_work: UnitOfWork,
        audit_log: AuditLog,
    ) -> None:
        """The ones behind it come; a tenant with nothing behind it no longer waits."""
        await number_up_to(unit_of_work, 3)
        await self.kill(consumer_queue, position=1)
        assert await consumer_oversight.skip(MAILS, tenant_id=ACME, sequence=2, actor="ops", reason="sent by hand")
        assert await waiting_numbers(consumer_queue) == {ACME: [3]}
        (record,) = await consumer_oversight.skipped(MAILS, limit=10)
        assert (record.sequence, record.attempts, record.error) == (2, 12, "boom")
        assert (record.actor, record.reason) == ("ops", "sent by hand")
        assert (await consumer_oversight.standings())[0].skipped == 1
        audit = (await audit_log.latest(limit=1))[0]
        assert (audit.action, audit.result) == ("consumer_skip", {"sequence": 2})
        assert not await consumer_oversight.skip(MAILS, tenant_id=ACME, sequence=3, actor="ops", reason=None)

    async def test_a_skip_is_of_the_message_that_was_looked_at(
        self, consumer_oversight: ConsumerOversight, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """Another one may be dead by then, as after a retry in between: it stays."""
        await number_up_to(unit_of_work, 3)
        await self.kill(consumer_queue, position=1)
        for other in (1, 3):
            assert not await consumer_oversight.skip(MAILS, tenant_id=ACME, sequence=other, actor="ops", reason=None)
        (held,) = await consumer_oversight.waiting(MAILS, held=True, limit=10)
        assert held.position == 1
        assert await consumer_oversight.skipped(MAILS, limit=10) == []

    async def test_a_skip_of_the_last_message_ends_the_waiting(
        self, consumer_oversight: ConsumerOversight, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """Nothing is left of the tenant."""
        await number_up_to(unit_of_work, 1)
        await self.kill(consumer_queue)
        assert await consumer_oversight.skip(MAILS, tenant_id=ACME, sequence=1, actor="ops", reason=None)
        assert await consumer_oversight.waiting(MAILS, limit=10) == []

    async def test_the_latest_skips_come_first(
        self, consumer_oversight: ConsumerOversight, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """Of one consumer, within the limit."""
        await number_up_to(unit_of_work, 2)
        for sequence in (1, 2):
            await self.kill(consumer_queue, position=sequence - 1)
            await consumer_oversight.skip(MAILS, tenant_id=ACME, sequence=sequence, actor="ops", reason=None)
        assert [each.sequence for each in await consumer_oversight.skipped(MAILS, limit=10)] == [2, 1]
        assert [each.sequence for each in await consumer_oversight.skipped(MAILS, limit=1)] == [2]
        assert await consumer_oversight.skipped(CRM, limit=10) == []

    async def test_a_skip_is_kept_while_a_search_has_not_reached_the_tenant(
        self,
        consumer_oversight: ConsumerOversight,
        consumer_queue: ConsumerQueue,
        consumer_register: ConsumerRegister,
        unit_of_work: UnitOfWork,
    ) -> None:
        """A consumer that starts in the past does not get the tenant's messages again, only what comes afterwards."""
        await number(unit_of_work, message(ACME, 1), message(GLOBEX, 1))
        await consumer_register.register(consumer(CRM, start="beginning"))
        await consumer_queue.catch_up([CRM], limit=1)
        await number_up_to(unit_of_work, 2, GLOBEX, first=2)
        await self.kill(consumer_queue, GLOBEX, position=1, name=CRM)
        assert await consumer_oversight.skip(CRM, tenant_id=GLOBEX, sequence=2, actor="ops", reason=None)
        assert await consumer_oversight.waiting(CRM, tenant_id=GLOBEX, limit=10) == []
        await catch_up(consumer_queue, CRM)
        assert await waiting_numbers(consumer_queue, CRM) == {ACME: [1]}
        await number_up_to(unit_of_work, 3, GLOBEX, first=3)
        assert await waiting_numbers(consumer_queue, CRM) == {GLOBEX: [3]}

    async def test_a_tenant_is_rewound_to_a_number(
        self, consumer_oversight: ConsumerOversight, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """That message is the next one, whether the tenant waited or not, and claims of before are lost."""
        await consumer_oversight.rewind(MAILS, to="beginning", tenant_id=ACME, actor="ops", reason=None)
        await number_up_to(unit_of_work, 4)
        await handle(consumer_queue)
        assert await consumer_oversight.rewind(MAILS, to=3, tenant_id=ACME, actor="ops", reason="sent twice")
        (held,) = await claim(consumer_queue)
        assert (held.position, held.last, held.attempt) == (2, 4, 1)
        assert await consumer_oversight.rewind(MAILS, to=3, tenant_id=ACME, actor="ops", reason=None)
        (again,) = await claim(consumer_queue)
        assert again.position == held.position
        assert not await settle(consumer_queue, step(held, Step.DONE, 4))
        assert await consumer_oversight.rewind(MAILS, to=2, tenant_id=ACME, actor="ops", reason=None)
        assert not await settle(consumer_queue, step(again, Step.DONE, 4))
        assert await waiting_numbers(consumer_queue) == {ACME: [2, 3, 4]}

    async def test_a_number_beyond_the_next_message_is_refused(
        self, consumer_oversight: ConsumerOversight, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """It was mistyped: everything that waits would be passed over. The next message itself may be named."""
        await number_up_to(unit_of_work, 2)
        for beyond in (4, 10**20):
            with pytest.raises(ValueError, match=f"there is no message {beyond} yet, the last one is 2"):
                await consumer_oversight.rewind(MAILS, to=beyond, tenant_id=ACME, actor="ops", reason=None)
        assert await waiting_numbers(consumer_queue) == {ACME: [1, 2]}
        assert await consumer_oversight.rewind(MAILS, to=3, tenant_id=ACME, actor="ops", reason=None)
        assert await consumer_oversight.waiting(MAILS, limit=10) == []

    async def test_a_tenant_is_rewound_to_an_instant_or_to_now(
        self, consumer_oversight: ConsumerOversight, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """To now means that what waits is passed over."""
        await number_up_to(unit_of_work, 2)
        (acme,) = await consumer_oversight.waiting(MAILS, limit=1)
        await number_up_to(unit_of_work, 2, GLOBEX)
        await number_up_to(unit_of_work, 3, first=3)
        assert await consumer_oversight.rewind(MAILS, to="now", tenant_id=GLOBEX, actor="ops", reason=None)
        await consumer_oversight.rewind(MAILS, to="now", tenant_id=ACME, actor="ops", reason=None)
        assert await claim(consumer_queue) == []
        since = acme.waiting_since
        assert await consumer_oversight.rewind(MAILS, to=since, tenant_id=ACME, actor="ops", reason=None)
        assert await waiting_numbers(consumer_queue) == {ACME: [1, 2, 3]}

    async def test_all_tenants_are_rewound(
        self,
        consumer_oversight: ConsumerOversight,
        consumer_queue: ConsumerQueue,
        consumer_register: ConsumerRegister,
        unit_of_work: UnitOfWork,
        audit_log: AuditLog,
    ) -> None:
        """Tenants that waited, were held back or did not wait; in this consumer only."""
        names = [TenantId(f"tenant-{number}") for number in range(5)]
        await consumer_register.register(consumer(CRM))
        for name in names:
            await number_up_to(unit_of_work, 2, name)
        await self.kill(consumer_queue, names[1])
        await handle(consumer_queue, but=[names[2]])
        await handle(consumer_queue, CRM)
        assert await consumer_oversight.rewind(MAILS, to="beginning", actor="ops", reason="lost mails")
        await number(unit_of_work, message(names[4], 3))
        await catch_up(consumer_queue, MAILS)
        assert await waiting_numbers(consumer_queue) == {**{key: [1, 2] for key in names}, names[4]: [1, 2, 3]}
        assert await waiting_numbers(consumer_queue, CRM) == {names[4]: [3]}
        audit = (await audit_log.latest(limit=1))[0]
        assert (audit.action, audit.result) == ("consumer_rewind", {"to": "beginning"})

    async def test_all_waiting_messages_are_passed_over(
        self, consumer_oversight: ConsumerOversight, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """A rewind to now leaves nothing, and what comes afterwards is handed over."""
        await number_up_to(unit_of_work, 2)
        await number_up_to(unit_of_work, 2, GLOBEX)
        await self.kill(consumer_queue)
        assert await consumer_oversight.rewind(MAILS, to="now", actor="ops", reason=None)
        await catch_up(consumer_queue, MAILS)
        assert await claim(consumer_queue) == []
        await number_up_to(unit_of_work, 3, first=3)
        assert await waiting_numbers(consumer_queue) == {ACME: [3]}

    async def test_a_rewind_to_now_ends_one_to_the_past(
        self, consumer_oversight: ConsumerOversight, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """Nothing is handed over again, whether its tenants were found already or not; what comes afterwards is."""
        names = [TenantId(f"tenant-{number}") for number in range(5)]
        for name in names:
            await number_up_to(unit_of_work, 2, name)
        await handle(consumer_queue)
        assert await consumer_oversight.rewind(MAILS, to="beginning", actor="ops", reason="a mistake")
        await consumer_queue.catch_up([MAILS], limit=2)
        assert await consumer_oversight.rewind(MAILS, to="now", actor="ops", reason=None)
        await number(unit_of_work, message(names[3], 3))
        await catch_up(consumer_queue, MAILS)
        assert await waiting_numbers(consumer_queue) == {names[3]: [3]}
        assert await consumer_oversight.rewind(MAILS, to="beginning", actor="ops", reason=None)
        await catch_up(consumer_queue, MAILS)
        assert await waiting_numbers(consumer_queue) == {**{key: [1, 2] for key in names}, names[3]: [1, 2, 3]}

    async def test_messages_before_a_consumer_are_passed_over(
        self,
        consumer_oversight: ConsumerOversight,
        consumer_queue: ConsumerQueue,
        consumer_register: ConsumerRegister,
        unit_of_work: UnitOfWork,
    ) -> None:
        """A consumer that starts in the past begins with what comes after a rewind to now."""
        await number_up_to(unit_of_work, 2)
        await consumer_register.register(consumer(CRM, start="beginning"))
        assert await consumer_oversight.rewind(CRM, to="now", actor="ops", reason=None)
        await catch_up(consumer_queue, CRM)
        assert await claim(consumer_queue, CRM) == []
        await number_up_to(unit_of_work, 3, first=3)
        assert await waiting_numbers(consumer_queue, CRM) == {ACME: [3]}

    @pytest.mark.parametrize("to", ["now", 3])
    async def test_a_tenant_is_passed_over_during_a_rewind_of_all(
        self,
        consumer_oversight: ConsumerOversight,
        consumer_queue: ConsumerQueue,
        unit_of_work: UnitOfWork,
        to: Literal["now"] | int,
    ) -> None:
        """The others are handed over again; of this one what comes afterwards, and nothing waits before."""
        names = [TenantId(f"tenant-{number}") for number in range(4)]
        for name in names:
            await number_up_to(unit_of_work, 2, name)
        await handle(consumer_queue)
        assert await consumer_oversight.rewind(MAILS, to="beginning", actor="ops", reason=None)
        await consumer_queue.catch_up([MAILS], limit=2)
        for name in (names[0], names[2], names[3]):
            assert await consumer_oversight.rewind(MAILS, to=to, tenant_id=name, actor="ops", reason=None)
        assert await consumer_oversight.waiting(MAILS, tenant_id=names[3], limit=10) == []
        await number(unit_of_work, message(names[2], 3))
        await catch_up(consumer_queue, MAILS)
        assert await waiting_numbers(consumer_queue) == {names[1]: [1, 2], names[2]: [3]}
        await number(unit_of_work, message(names[3], 3))
        assert await waiting_numbers(consumer_queue) == {names[3]: [3]}

    async def test_nothing_to_rewind(self, consumer_oversight: ConsumerOversight, unit_of_work: UnitOfWork) -> None:
        """An unknown consumer or tenant; and a number that would be of all tenants is refused."""
        await number_up_to(unit_of_work, 1)
        assert not await consumer_oversight.rewind(CRM, to="now", actor="ops", reason=None)
        unknown = TenantId("unknown")
        assert not await consumer_oversight.rewind(MAILS, to=1, tenant_id=unknown, actor="ops", reason=None)
        with pytest.raises(ValueError, match="name the tenant"):
            await consumer_oversight.rewind(MAILS, to=1, actor="ops", reason=None)
