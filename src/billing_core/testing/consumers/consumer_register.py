"""The contract of ConsumerRegister."""

from datetime import timedelta

import attrs

from billing_core.consumers.ports import ConsumerQueue, ConsumerRegister, Step
from billing_core.consumers.values import OnDead
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


class ConsumerRegisterContract(Suite):
    """Consumers start where they are told to, and stay where they are when they are registered again.

    A binding provides `consumer_register`, `consumer_queue` and `unit_of_work`, empty and on the same data; and
    `elapse`.
    """

    async def test_a_consumer_comes_back_as_it_was_registered(self, consumer_register: ConsumerRegister) -> None:
        """With everything that another process needs to know of it."""
        given = consumer(
            event_types=("invoice.*", "subscription.plan_changed"),
            start="beginning",
            on_dead=OnDead.SKIP,
            attempts=3,
            backoff_base=timedelta(seconds=2),
            backoff_cap=timedelta(minutes=3),
            timeout=timedelta(seconds=7),
        )
        first = await consumer_register.register(given)
        await consumer_register.register(consumer(CRM))
        crm, mails = await consumer_register.registered()
        assert (mails.consumer, crm.consumer.name) == (given, CRM)
        assert mails.registered_at == first.registered_at
        assert mails.disabled_at is None

    async def test_registering_again_updates_what_it_wants(
        self, consumer_register: ConsumerRegister, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """Its limits and types, but neither its position nor its start."""
        await number_up_to(unit_of_work, 2)
        await consumer_register.register(consumer())
        again = consumer(event_types=("invoice.paid",), start="beginning", attempts=2)
        updated = await consumer_register.register(again)
        assert updated.consumer == attrs.evolve(again, start="now")
        await catch_up(consumer_queue, MAILS)
        await number(unit_of_work, message(ACME, 3), message(ACME, 4, event_type="invoice.paid"))
        assert await waiting_numbers(consumer_queue) == {ACME: [4]}

    async def test_a_new_consumer_starts_now(
        self, consumer_register: ConsumerRegister, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """It gets what is numbered once it is registered, and nothing from before."""
        await number_up_to(unit_of_work, 3)
        await consumer_register.register(consumer())
        assert await waiting_numbers(consumer_queue) == {}
        await number(unit_of_work, message(ACME, 4), message(GLOBEX, 1))
        assert await waiting_numbers(consumer_queue) == {ACME: [4], GLOBEX: [1]}

    async def test_a_consumer_that_starts_at_the_beginning_gets_everything(
        self, consumer_register: ConsumerRegister, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """Tenant by tenant, however many there are."""
        names = [type(ACME)(f"tenant-{number}") for number in range(5)]
        for name in names:
            await number_up_to(unit_of_work, 2, name)
        await consumer_register.register(consumer(start="beginning"))
        await catch_up(consumer_queue, MAILS)
        assert await waiting_numbers(consumer_queue) == {key: [1, 2] for key in names}
        assert not (await consumer_register.registered())[0].catching_up

    async def test_a_consumer_that_starts_at_an_instant_gets_what_was_numbered_since(
        self,
        consumer_register: ConsumerRegister,
        consumer_queue: ConsumerQueue,
        unit_of_work: UnitOfWork,
        elapse: Elapse,
    ) -> None:
        """A tenant without a message since then does not wait."""
        await number_up_to(unit_of_work, 2)
        await number_up_to(unit_of_work, 1, GLOBEX)
        await elapse(TICK)
        at = (await consumer_register.register(consumer(CRM))).registered_at
        await number(unit_of_work, message(ACME, 3))
        await consumer_register.register(consumer(start=at))
        await catch_up(consumer_queue, MAILS)
        assert await waiting_numbers(consumer_queue) == {ACME: [3]}

    async def test_changes_during_the_search_for_tenants_come_in_order(
        self, consumer_register: ConsumerRegister, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """A tenant that was not found yet gets its messages from the start, not from the change; and only once."""
        names = [type(ACME)(f"tenant-{number}") for number in range(6)]
        for name in names:
            await number_up_to(unit_of_work, 2, name)
        await consumer_register.register(consumer(start="beginning"))
        await consumer_queue.catch_up([MAILS], limit=2)
        await number(unit_of_work, message(names[0], 3), message(names[5], 3))
        claims = {each.tenant_id: each for each in await claim(consumer_queue)}
        assert (claims[names[5]].position, claims[names[5]].last) == (0, 3)
        for name, held in claims.items():
            assert await settle(consumer_queue, step(held, Step.DONE, 3 if name == names[5] else held.position))
        await catch_up(consumer_queue, MAILS)
        await number(unit_of_work, message(names[5], 4), message(names[3], 3))
        found = await waiting_numbers(consumer_queue)
        assert found[names[5]] == [4]
        assert found[names[3]] == [1, 2, 3]

    async def test_a_disabled_consumer_waits(
        self, consumer_register: ConsumerRegister, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """Nothing is handed to it, nothing is lost, and its messages come once it is enabled."""
        await consumer_register.register(consumer())
        assert await consumer_register.disable(MAILS, reason="down for 3 days")
        assert not await consumer_register.disable(MAILS, reason="again")
        await number_up_to(unit_of_work, 2)
        assert await waiting_numbers(consumer_queue) == {}
        (disabled,) = await consumer_register.registered()
        assert disabled.disabled_at is not None
        assert disabled.disabled_reason == "down for 3 days"
        await consumer_register.register(consumer(attempts=3))
        assert await waiting_numbers(consumer_queue) == {}
        assert await consumer_register.enable(MAILS)
        assert not await consumer_register.enable(MAILS)
        assert (await consumer_register.registered())[0].disabled_reason is None
        assert await waiting_numbers(consumer_queue) == {ACME: [1, 2]}

    async def test_a_removed_consumer_leaves_nothing(
        self, consumer_register: ConsumerRegister, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """Others stay, and under its name another one begins where its own start says."""
        await consumer_register.register(consumer())
        await consumer_register.register(consumer(CRM))
        await number_up_to(unit_of_work, 3)
        assert await consumer_register.remove(MAILS)
        assert not await consumer_register.remove(MAILS)
        assert [each.consumer.name for each in await consumer_register.registered()] == [CRM]
        await consumer_register.register(consumer())
        assert await waiting_numbers(consumer_queue) == {}
        assert await waiting_numbers(consumer_queue, CRM) == {ACME: [1, 2, 3]}

    async def test_an_unknown_consumer_can_be_neither_switched_nor_removed(
        self, consumer_register: ConsumerRegister
    ) -> None:
        """The caller learns that there is none such."""
        assert not await consumer_register.disable(MAILS, reason="?")
        assert not await consumer_register.enable(MAILS)
        assert not await consumer_register.remove(MAILS)

    async def test_what_it_does_not_want_costs_nothing(
        self, consumer_register: ConsumerRegister, consumer_queue: ConsumerQueue, unit_of_work: UnitOfWork
    ) -> None:
        """A tenant waits only if a message of a wanted type was numbered; other messages are passed over."""
        await consumer_register.register(consumer(event_types=("invoice.payment_*", "subscription.canceled")))
        await number(unit_of_work, message(GLOBEX, 1, event_type="invoice.paid"))
        await number(unit_of_work, message(ACME, 1, event_type="invoice.paymentXfailed"))
        assert await waiting_numbers(consumer_queue) == {}
        await number(
            unit_of_work,
            message(ACME, 2, event_type="invoice.payment_failed"),
            message(ACME, 3, event_type="access.changed"),
            message(ACME, 4, event_type="subscription.canceled"),
            message(ACME, 5, event_type="access.changed"),
        )
        (held,) = await claim(consumer_queue)
        (waiting,) = await consumer_queue.messages([held], limit=10)
        assert [each.sequence for each in waiting.messages] == [2, 4]
        assert await settle(consumer_queue, step(held, Step.DONE, waiting.until))
        await handle(consumer_queue)
        assert await waiting_numbers(consumer_queue) == {}
