"""What every Repository must do. Bind it by subclassing `BillingRepositoryContract`; see its fixtures."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import timedelta

import attrs
import pytest

from billing_core.errors import TenantConflictError
from billing_core.events import Claim, Disposition, Effect, Outcome
from billing_core.model import (
    DELETED,
    CustomerId,
    EventId,
    InvoiceId,
    ItemId,
    PriceId,
    SubscriptionId,
    SubscriptionInvoice,
    TenantId,
    TenantState,
)
from billing_core.state.ports import BillingTransaction, Changes
from billing_core.testing.builders import (
    ACME,
    AT,
    GLOBEX,
    customer,
    invoice,
    item,
    line,
    message,
    messages,
    month,
    provenance,
    provider_event,
    subscription,
    usage,
)
from billing_core.testing.store import LEASE, LONG, Elapse
from billing_core.testing.stores import Inbox, Repository

CUSTOMER = CustomerId("cus_1")
SUBSCRIPTION = SubscriptionId("sub_1")
INVOICE = InvoiceId("in_1")
HOSTILE = 'Zoë’s "plan" \'); DROP TABLE tenant_subscriptions; -- \\ \t\n {a,b} NULL \u2028 日本 💶'
LARGEST = 2**63 - 1


async def save(repository: Repository, changes: Changes, *, tenants: Collection[TenantId] = (ACME,)) -> None:
    """Write changes as the service does: everything locked first, in the order of locks."""
    async with repository.transaction() as transaction:
        await transaction.lock_customers([each.customer_id for each in changes.customers])
        await transaction.lock_tenants(tenants)
        await transaction.save(changes)


async def park(store: Inbox, repository: Repository, event_id: str, *, on: CustomerId = CUSTOMER) -> None:
    """Record an event and park it."""
    claim = await _claimed(store, event_id)
    async with repository.transaction() as transaction:
        assert await transaction.hold([claim]) == [claim]
        await transaction.lock_customers([on])
        await transaction.settle([parked(claim, on)])


def parked(claim: Claim, on: CustomerId = CUSTOMER) -> Outcome:
    """The outcome of an event whose customer has no tenant yet."""
    return Outcome(claim=claim, disposition=Disposition.PARKED, reason="unmapped_customer", parked_on=on)


def applied(claim: Claim) -> Outcome:
    """The outcome of an event that changed something."""
    return Outcome(claim=claim, disposition=Disposition.APPLIED, effect=Effect.CHANGED, tenant_id=ACME, sequence=1)


async def _claimed(store: Inbox, event_id: str, lease: timedelta = LONG) -> Claim:
    receipt = await store.record(provider_event(event_id), lease=lease)
    assert receipt.claim is not None
    return receipt.claim


async def _due(store: Inbox) -> Sequence[str]:
    return sorted(claim.event.event_id for claim in await store.claim(limit=100, lease=LONG))


class BillingRepositoryContract:
    """One unit of work at a time per tenant, gapless numbers, and nobody's data in anybody else's hands.

    A binding gives three fixtures: `repository` and `store`, empty and on the same database, and `elapse`, which lets a
    span of their time pass.
    """

    # --- what is written is what is read ------------------------------------------------------------------------

    async def test_an_unknown_tenant_is_empty(self, repository: Repository) -> None:
        """Reading creates nothing and finds nothing."""
        assert await repository.state(ACME) == TenantState(
            tenant_id=ACME, sequence=0, subscriptions=(), invoices=(), usage=()
        )
        assert await repository.sequence(ACME) == 0
        assert await repository.events(ACME, after=0, limit=10) == []

    async def test_a_subscription_survives_in_every_field(self, repository: Repository) -> None:
        """What is read back equals what was saved, with nothing and with everything filled in."""
        full = subscription(
            "sub_full",
            customer_id=CustomerId(HOSTILE),
            status="some_status_of_2031",
            items=(
                item(
                    "si_1",
                    product_id="prod_1",
                    lookup_key=HOSTILE,
                    usage_type="metered",
                    quantity=None,
                    feature_key="api_calls",
                ),
                item("si_2", quantity=LARGEST, period=None),
            ),
            cancel_at_period_end=True,
            cancel_at=AT,
            canceled_at=AT + timedelta(microseconds=1),
            ended_at=AT,
            trial_ends_at=AT,
            collection_paused=True,
            seat_count=LARGEST,
            plan_code=HOSTILE,
            basis=provenance("evt_2", "evt_1", ambiguous=True),
        )
        bare = subscription(
            "sub_bare",
            items=(),
            currency=None,
            plan_code=None,
            price_id=None,
            seat_count=None,
            collection_method=None,
        )
        full = attrs.evolve(full, metered_prices={PriceId("price_gone"): HOSTILE, PriceId(HOSTILE): "api_calls"})
        await save(repository, Changes(subscriptions=[full, bare]))
        assert await repository.subscriptions(ACME) == [full, bare]

    async def test_an_invoice_survives_in_every_field(self, repository: Repository) -> None:
        """Amounts up to 64 bits, credits below zero, lines in their order, text as it is."""
        full = invoice(
            "in_full",
            number=HOSTILE,
            amount_due=LARGEST,
            amount_paid=-LARGEST,
            amount_remaining=1,
            total=LARGEST,
            tax=-1,
            billing_reason="subscription_cycle",
            collection_method="send_invoice",
            hosted_invoice_url="https://invoice.example/i?a=1&b='2'",
            due_at=AT,
            paid_at=AT + timedelta(microseconds=1),
            attempt_count=4,
            next_payment_attempt_at=AT,
            lines=(
                line(
                    "il_1",
                    -LARGEST,
                    quantity=LARGEST,
                    price_id=PriceId("price_1"),
                    subscription_item_id=ItemId("si_1"),
                    usage_type="metered",
                    feature_key="api_calls",
                    proration=True,
                    description=HOSTILE,
                ),
                line("il_2", 0, period=None),
            ),
            lines_complete=False,
            basis=provenance("evt_2", "evt_1", ambiguous=True),
        )
        bare = invoice("in_bare", customer_id=None, subscription_id=None, period=None, lines=())
        await save(repository, Changes(invoices=[full, bare]))
        assert await repository.invoices(ACME, limit=10) == [full, bare]

    async def test_usage_survives_in_every_field(self, repository: Repository) -> None:
        """So do records without a subscription or a period."""
        full = usage("in_1", "il_1", feature_key=HOSTILE, quantity=LARGEST, amount=-LARGEST)
        bare = usage("in_1", "il_2", subscription_id=None, period=None)
        await save(repository, Changes(usage={INVOICE: [full, bare]}))
        assert await repository.usage(ACME, limit=10) == [full, bare]

    async def test_a_message_survives_in_every_field(self, repository: Repository) -> None:
        """The payload goes to clients verbatim: spaces, escapes and key order included."""
        sent = message(payload='{"b": 1,  "a":"\\u2028 💶 Zo\\u00eb", "n": 1.50, "a": 2}', event_type=HOSTILE)
        await save(repository, Changes(events=[sent]))
        assert await repository.events(ACME, after=0, limit=10) == [sent]

    async def test_what_was_told_is_found_by_the_event_it_follows_from(self, repository: Repository) -> None:
        """Of several tenants at once; an event that nobody was told of is left out."""
        mine, theirs = message(event_id="evt_1"), message(tenant_id=GLOBEX, event_id="evt_2")
        await save(repository, Changes(events=[mine, theirs]), tenants=(ACME, GLOBEX))
        async with repository.transaction() as transaction:
            found = await transaction.notified([EventId("evt_1"), EventId("evt_2"), EventId("evt_3")])
            assert sorted(found) == [(ACME, "evt_1"), (GLOBEX, "evt_2")]
            assert list(await transaction.notified([EventId("evt_2")])) == [(GLOBEX, "evt_2")]

    async def test_a_customer_survives_in_every_field(self, repository: Repository) -> None:
        """With and without a snapshot of its own, linked or not."""
        known = [
            customer("cus_1", ACME, email="a@b.example", name=HOSTILE, delinquent=True, deleted=True),
            customer("cus_2", None, email=None),
            customer("cus_3", ACME),
        ]
        await save(repository, Changes(customers=known))
        async with repository.transaction() as transaction:
            ids = [each.customer_id for each in known]
            assert await transaction.customers([*ids, CustomerId("cus_unknown")]) == dict(zip(ids, known, strict=True))

    async def test_an_event_can_be_read_again_by_its_key(self, repository: Repository, store: Inbox) -> None:
        """Deciding a tie takes all its members; an id of another account or mode is another event."""
        sent = [provider_event("evt_1"), provider_event("evt_1", account="acct_1"), provider_event("evt_2")]
        for event in sent:
            await store.record(event)
        absent = provider_event("evt_2", livemode=True)
        async with repository.transaction() as transaction:
            found = await transaction.stored_events([event.key for event in [*sent[1:], absent]])
            assert sorted(found, key=lambda event: event.event_id) == sent[1:]
            assert await transaction.stored_events([]) == []

    # --- saving again -------------------------------------------------------------------------------------------

    async def test_saving_twice_equals_saving_once(self, repository: Repository) -> None:
        """Values are absolute: nothing is added up."""
        changes = Changes(
            customers=[customer()], subscriptions=[subscription()], invoices=[invoice()], usage={INVOICE: [usage()]}
        )
        await save(repository, changes)
        once = await repository.state(ACME)
        await save(repository, changes)
        assert await repository.state(ACME) == once

    async def test_the_last_value_of_an_object_counts(self, repository: Repository) -> None:
        """Also within one save."""
        await save(repository, Changes(subscriptions=[subscription(seat_count=1), subscription(seat_count=2)]))
        assert [each.snapshot.seat_count for each in await repository.subscriptions(ACME)] == [2]

    async def test_items_are_replaced_as_a_whole(self, repository: Repository) -> None:
        """Those that are gone are gone, and other subscriptions keep theirs."""
        await save(
            repository,
            Changes(subscriptions=[subscription("sub_1", items=(item("si_1"), item("si_2"))), subscription("sub_2")]),
        )
        changed = subscription("sub_1", items=(item("si_2", quantity=9), item("si_3")))
        await save(repository, Changes(subscriptions=[changed]))
        found = {each.snapshot.subscription_id: each for each in await repository.subscriptions(ACME)}
        assert found == {"sub_1": changed, "sub_2": subscription("sub_2")}
        without = subscription("sub_1", items=())
        await save(repository, Changes(subscriptions=[without]))
        assert without in await repository.subscriptions(ACME)

    async def test_usage_is_replaced_per_invoice(self, repository: Repository) -> None:
        """An invoice that is voided takes its usage along, and no other invoice's."""
        kept = usage("in_2", "il_1")
        await save(
            repository,
            Changes(usage={INVOICE: [usage("in_1", "il_1"), usage("in_1", "il_2")], InvoiceId("in_2"): [kept]}),
        )
        changed = usage("in_1", "il_2", quantity=7)
        await save(repository, Changes(usage={INVOICE: [changed]}))
        assert await repository.usage(ACME, limit=10) == [kept, changed]
        async with repository.transaction() as transaction:
            stored = await transaction.usage({INVOICE, InvoiceId("in_9")})
            assert {id_: list(found) for id_, found in stored.items()} == {INVOICE: [changed], "in_9": []}
        await save(repository, Changes(usage={INVOICE: []}))
        assert await repository.usage(ACME, limit=10) == [kept]

    async def test_saving_nothing_is_harmless(self, repository: Repository) -> None:
        """So is asking for nothing."""
        async with repository.transaction() as transaction:
            assert await transaction.hold([]) == []
            assert await transaction.lock_customers([]) == {}
            assert await transaction.lock_tenants([]) == {}
            assert await transaction.customers([]) == {}
            assert await transaction.subscriptions(tenants=[], ids=[]) == []
            assert await transaction.invoices() == []
            await transaction.save(Changes())
            await transaction.settle([])

    # --- all or nothing -----------------------------------------------------------------------------------------

    async def test_an_exception_leaves_no_trace(self, repository: Repository, store: Inbox) -> None:
        """Nothing saved or settled inside a failed unit of work is visible afterwards, and its numbers are free."""
        claim = await _claimed(store, "evt_1", LONG)
        with pytest.raises(LookupError):  # noqa: PT012 - the block is what fails
            async with repository.transaction() as transaction:
                await transaction.hold([claim])
                await transaction.lock_customers([CUSTOMER])
                await transaction.lock_tenants([ACME])
                await transaction.save(
                    Changes(
                        customers=[customer()],
                        subscriptions=[subscription()],
                        invoices=[invoice()],
                        usage={INVOICE: [usage()]},
                        events=[message()],
                    )
                )
                await transaction.settle([applied(claim)])
                raise LookupError
        assert await repository.state(ACME) == TenantState(
            tenant_id=ACME, sequence=0, subscriptions=(), invoices=(), usage=()
        )
        assert await repository.events(ACME, after=0, limit=10) == []
        assert await store.bury(claim, reason="unexpected", error="still ours")
        async with repository.transaction() as transaction:
            assert await transaction.customers([CUSTOMER]) == {}

    async def test_nothing_is_visible_before_the_end(self, repository: Repository) -> None:
        """Readers see the state before or the state after, never between."""
        async with repository.transaction() as transaction:
            await transaction.lock_tenants([ACME])
            await transaction.save(Changes(subscriptions=[subscription()], events=[message()]))
            assert (await repository.state(ACME)).subscriptions == ()
            assert await repository.sequence(ACME) == 0
        assert (await repository.state(ACME)).subscriptions == (subscription(),)
        assert await repository.sequence(ACME) == 1

    async def test_a_unit_of_work_sees_what_it_wrote(self, repository: Repository) -> None:
        """Folding goes on from there."""
        async with repository.transaction() as transaction:
            await transaction.lock_customers([CUSTOMER])
            assert await transaction.lock_tenants([ACME]) == {ACME: 0}
            await transaction.save(Changes(customers=[customer()], subscriptions=[subscription()], events=[message()]))
            assert await transaction.subscriptions(tenants=[ACME], ids=[]) == [subscription()]
            assert await transaction.customers([CUSTOMER]) == {CUSTOMER: customer()}
            assert await transaction.lock_tenants([ACME]) == {ACME: 1}

    async def test_state_is_read_at_one_instant(self, repository: Repository) -> None:
        """While a writer is at work, the number a reader gets always belongs to the state it gets."""

        async def write() -> None:
            for number in range(1, 41):
                await save(
                    repository,
                    Changes(
                        subscriptions=[subscription(seat_count=number)],
                        invoices=[invoice(amount_remaining=number)],
                        events=[message(ACME, number)],
                    ),
                )

        writer = asyncio.create_task(write())
        while not writer.done():
            state = await repository.state(ACME)
            if state.sequence:
                assert [each.snapshot.seat_count for each in state.subscriptions] == [state.sequence]
                assert [each.snapshot.amount_remaining for each in state.invoices] == [state.sequence]
            await asyncio.sleep(0)
        await writer

    # --- numbers ------------------------------------------------------------------------------------------------

    async def test_numbers_are_gapless_under_concurrency(self, repository: Repository) -> None:
        """Units of work that fail in between leave no hole, those that succeed never share a number."""

        async def one(attempt: int) -> None:
            async with repository.transaction() as transaction:
                last = (await transaction.lock_tenants([ACME]))[ACME]
                await transaction.save(Changes(events=messages(ACME, last + 1, last + 2)))
                await asyncio.sleep(0)
                if attempt % 3 == 0:
                    raise LookupError

        results = await asyncio.gather(*(one(attempt) for attempt in range(30)), return_exceptions=True)
        assert sum(isinstance(result, LookupError) for result in results) == 10
        assert sum(result is None for result in results) == 20
        assert await repository.sequence(ACME) == 40
        assert await repository.sequences([ACME, TenantId("nobody")]) == {ACME: 40}
        assert await repository.events(ACME, after=0, limit=100) == messages(ACME, 1, 40)

    @pytest.mark.parametrize("first", [1, 3])
    async def test_messages_must_continue_the_counter(self, repository: Repository, first: int) -> None:
        """A number that is taken or ahead is a bug in the caller, and nothing of it is kept."""
        await save(repository, Changes(events=[message(ACME, 1)]))
        with pytest.raises(ValueError, match="continue the counters"):
            await save(repository, Changes(events=messages(ACME, first, first + 1)))
        assert await repository.events(ACME, after=0, limit=10) == [message(ACME, 1)]

    async def test_messages_must_not_leave_a_gap(self, repository: Repository) -> None:
        """Neither within one save."""
        with pytest.raises(ValueError, match="follows number 1"):
            await save(repository, Changes(events=[message(ACME, 1), message(ACME, 3)]))
        assert await repository.sequence(ACME) == 0

    async def test_history_is_read_in_pages(self, repository: Repository) -> None:
        """Strictly above `after`, lowest first, at most `limit`."""
        await save(repository, Changes(events=messages(ACME, 1, 12)))
        assert await repository.events(ACME, after=9, limit=2) == messages(ACME, 10, 11)
        assert await repository.events(ACME, after=11, limit=10) == messages(ACME, 12, 12)
        assert await repository.events(ACME, after=12, limit=10) == []
        assert await repository.events(ACME, after=10**15, limit=10) == []

    # --- reading for the tenant ---------------------------------------------------------------------------------

    async def test_state_holds_what_is_owed_oldest_first(self, repository: Repository) -> None:
        """Drafts, paid, void and deleted invoices are not owed; unknown statuses are, while something remains."""
        owed = [
            invoice("in_3", period=month(1)),
            invoice("in_2", period=month(2), status="uncollectible"),
            invoice("in_1", period=month(3), status="some_status_of_2031"),
        ]
        others = [invoice(f"in_{status}", status=status) for status in ("draft", "paid", "void", DELETED)]
        await save(repository, Changes(invoices=[*others, *reversed(owed), invoice("in_zero", amount_remaining=0)]))
        assert list((await repository.state(ACME)).invoices) == owed

    async def test_invoices_come_newest_first_without_deleted_drafts(self, repository: Repository) -> None:
        """Those without a period come last; equal ones by id, so that pages are stable."""
        stored = [
            invoice("in_1", period=month(3)),
            invoice("in_3", period=month(2), status="draft"),
            invoice("in_2", period=month(2)),
            invoice("in_0", period=None),
        ]
        await save(repository, Changes(invoices=[*stored[::-1], invoice("in_9", status=DELETED)]))
        assert await repository.invoices(ACME, limit=10) == stored
        assert await repository.invoices(ACME, limit=3) == stored[:3]

    async def test_subscriptions_come_newest_period_first(self, repository: Repository) -> None:
        """Ended ones too, in the state as in the list."""
        stored = [
            subscription("sub_1", items=(item(period=month(3)),)),
            subscription("sub_3", items=(item(period=month(2)),), status="canceled"),
            subscription("sub_2", items=(item(period=month(2)),)),
            subscription("sub_0", items=()),
        ]
        await save(repository, Changes(subscriptions=stored[::-1]))
        assert await repository.subscriptions(ACME) == stored
        assert list((await repository.state(ACME)).subscriptions) == stored

    async def test_state_holds_the_two_newest_periods_of_usage(self, repository: Repository) -> None:
        """Counted for each feature of each subscription, so that slow ones are not crowded out by fast ones."""
        calls = [usage(f"in_{number}", "il_1", period=month(number)) for number in (1, 2, 3)]
        second_line = usage("in_2", "il_2", period=month(2))
        yearly = usage("in_1", "il_9", feature_key="storage", period=month(1))
        elsewhere = usage("in_1", "il_8", subscription_id=SubscriptionId("sub_2"), period=month(1))
        everything = [*calls, second_line, yearly, elsewhere]
        by_invoice = {
            InvoiceId(f"in_{number}"): [each for each in everything if each.invoice_id == f"in_{number}"]
            for number in (1, 2, 3)
        }
        await save(repository, Changes(usage=by_invoice))
        assert list((await repository.state(ACME)).usage) == [calls[2], second_line, calls[1], yearly, elsewhere]
        assert await repository.usage(ACME, limit=4) == [calls[2], second_line, calls[1], yearly]

    # --- reading inside a unit of work --------------------------------------------------------------------------

    async def test_subscriptions_are_found_by_tenant_and_by_id(self, repository: Repository) -> None:
        """Ids are found whoever has them: that is how a foreign object is noticed."""
        mine, ended = subscription("sub_1"), subscription("sub_2", status="canceled")
        foreign = subscription("sub_3", GLOBEX)
        await save(repository, Changes(subscriptions=[mine, ended, foreign]), tenants=[ACME, GLOBEX])

        async def find(transaction: BillingTransaction, tenants: list[TenantId], ids: list[str]) -> set[str]:
            found = await transaction.subscriptions(tenants=tenants, ids=list(map(SubscriptionId, ids)))
            assert len({each.snapshot.subscription_id for each in found}) == len(found)
            return {each.snapshot.subscription_id for each in found}

        async with repository.transaction() as transaction:
            assert await find(transaction, [ACME], []) == {"sub_1", "sub_2"}
            assert await find(transaction, [ACME], ["sub_1", "sub_3", "sub_9"]) == {"sub_1", "sub_2", "sub_3"}
            assert await find(transaction, [], ["sub_2"]) == {"sub_2"}

    async def test_invoices_are_found_by_id_and_by_subscription(self, repository: Repository) -> None:
        """Tombstones too: they keep a late snapshot from bringing a draft back."""
        stored = [
            invoice("in_1", status=DELETED),
            invoice("in_2", GLOBEX, subscription_id=SubscriptionId("sub_2")),
            invoice("in_3", subscription_id=None),
        ]
        await save(repository, Changes(invoices=stored), tenants=[ACME, GLOBEX])

        def by_id(found: Sequence[SubscriptionInvoice]) -> list[SubscriptionInvoice]:
            return sorted(found, key=lambda each: each.snapshot.invoice_id)

        async with repository.transaction() as transaction:
            assert by_id(await transaction.invoices(subscriptions=[SUBSCRIPTION])) == stored[:1]
            both = await transaction.invoices(ids=[INVOICE, InvoiceId("in_3")], subscriptions=[SUBSCRIPTION])
            assert by_id(both) == [stored[0], stored[2]]

    async def test_locking_creates_what_is_unknown(self, repository: Repository) -> None:
        """A customer starts without a tenant, a tenant with number 0; what is known stays as it is."""
        await save(repository, Changes(customers=[customer("cus_2")], events=[message()]))
        async with repository.transaction() as transaction:
            assert await transaction.lock_customers([CustomerId("cus_2"), CUSTOMER, CUSTOMER]) == {
                "cus_1": customer("cus_1", None),
                "cus_2": customer("cus_2"),
            }
            assert await transaction.lock_tenants([GLOBEX, ACME, GLOBEX]) == {ACME: 1, GLOBEX: 0}

    # --- whose it is --------------------------------------------------------------------------------------------

    async def test_tenants_never_see_each_other(self, repository: Repository) -> None:
        """Every read answers for one tenant."""
        for tenant, suffix in ((ACME, "a"), (GLOBEX, "g")):
            await save(
                repository,
                Changes(
                    customers=[customer(f"cus_{suffix}", tenant)],
                    subscriptions=[subscription(f"sub_{suffix}", tenant)],
                    invoices=[invoice(f"in_{suffix}", tenant)],
                    usage={InvoiceId(f"in_{suffix}"): [usage(f"in_{suffix}", "il_1", tenant)]},
                    events=[message(tenant, 1)],
                ),
                tenants=[tenant],
            )
        state = await repository.state(ACME)
        assert state == TenantState(
            tenant_id=ACME,
            sequence=1,
            subscriptions=(subscription("sub_a"),),
            invoices=(invoice("in_a"),),
            usage=(usage("in_a", "il_1"),),
        )
        assert await repository.subscriptions(ACME) == [subscription("sub_a")]
        assert await repository.invoices(ACME, limit=10) == [invoice("in_a")]
        assert await repository.usage(ACME, limit=10) == [usage("in_a", "il_1")]
        assert await repository.events(ACME, after=0, limit=10) == [message(ACME, 1)]

    @pytest.mark.parametrize("what", ["subscription", "invoice", "usage", "customer"])
    async def test_an_object_of_another_tenant_is_never_overwritten(self, repository: Repository, what: str) -> None:
        """Whatever an event claims; and nothing else of that unit of work is kept either."""

        def changes(tenant: TenantId, seats: int) -> Changes:
            return {
                "subscription": Changes(subscriptions=[subscription("sub_1", tenant, seat_count=seats)]),
                "invoice": Changes(invoices=[invoice("in_1", tenant, attempt_count=seats)]),
                "usage": Changes(usage={INVOICE: [usage("in_1", "il_1", tenant, quantity=seats)]}),
                "customer": Changes(customers=[customer("cus_1", tenant, name=str(seats))]),
            }[what]

        await save(repository, changes(GLOBEX, 1), tenants=[GLOBEX])
        before = await repository.state(GLOBEX)
        with pytest.raises(TenantConflictError):
            await save(repository, attrs.evolve(changes(ACME, 2), events=[message()]))
        assert await repository.state(GLOBEX) == before
        assert (await repository.state(ACME)).sequence == 0
        async with repository.transaction() as transaction:
            customers = await transaction.customers([CUSTOMER])
        assert all(each.tenant_id == GLOBEX for each in customers.values())

    async def test_a_link_survives_a_save_without_one(self, repository: Repository) -> None:
        """Whoever does not know the tenant cannot take the customer away from it."""
        await save(repository, Changes(customers=[customer("cus_1", ACME)]))
        await save(repository, Changes(customers=[customer("cus_1", None, name="Zoë")]))
        async with repository.transaction() as transaction:
            assert await transaction.customers([CUSTOMER]) == {CUSTOMER: customer("cus_1", ACME, name="Zoë")}

    # --- claims -------------------------------------------------------------------------------------------------

    async def test_held_claims_are_settled_with_the_changes(
        self, repository: Repository, store: Inbox, elapse: Elapse
    ) -> None:
        """An applied event is done: no later claim, retry or delivery brings it back."""
        claim = await _claimed(store, "evt_1", LEASE)
        async with repository.transaction() as transaction:
            assert await transaction.hold([claim]) == [claim]
            await transaction.lock_tenants([ACME])
            await transaction.save(Changes(events=[message()]))
            await transaction.settle([applied(claim)])
        await elapse(LEASE)
        assert await _due(store) == []
        assert not await store.retry(claim, after=timedelta(0), reason="unexpected", error="late")

    async def test_holding_drops_lost_claims(self, repository: Repository, store: Inbox, elapse: Elapse) -> None:
        """What somebody else has taken over, given back or finished is not ours to settle."""
        lost, buried = [await _claimed(store, f"evt_{number}", LEASE) for number in range(2)]
        kept, released = [await _claimed(store, f"evt_{number}", LONG) for number in range(2, 4)]
        await store.bury(buried, reason="unexpected", error="boom")
        await elapse(LEASE)
        await store.claim(limit=10, lease=LONG)
        await store.release([released])
        async with repository.transaction() as transaction:
            assert await transaction.hold([lost, kept, buried, released]) == [kept]
            with pytest.raises(ValueError, match="only held claims"):
                await transaction.settle([applied(kept), applied(lost)])

    async def test_a_claim_outlives_its_lease_while_it_is_held(
        self, repository: Repository, store: Inbox, elapse: Elapse
    ) -> None:
        """Nobody takes over what is about to be committed."""
        claim = await _claimed(store, "evt_1", LEASE)
        async with repository.transaction() as transaction:
            await transaction.hold([claim])
            await elapse(LEASE)
            assert await _due(store) == []
            await transaction.settle([applied(claim)])
        assert await _due(store) == []

    async def test_a_claim_held_twice_is_applied_once(self, repository: Repository, store: Inbox) -> None:
        """Of two units of work with one claim, the second finds it gone."""
        claim = await _claimed(store, "evt_1", LONG)

        async def apply() -> bool:
            async with repository.transaction() as transaction:
                if not await transaction.hold([claim]):
                    return False
                last = (await transaction.lock_tenants([ACME]))[ACME]
                await transaction.save(Changes(events=[message(ACME, last + 1)]))
                await transaction.settle([applied(claim)])
                return True

        assert sorted(await asyncio.gather(apply(), apply(), apply())) == [False, False, True]
        assert await repository.sequence(ACME) == 1

    async def test_taking_gets_whatever_nobody_works_on(self, repository: Repository, store: Inbox) -> None:
        """An event that is over can be settled again in the unit of work; rolled back, it is as it was."""
        over, worked_on = await _claimed(store, "evt_1"), await _claimed(store, "evt_2")
        await store.bury(over, reason="bug", error="boom")
        stale = attrs.evolve(over, attempt=over.attempt - 1)
        with suppress(ZeroDivisionError):
            async with repository.transaction() as transaction:
                assert await transaction.take([stale]) == []
                assert await transaction.take([over, worked_on]) == [over]
                await transaction.settle([parked(over)])
                raise ZeroDivisionError
        backlog = await store.backlog()
        assert (backlog.parked, dict(backlog.dead)) == (0, {"bug": 1})
        async with repository.transaction() as transaction:
            assert await transaction.hold([over, worked_on]) == [worked_on]

    # --- the car park -------------------------------------------------------------------------------------------

    async def test_parked_events_wait_for_their_customers_tenant(self, repository: Repository, store: Inbox) -> None:
        """The first link makes them due, and only those of that customer."""
        await park(store, repository, "evt_1")
        await park(store, repository, "evt_2")
        await park(store, repository, "evt_3", on=CustomerId("cus_2"))
        assert await _due(store) == []
        await save(repository, Changes(customers=[customer("cus_1", None, name="Zoë")]))
        assert await _due(store) == []
        await save(repository, Changes(customers=[customer("cus_1", ACME)]))
        assert await _due(store) == ["evt_1", "evt_2"]

    async def test_a_link_that_fails_unparks_nothing(self, repository: Repository, store: Inbox) -> None:
        """Leaving the car park is part of the unit of work."""
        await park(store, repository, "evt_1")
        with pytest.raises(LookupError):  # noqa: PT012 - the block is what fails
            async with repository.transaction() as transaction:
                await transaction.lock_customers([CUSTOMER])
                await transaction.lock_tenants([ACME])
                await transaction.save(Changes(customers=[customer()]))
                raise LookupError
        assert await _due(store) == []

    async def test_an_event_does_not_park_on_a_linked_customer(self, repository: Repository, store: Inbox) -> None:
        """Two events of a batch may be the one that waits and the one it waits for."""
        claim = await _claimed(store, "evt_1", LONG)
        async with repository.transaction() as transaction:
            await transaction.hold([claim])
            await transaction.lock_customers([CUSTOMER])
            await transaction.lock_tenants([ACME])
            await transaction.save(Changes(customers=[customer()]))
            await transaction.settle([parked(claim)])
        assert await _due(store) == ["evt_1"]

    @pytest.mark.parametrize("first", ["park", "link"])
    async def test_no_event_is_left_behind_by_a_link_made_meanwhile(
        self, repository: Repository, store: Inbox, first: str
    ) -> None:
        """Whichever of the two locks the customer first, the event ends up due."""
        claim = await _claimed(store, "evt_1", LONG)
        begun = asyncio.Event()

        async def park_it() -> None:
            async with repository.transaction() as transaction:
                await transaction.hold([claim])
                known = await transaction.lock_customers([CUSTOMER])
                begun.set()
                await asyncio.sleep(0.05)
                if known[CUSTOMER].tenant_id is None:
                    await transaction.settle([parked(claim)])
                else:
                    await transaction.settle([attrs.evolve(applied(claim), disposition=Disposition.DUE)])

        async def link_it() -> None:
            async with repository.transaction() as transaction:
                await transaction.lock_customers([CUSTOMER])
                begun.set()
                await transaction.lock_tenants([ACME])
                await asyncio.sleep(0.05)
                await transaction.save(Changes(customers=[customer()]))

        steps = [park_it, link_it] if first == "park" else [link_it, park_it]
        leading = asyncio.create_task(steps[0]())
        await begun.wait()
        await asyncio.gather(leading, steps[1]())
        assert await _due(store) == ["evt_1"]

    # --- at the same time ---------------------------------------------------------------------------------------

    async def test_overlapping_units_of_work_do_not_deadlock(self, repository: Repository, store: Inbox) -> None:
        """Each names the same claims, customers and tenants in an order of its own."""
        names = [f"{number}" for number in range(6)]
        claims = [await _claimed(store, f"evt_{name}", LONG) for name in names]

        async def work(shift: int) -> None:
            order = names[shift:] + names[:shift]
            async with repository.transaction() as transaction:
                await transaction.hold([claims[names.index(name)] for name in order])
                await transaction.lock_customers([CustomerId(f"cus_{name}") for name in order])
                counters = await transaction.lock_tenants([TenantId(name) for name in order])
                await asyncio.sleep(0)
                await transaction.save(Changes(events=[message(TenantId(n), counters[TenantId(n)] + 1) for n in order]))

        await asyncio.gather(*(work(shift) for shift in [*range(6), *range(6)]))
        assert [await repository.sequence(TenantId(name)) for name in names] == [12] * 6

    async def test_customers_and_tenants_can_be_created_by_everybody_at_once(self, repository: Repository) -> None:
        """All get the same rows."""

        async def lock(shift: int) -> int:
            async with repository.transaction() as transaction:
                ids = [CustomerId(f"cus_{(number + 20 * shift) % 200}") for number in range(200)]
                found = await transaction.lock_customers(ids)
                counters = await transaction.lock_tenants([TenantId(each) for each in ids])
                assert set(found) == set(ids)
                assert set(counters.values()) == {0}
                return len(found)

        assert await asyncio.gather(*(lock(shift) for shift in range(10))) == [200] * 10
