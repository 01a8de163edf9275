"""The contract of TenantMoves."""

import asyncio
from collections.abc import Collection
from datetime import timedelta

import attrs
import pytest

from billing_core.events import BillingEvent, Disposition, EventKey, Outcome
from billing_core.inbox.ports import EventInbox, EventQueue
from billing_core.model import CustomerId, EventId, InvoiceId, SubscriptionId, TenantId, TenantOccasion
from billing_core.oversight.ports import InboxUpkeep, InvariantLog
from billing_core.state.ports import Changes, Holdings, TenantEvent, TenantReader, Transfer, UnitOfWork
from billing_core.stream.ports import LogRewrites, MessageHistory, Outbox
from billing_core.testing.arrange import CUSTOMER, applied, claimed, park, save, settle
from billing_core.testing.builders import (
    ACME,
    GLOBEX,
    customer,
    invoice,
    item,
    message,
    messages,
    provider_event,
    subscription,
    usage,
)
from billing_core.testing.state.samples import CHARGE, PAYMENT, record
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LONG

OBJECTS = Changes(
    customers=[
        customer(
            "cus_1", ACME, name="Zoë", email="zoe@example.com", delinquent=True, payment_method_id="pm_1", deleted=True
        )
    ],
    subscriptions=[subscription("sub_1", items=(item("si_1"), item("si_2"))), subscription("sub_2")],
    invoices=[invoice("in_1"), invoice("in_2")],
    usage={InvoiceId("in_1"): [usage("in_1", "il_1")], InvoiceId("in_2"): [usage("in_2", "il_2")]},
    records=[record(CHARGE), record(PAYMENT)],
)


def leaving(to: TenantId | None, *events: int, **fields: object) -> Transfer:
    """Return the transfer of the first of each kind of object, and of events."""
    return Transfer(
        from_tenant=ACME,
        to_tenant=to,
        customers=[CUSTOMER],
        subscriptions=[SubscriptionId("sub_1")],
        invoices=[InvoiceId("in_1")],
        records=[CHARGE.object_id],
        events=events,
        **fields,  # type: ignore[arg-type]
    )


class TenantMovesContract(Suite):
    """A part of a tenant's holdings leaves as a whole.

    A binding provides `unit_of_work`, and `inbox`, `queue`, `inbox_upkeep`, `tenant_reader`, `history`, `outbox`,
    `log_rewrites` and `invariants` on the same data, all empty.
    """

    # --- reading ------------------------------------------------------------------------------------------------

    async def test_holdings_are_all_of_one_tenant(self, unit_of_work: UnitOfWork) -> None:
        """By id, and nothing of another tenant or of the catalog."""
        await save(unit_of_work, OBJECTS)
        theirs = Changes(
            customers=[customer("cus_9", GLOBEX)],
            subscriptions=[subscription("sub_9", GLOBEX)],
            invoices=[invoice("in_9", GLOBEX)],
        )
        await save(unit_of_work, theirs, tenants=[GLOBEX])
        async with unit_of_work.transaction() as transaction:
            await transaction.lock_events([ACME])
            await transaction.lock_tenants([ACME])
            assert await transaction.holdings(ACME) == Holdings(
                customers=list(OBJECTS.customers),
                subscriptions=list(OBJECTS.subscriptions),
                invoices=list(OBJECTS.invoices),
                records=list(OBJECTS.records),
            )
            assert await transaction.holdings(TenantId("unknown")) == Holdings()

    async def test_holdings_include_events_and_say_whether_their_bodies_are_kept(
        self, inbox: EventInbox, unit_of_work: UnitOfWork, inbox_upkeep: InboxUpkeep
    ) -> None:
        """Applied and dead ones of the tenant; waiting ones have none."""
        await save(unit_of_work, Changes(customers=[customer()]))
        first = await claimed(inbox, provider_event("evt_1"))
        await settle(unit_of_work, applied(first, customer_id=CUSTOMER, sequence=None))
        await inbox_upkeep.prune(older_than=timedelta(0), after=0, limit=10)
        second = await claimed(inbox, provider_event("evt_2"))
        await settle(unit_of_work, applied(second, sequence=None))
        third = await claimed(inbox, provider_event("evt_3"))
        dead = Outcome(claim=third, disposition=Disposition.DEAD, reason="bug", error="boom", customer_id=CUSTOMER)
        await settle(unit_of_work, dead)
        await park(inbox, unit_of_work, "evt_4", on=CustomerId("cus_2"))
        async with unit_of_work.transaction() as transaction:
            found = (await transaction.holdings(ACME)).events
        assert found == [
            _event(first.dispatch_id, "evt_1", CUSTOMER, body_kept=False),
            _event(second.dispatch_id, "evt_2", None),
            _event(third.dispatch_id, "evt_3", CUSTOMER, applied=False),
        ]

    async def test_messages_about_objects_are_found(self, unit_of_work: UnitOfWork) -> None:
        """By the event that caused them, by their source, or by what they show."""
        payloads = [
            '{"source":{"kind":"webhook","id":"evt_1"},"subscription":null,"invoice":null}',
            '{"source":{"kind":"refetch","id":"cus_1"},"subscription":null,"invoice":null}',
            '{"source":null,"subscription":{"subscription_id":"sub_1"},"invoice":null}',
            '{"source":{"kind":"clock","id":null},"subscription":null,"invoice":{"invoice_id":"in_1"}}',
            '{"source":null,"subscription":{"subscription_id":"sub_2"},"invoice":{"invoice_id":"in_2"}}',
            '{"subscription":{"subscription_id":"sub_1"}}',
        ]
        written = [
            message(ACME, number, event_id=EventId(f"evt_{number}"), payload=payload)
            for number, payload in enumerate(payloads, start=1)
        ]
        written[-1] = attrs.evolve(written[-1], event_type="withdrawn")
        await save(unit_of_work, Changes(events=written))
        await save(
            unit_of_work, Changes(events=[attrs.evolve(written[2], tenant_id=GLOBEX, sequence=1)]), tenants=[GLOBEX]
        )
        async with unit_of_work.transaction() as transaction:
            about = await transaction.messages_about(
                ACME, events={EventId("evt_1")}, objects={"cus_1", "sub_1", "in_1"}
            )
            assert [each.sequence for each in about] == [1, 2, 3, 4]
            assert await transaction.messages_about(ACME, events=set(), objects={"evt_5"}) == []

    # --- moving -------------------------------------------------------------------------------------------------

    async def test_what_is_moved_is_the_new_tenants_and_the_rest_stays(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """With items and billed usage. The new tenant can write it, too."""
        await save(unit_of_work, OBJECTS)
        await self._transfer(unit_of_work, leaving(GLOBEX))
        assert [each.object_id for each in await tenant_reader.subscriptions(ACME)] == ["sub_2"]
        moved = attrs.evolve(OBJECTS.subscriptions[0], tenant_id=GLOBEX)
        assert await tenant_reader.subscriptions(GLOBEX) == [moved]
        assert [each.object_id for each in await tenant_reader.invoices(GLOBEX, limit=9)] == ["in_1"]
        assert await tenant_reader.usage(GLOBEX, limit=9) == [usage("in_1", "il_1", GLOBEX)]
        assert await tenant_reader.usage(ACME, limit=9) == [usage("in_2", "il_2")]
        assert await tenant_reader.records(GLOBEX, limit=9) == [record(CHARGE, GLOBEX)]
        assert await tenant_reader.records(ACME, limit=9) == [record(PAYMENT)]
        async with unit_of_work.transaction() as transaction:
            assert (await transaction.customers([CUSTOMER]))[CUSTOMER].tenant_id == GLOBEX
        await save(unit_of_work, Changes(subscriptions=[moved], usage={InvoiceId("in_1"): []}), tenants=[GLOBEX])
        assert await tenant_reader.usage(GLOBEX, limit=9) == []

    async def test_moved_events_keep_what_became_of_them(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork
    ) -> None:
        """They are not due, and stand in the new tenant's timeline. Others stay in the former one's."""
        await save(unit_of_work, OBJECTS)
        claim, stays = [await claimed(inbox, provider_event(f"evt_{number}")) for number in (1, 2)]
        for each in (claim, stays):
            await settle(unit_of_work, applied(each, sequence=None))
        await self._transfer(unit_of_work, leaving(GLOBEX, claim.dispatch_id))
        assert await queue.claim(limit=9, lease=LONG) == []
        async with unit_of_work.transaction() as transaction:
            assert (await transaction.holdings(ACME)).events == [_event(stays.dispatch_id, "evt_2", None)]
            assert (await transaction.holdings(GLOBEX)).events == [_event(claim.dispatch_id, "evt_1", None)]

    async def test_the_new_tenant_gets_the_occasions_of_what_is_moved(self, unit_of_work: UnitOfWork) -> None:
        """The former one keeps its own, should the objects come back. Those of removed objects stay there."""
        keys = ["invoice.overdue:in_1:5", "subscription.trial_ending:sub_1:7", "invoice.upcoming:evt_1", "x:in_2:5"]
        news = [TenantOccasion(tenant_id=ACME, key=key, sequence=number) for number, key in enumerate(keys, start=1)]
        await save(unit_of_work, attrs.evolve(OBJECTS, occasions=news))
        await self._transfer(unit_of_work, leaving(None, occasions_of={"in_2"}))
        for _ in range(2):
            await self._transfer(unit_of_work, leaving(GLOBEX, occasions_of={"in_1", "sub_1", "evt_1"}))
        async with unit_of_work.transaction() as transaction:
            found = await transaction.occasions(tenants=[ACME, GLOBEX], keys=keys)
        assert sorted(found) == sorted([*((ACME, key) for key in keys), *((GLOBEX, key) for key in keys[:3])])

    async def test_a_transfer_that_is_rolled_back_moves_nothing(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader, log_rewrites: LogRewrites, history: MessageHistory
    ) -> None:
        """Neither one that moves nor one that removes."""
        await save(unit_of_work, attrs.evolve(OBJECTS, events=[message()]))
        before = await tenant_reader.state(ACME)
        for to in (GLOBEX, None):
            with pytest.raises(LookupError):
                await self._transfer(unit_of_work, leaving(to, withdrawn=[_withdrawn(1)]), failing=True)
        assert await tenant_reader.state(ACME) == before
        assert await history.events(ACME, after=0, limit=9) == [message()]
        assert await history.outdated_logs([ACME]) == []
        assert await log_rewrites.pending() == []

    # --- removing -----------------------------------------------------------------------------------------------

    async def test_what_is_removed_is_gone_and_the_rest_stays(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """Its ids are free for any tenant; the customer is known by its id only."""
        await save(unit_of_work, OBJECTS)
        await save(unit_of_work, Changes(customers=[customer("cus_2")]))
        await self._transfer(unit_of_work, leaving(None))
        assert [each.object_id for each in await tenant_reader.subscriptions(ACME)] == ["sub_2"]
        assert [each.object_id for each in await tenant_reader.invoices(ACME, limit=9)] == ["in_2"]
        assert await tenant_reader.usage(ACME, limit=9) == [usage("in_2", "il_2")]
        assert await tenant_reader.records(ACME, limit=9) == [record(PAYMENT)]
        async with unit_of_work.transaction() as transaction:
            found = await transaction.customers([CUSTOMER, CustomerId("cus_2")])
            assert found == {CUSTOMER: customer("cus_1", None), "cus_2": customer("cus_2")}
            assert await transaction.owners(["sub_1", "in_1", CHARGE.object_id]) == {}
        again = Changes(
            customers=[customer("cus_1", GLOBEX)],
            subscriptions=[subscription("sub_1", GLOBEX)],
            usage={InvoiceId("in_1"): [usage("in_1", "il_1", GLOBEX)]},
        )
        await save(unit_of_work, again, tenants=[GLOBEX])
        assert len(await tenant_reader.subscriptions(GLOBEX)) == 1

    async def test_events_of_removed_objects_are_due_as_if_they_were_new(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, invariants: InvariantLog
    ) -> None:
        """Dead ones stay dead and belong to no tenant; those being processed stay with their holder, others stay."""
        await save(unit_of_work, OBJECTS)
        claims = [await claimed(inbox, provider_event(f"evt_{number}")) for number in (1, 2, 3)]
        stays = await claimed(inbox, provider_event("evt_4"))
        for each in (claims[0], stays):
            await settle(unit_of_work, applied(each, sequence=None))
        await settle(
            unit_of_work,
            Outcome(claim=claims[1], disposition=Disposition.DEAD, reason="bug", error="boom", customer_id=CUSTOMER),
        )
        await self._transfer(unit_of_work, leaving(None, *(claim.dispatch_id for claim in claims[:2])))
        (again,) = await queue.claim(limit=9, lease=LONG)
        assert (again.event.event_id, again.applied, again.tries) == ("evt_1", False, 1)
        async with unit_of_work.transaction() as transaction:
            assert (await transaction.holdings(ACME)).events == [_event(stays.dispatch_id, "evt_4", None)]
            assert (await transaction.hold(claims[2:])).claims == claims[2:]
        assert await invariants.everything() == []

    # --- messages -----------------------------------------------------------------------------------------------

    async def test_withdrawn_messages_keep_their_numbers(
        self, unit_of_work: UnitOfWork, history: MessageHistory, outbox: Outbox
    ) -> None:
        """Others stay as they were; those that were published are not published again."""
        await save(unit_of_work, attrs.evolve(OBJECTS, events=messages(ACME, 1, 3)))
        await outbox.published(messages(ACME, 1, 2))
        await self._transfer(unit_of_work, leaving(GLOBEX, withdrawn=[_withdrawn(2)]))
        assert await history.events(ACME, after=0, limit=9) == [message(ACME, 1), _withdrawn(2), message(ACME, 3)]
        waiting = await outbox.unpublished(older_than=timedelta(0), limit=9)
        assert [entry.event.sequence for entry in waiting] == [3]

    async def test_a_log_is_due_to_be_replaced_once_the_withdrawn_messages_were_published(
        self, unit_of_work: UnitOfWork, history: MessageHistory, outbox: Outbox, log_rewrites: LogRewrites
    ) -> None:
        """A publisher may still hold them as they were. Until it is replaced, readers pass it over."""
        await save(unit_of_work, attrs.evolve(OBJECTS, events=messages(ACME, 1, 3)))
        await self._transfer(unit_of_work, leaving(GLOBEX, withdrawn=[_withdrawn(2)]))
        assert await history.outdated_logs([ACME, GLOBEX]) == [ACME]
        assert await history.outdated_logs([GLOBEX]) == []
        await outbox.published([message(ACME, 1)])
        assert await log_rewrites.pending() == []
        await outbox.published([message(ACME, 2)])
        (rewrite,) = await log_rewrites.pending()
        assert (rewrite.tenant_id, rewrite.until) == (ACME, 2)
        await log_rewrites.finish(attrs.evolve(rewrite, until=1))
        assert await log_rewrites.pending() == [rewrite]
        await log_rewrites.finish(rewrite)
        assert await log_rewrites.pending() == []
        assert await history.outdated_logs([ACME]) == []

    async def test_the_last_of_two_withdrawals_decides_when_the_log_is_replaced(
        self, unit_of_work: UnitOfWork, outbox: Outbox, log_rewrites: LogRewrites
    ) -> None:
        """In any order."""
        await save(unit_of_work, attrs.evolve(OBJECTS, events=messages(ACME, 1, 3)))
        for number in (3, 1):
            await self._transfer(unit_of_work, leaving(GLOBEX, withdrawn=[_withdrawn(number)]))
        await outbox.published(messages(ACME, 1, 3))
        assert [rewrite.until for rewrite in await log_rewrites.pending()] == [3]

    # --- locks --------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("to", [GLOBEX, None])
    @pytest.mark.parametrize("read", ["link", "owner"])
    async def test_a_link_that_was_read_before_the_lock_is_true_or_overtaken(
        self, unit_of_work: UnitOfWork, to: TenantId | None, read: str
    ) -> None:
        """Either of the two may get the lock first."""
        await save(unit_of_work, OBJECTS)
        begun = asyncio.Event()

        async def find() -> object:
            if read == "link":
                return (await transaction.customers([CUSTOMER]))[CUSTOMER].tenant_id
            return (await transaction.owners(["in_1"])).get("in_1")

        async def move() -> None:
            await begun.wait()
            await self._transfer(unit_of_work, leaving(to))

        moving = asyncio.create_task(move())
        async with unit_of_work.transaction() as transaction:
            before = await find()
            begun.set()
            await asyncio.sleep(0.1)
            locked = await transaction.lock_tenants([ACME])
            assert before == ACME
            assert locked.overtaken or await find() == ACME
        await moving
        async with unit_of_work.transaction() as transaction:
            assert await find() == to
            assert not (await transaction.lock_tenants([ACME, GLOBEX])).overtaken

    @pytest.mark.parametrize("read", ["link", "link beside claims", "owner"])
    async def test_what_left_before_the_reading_overtakes_nothing(self, unit_of_work: UnitOfWork, read: str) -> None:
        """However many parts of other tenants left, too."""
        await save(unit_of_work, OBJECTS)
        await save(unit_of_work, Changes(customers=[customer("cus_2")]))
        await self._transfer(unit_of_work, leaving(GLOBEX))
        stays = CustomerId("cus_2")
        async with unit_of_work.transaction() as transaction:
            if read == "link":
                assert (await transaction.customers([stays]))[stays].tenant_id == ACME
            elif read == "owner":
                assert await transaction.owners(["sub_2"]) == {"sub_2": ACME}
            else:
                assert (await transaction.hold([], customers=[stays])).customers == {stays: customer("cus_2")}
            assert not (await transaction.lock_tenants([ACME])).overtaken

    async def _transfer(self, unit_of_work: UnitOfWork, transfer: Transfer, *, failing: bool = False) -> None:
        async with unit_of_work.transaction() as transaction:
            await transaction.lock_events([ACME])
            await transaction.lock_customers(list(transfer.customers))
            await transaction.lock_tenants(_known([ACME, transfer.to_tenant]))
            await transaction.transfer(transfer)
            if failing:
                raise LookupError


def _known(tenants: Collection[TenantId | None]) -> list[TenantId]:
    return [tenant_id for tenant_id in tenants if tenant_id is not None]


def _withdrawn(number: int) -> BillingEvent:
    return message(ACME, number, event_type="withdrawn", event_id=None, payload='{"withdrawn":true}')


def _event(
    dispatch_id: int, event_id: str, customer_id: CustomerId | None, *, applied: bool = True, body_kept: bool = True
) -> TenantEvent:
    return TenantEvent(
        dispatch_id=dispatch_id,
        key=EventKey(event_id=EventId(event_id), livemode=False),
        customer_id=customer_id,
        applied=applied,
        body_kept=body_kept,
    )
