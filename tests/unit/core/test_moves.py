"""Customers and subscriptions that an operator gives to another tenant, or takes away from one."""

import json
from datetime import timedelta
from functools import partial

import attrs
import pytest
from tests.unit.core.conftest import ACME, ALICE, AT, BOB, GLOBEX, Loop, customer, invoice, line, metered, subscription

from billing_core.errors import LinkChangedError, LinkRefusedError
from billing_core.events import Disposition, Notice, ProviderEvent, Translation
from billing_core.model import (
    ChargeSnapshot,
    DisputeSnapshot,
    EntitlementsSnapshot,
    InvoiceId,
    PaymentSnapshot,
    RefundSnapshot,
    SubscriptionId,
    TenantId,
    TenantRules,
)
from billing_core.state.relinking import LinkChange

INITECH = TenantId("initech")


def paid(name: str = "1") -> PaymentSnapshot:
    """Build the payment of an invoice, which names no customer."""
    return PaymentSnapshot(
        payment_id=f"pi_{name}", invoice_id=InvoiceId(f"in_{name}"), amount_paid=1900, currency="usd", status="paid"
    )


def _names(loop: Loop, event_id: str, shown: object, *about: str) -> ProviderEvent:
    says = Translation(about=about, snapshots=(shown,))  # type: ignore[arg-type]
    return loop.provider.event(event_id, says, at=AT + timedelta(seconds=9))


def history_of_alice(loop: Loop) -> list[ProviderEvent]:
    """Return events of every kind of object that one customer can have."""
    metering = subscription(items=(metered(),))
    charge = ChargeSnapshot(charge_id="ch_1", payment_id="pi_1", amount=1900, amount_refunded=0, currency="usd")
    refund = RefundSnapshot(refund_id="re_1", payment_id="pi_1", amount=5, currency="usd", status="succeeded")
    dispute = DisputeSnapshot(dispute_id="dp_1", charge_id="ch_1", amount=5, currency="usd", status="needs_response")
    entitled = EntitlementsSnapshot(customer_id=ALICE, features=("exports",))
    return [
        loop.says(customer(name="Alice"), at=0),
        loop.says(metering, at=1),
        loop.says(invoice(lines=(line(),)), at=2, tenant=None),
        _names(loop, "evt_payment", paid(), "in_1"),
        loop.provider.event(
            "evt_charge", Translation(customer_id=ALICE, snapshots=(charge,)), at=AT + timedelta(seconds=8)
        ),
        _names(loop, "evt_refund", refund, "pi_1"),
        _names(loop, "evt_dispute", dispute, "ch_1"),
        loop.provider.event("evt_features", Translation(customer_id=ALICE, snapshots=(entitled,)), at=AT),
    ]


def history_of_bob(loop: Loop) -> list[ProviderEvent]:
    """Return the events of another customer of the same tenant."""
    return [
        loop.says(subscription("sub_2", customer_id=BOB), at=1),
        loop.says(invoice("in_2", customer_id=BOB, subscription_id=SubscriptionId("sub_2")), at=2),
        _names(loop, "evt_paid_bob", paid("2"), "in_2"),
    ]


def owners(loop: Loop) -> dict[str, TenantId | None]:
    """Return the tenant of every stored object."""
    tables = loop.database.tables
    held = [*tables.subscriptions.values(), *tables.invoices.values(), *tables.records.values()]
    return {each.object_id: each.tenant_id for each in [*tables.customers.values(), *held]}


OF_ALICE = {"cus_alice", "sub_1", "in_1", "payment:pi_1", "ch_1", "re_1", "dp_1", "entitlements:cus_alice"}
OF_BOB = {"cus_bob", "sub_2", "in_2", "payment:pi_2"}


class TestMove:
    """A customer goes to another tenant with everything it has."""

    @pytest.mark.parametrize("beside", [True, False])
    async def test_everything_of_the_customer_goes_and_nothing_else(self, loop: Loop, beside: bool) -> None:
        """Also what names it only through other objects; another customer of the tenant stays."""
        await loop.arrive_all([*history_of_alice(loop), *(history_of_bob(loop) if beside else [])], together=False)
        change = await loop.service().move(ALICE, GLOBEX, actor="zoë", reason="a ticket")
        expected = dict.fromkeys(OF_ALICE, GLOBEX) | (dict.fromkeys(OF_BOB, ACME) if beside else {})
        assert owners(loop) == expected
        assert {each.object_id for each in change.differences} == OF_ALICE
        assert {record.tenant_id for record in await loop.usage(GLOBEX)} == {GLOBEX}
        assert await loop.usage(ACME) == []
        (logged,) = loop.database.tables.decisions.values()
        decision = logged.decision
        assert (decision.from_tenant, decision.to_tenant, decision.reason) == (ACME, GLOBEX, "a ticket")

    async def test_both_tenants_are_told_and_see_their_next_state(self, loop: Loop) -> None:
        """The former one has no access any more, the new one has."""
        await loop.arrive_all(history_of_alice(loop), together=True)
        before = len(await loop.payloads(ACME))
        change = await loop.service().move(ALICE, GLOBEX)
        last, first = (await loop.payloads(ACME))[-1], (await loop.payloads(GLOBEX))[-1]
        assert [event.sequence for event in change.events] == [before + 1, 1]
        assert (last.event_type, last.access.state) == ("customer.unlinked", "blocked")
        assert (first.event_type, first.access.state) == ("customer.linked", "full")
        for news in (last, first):
            assert (news.source.kind, news.source.id, news.stripe_event_id) == ("link", "1", None)
            assert (news.subscription, news.invoice, news.usage) == (None, None, ())

    @pytest.mark.parametrize("keep_history", [True, False])
    async def test_the_former_tenants_history_keeps_its_numbers_without_content(
        self, loop: Loop, keep_history: bool
    ) -> None:
        """Only messages about the customer that left."""
        await loop.arrive_all([*history_of_alice(loop), *history_of_bob(loop)], together=False)
        before = await loop.history.events(ACME, after=0, limit=99)
        change = await loop.service().move(ALICE, GLOBEX, keep_history=keep_history)
        after = await loop.history.events(ACME, after=0, limit=99)
        assert [each.sequence for each in after] == list(range(1, len(before) + 2))
        text = json.dumps([json.loads(each.payload) for each in after])
        assert all((mark in text) is keep_history for mark in ("sub_1", "in_1"))
        assert "sub_2" in text
        assert "in_2" in text
        changed = [new for old, new in zip(before, after, strict=False) if new != old]
        assert len(changed) == change.withdrawn
        assert {each.event_type for each in changed} == (set() if keep_history else {"withdrawn"})
        assert loop.database.rewrites == ({} if keep_history else {ACME: changed[-1].sequence})

    async def test_later_events_follow_although_they_name_the_former_tenant(self, loop: Loop) -> None:
        """Stripe's metadata is corrected later, or never."""
        await loop.arrive_all(history_of_alice(loop), together=True)
        await loop.service().move(ALICE, GLOBEX)
        late = [
            loop.says(subscription(status="past_due", items=(metered(),)), at=60),
            loop.says(invoice("in_3"), tenant=None, at=61),
        ]
        (named, unnamed) = await loop.arrive(*late)
        assert (named.tenant_id, named.outdated_hint) == (GLOBEX, True)
        assert (unnamed.tenant_id, unnamed.outdated_hint) == (GLOBEX, False)
        assert await loop.notified(GLOBEX) == ["customer.linked", "subscription.past_due", "invoice.finalized"]
        assert (await loop.notified(ACME))[-1] == "customer.unlinked"

    async def test_what_died_of_the_conflict_is_due_again_and_applied(self, loop: Loop) -> None:
        """It named the right tenant all the time."""
        wrong, right = loop.says(subscription()), loop.says(subscription(status="past_due"), tenant=GLOBEX, at=1)
        await loop.arrive_all([wrong, right], together=False)
        assert loop.row(right).disposition is Disposition.DEAD
        await loop.service().move(ALICE, GLOBEX)
        (applied,) = await loop.work()
        assert (applied.tenant_id, applied.disposition) == (GLOBEX, Disposition.APPLIED)

    async def test_replaying_the_history_changes_nothing(self, loop: Loop) -> None:
        """The events are the new tenant's now."""
        events = history_of_alice(loop)
        await loop.arrive_all(events, together=False)
        await loop.service().move(ALICE, GLOBEX)
        before, news = owners(loop), len(loop.messages)
        for event in events:
            (outcome,) = await loop.replay(event)
            assert (outcome.disposition, outcome.tenant_id) == (Disposition.APPLIED, GLOBEX)
        assert owners(loop) == before
        assert len(loop.messages) == news

    async def test_a_customer_can_come_back(self, loop: Loop) -> None:
        """The last decision counts."""
        await loop.arrive_all(history_of_alice(loop), together=False)
        await loop.service().move(ALICE, GLOBEX)
        await loop.service().move(ALICE, ACME)
        assert owners(loop) == dict.fromkeys(OF_ALICE, ACME)
        payloads = [*await loop.payloads(ACME), *await loop.payloads(GLOBEX)]
        assert not any(each.subscription or each.invoice for each in payloads)

    async def test_a_customer_without_a_tenant_is_linked(self, loop: Loop) -> None:
        """Its waiting events are then due."""
        await loop.arrive(loop.says(subscription(), tenant=None))
        change = await loop.service().move(ALICE, GLOBEX)
        assert [(each.object_id, each.tenant_id) for each in change.differences] == [(ALICE, GLOBEX)]
        assert change.events == ()
        (applied,) = await loop.work()
        assert applied.tenant_id == GLOBEX

    async def test_moving_to_the_present_tenant_only_makes_the_link_an_operators(self, loop: Loop) -> None:
        """Metadata that names another tenant is outdated from then on."""
        await loop.arrive(loop.says(subscription()))
        change = await loop.service().move(ALICE, ACME)
        assert (change.differences, change.events, change.withdrawn) == ((), (), 0)
        (outcome,) = await loop.arrive(loop.says(subscription(status="past_due"), tenant=GLOBEX, at=1))
        assert (outcome.tenant_id, outcome.outdated_hint) == (ACME, True)

    async def test_a_dry_run_says_the_same_and_changes_nothing(self, loop: Loop) -> None:
        """Neither rows, messages nor the log of decisions."""
        await loop.arrive_all(history_of_alice(loop), together=False)
        before = attrs.evolve(
            loop.database.tables,
            **{
                field.name: dict(getattr(loop.database.tables, field.name))
                for field in attrs.fields(type(loop.database.tables))
            },
        )
        tried = await loop.service().move(ALICE, GLOBEX, dry_run=True)
        assert loop.database.tables == before
        assert loop.database.rewrites == {}
        assert await loop.service().move(ALICE, GLOBEX) == tried

    async def test_a_subscription_alone_is_not_moved_where_customers_name_the_tenant(self, loop: Loop) -> None:
        """Its next event would contradict the link of its customer."""
        await loop.arrive(loop.says(subscription()))
        with pytest.raises(LinkRefusedError, match="name cus_alice instead"):
            await loop.service().move("sub_1", GLOBEX)

    async def test_an_event_whose_body_is_gone_goes_with_the_objects_that_rest_on_it(self, loop: Loop) -> None:
        """So its row says whose it is."""
        events = [*history_of_alice(loop), *history_of_bob(loop)]
        await loop.arrive_all(events, together=False)
        for event in events:
            row = loop.row(event)
            loop.database.tables.dispatch[row.dispatch_id] = attrs.evolve(row, event=row.event.without_body())
        await loop.service().move(ALICE, GLOBEX)
        tenants = [loop.attribution(event)[1] for event in events]
        assert tenants == [GLOBEX] * 8 + [ACME] * 3


class TestUnlink:
    """A customer is taken away from its tenant, and gets none."""

    async def test_its_objects_are_removed_and_its_events_wait(self, loop: Loop) -> None:
        """Another customer of the tenant keeps everything; the tenant is news, its history loses the content."""
        events = history_of_alice(loop)
        await loop.arrive_all([*events, *history_of_bob(loop)], together=False)
        change = await loop.service().unlink(ALICE, ACME, reason="an unknown account")
        assert owners(loop) == dict.fromkeys(OF_BOB, ACME) | {"cus_alice": None}
        assert change.reprocessed == len(events)
        while await loop.work():
            pass
        assert {loop.row(event).disposition for event in events} == {Disposition.PARKED}
        assert [loop.attribution(event)[1] for event in events] == [None] * len(events)
        assert (await loop.notified(ACME))[-1] == "customer.unlinked"
        assert owners(loop) == dict.fromkeys(OF_BOB, ACME) | {"cus_alice": None}
        assert "sub_1" not in json.dumps(
            [json.loads(each.payload) for each in await loop.history.events(ACME, after=0, limit=99)]
        )

    async def test_a_link_to_the_right_tenant_builds_it_again(self, loop: Loop) -> None:
        """As if the wrong one had never had it; what was news is news for the right one."""
        events = history_of_alice(loop)
        await loop.arrive_all(events, together=False)
        news = await loop.notified(ACME)
        await loop.service().unlink(ALICE, ACME)
        while await loop.work():
            pass
        await loop.service().link(ALICE, GLOBEX)
        while await loop.work():
            pass
        assert owners(loop) == dict.fromkeys(OF_ALICE, GLOBEX)
        assert set(news) - set(await loop.notified(GLOBEX)) <= {"customer.linked"}
        assert {loop.row(event).disposition for event in events} == {Disposition.APPLIED}

    async def test_metadata_that_names_another_tenant_takes_it_up(self, loop: Loop) -> None:
        """The refused tenant is outdated metadata then."""
        await loop.arrive_all(history_of_alice(loop), together=False)
        await loop.service().unlink(ALICE, ACME)
        await loop.arrive(loop.says(subscription(items=(metered(),)), tenant=GLOBEX, at=99))
        while await loop.work():
            pass
        assert owners(loop) == dict.fromkeys(OF_ALICE, GLOBEX)

    async def test_it_is_refused_while_a_body_is_gone(self, loop: Loop) -> None:
        """Nothing could build the state again; the error says to move."""
        events = history_of_alice(loop)
        await loop.arrive_all(events, together=False)
        row = loop.row(events[3])
        loop.database.tables.dispatch[row.dispatch_id] = attrs.evolve(row, event=row.event.without_body())
        before = owners(loop)
        with pytest.raises(LinkRefusedError, match="billing tenants move cus_alice"):
            await loop.service().unlink(ALICE, ACME)
        assert owners(loop) == before
        assert loop.database.tables.decisions == {}

    async def test_a_tenant_can_be_refused_before_anything_links_to_it(self, loop: Loop) -> None:
        """Nothing is removed, no message is written."""
        change = await loop.service().unlink(ALICE, ACME)
        assert (change.differences, change.events) == ((), ())
        (waiting,) = await loop.arrive(loop.says(subscription()))
        assert (waiting.disposition, waiting.reason) == (Disposition.PARKED, "refused_tenant_id")

    async def test_refusing_another_tenant_than_the_present_one_takes_nothing_away(self, loop: Loop) -> None:
        """But events that died of naming it are applied."""
        wrong = loop.says(subscription(status="past_due"), tenant=GLOBEX, at=1)
        await loop.arrive_all([loop.says(subscription()), wrong], together=False)
        await loop.service().unlink(ALICE, GLOBEX)
        (applied,) = await loop.work()
        assert (applied.tenant_id, applied.outdated_hint) == (ACME, True)


class TestSharedCustomers:
    """Where each subscription names its own tenant."""

    @pytest.fixture
    def loop(self) -> Loop:
        """A loop in which customers may be shared."""
        return Loop(tenants=TenantRules(link="subscription"))

    async def _two(self, loop: Loop) -> None:
        """Two subscriptions of one payer with one tenant, and what is known of the payer alone."""
        bare = ChargeSnapshot(charge_id="ch_own", amount=5, amount_refunded=0, currency="usd")
        events = [loop.says(customer(name="Alice"), at=0)]
        for name in ("1", "2"):
            events += [
                loop.says(subscription(f"sub_{name}"), at=1),
                loop.says(invoice(f"in_{name}", subscription_id=SubscriptionId(f"sub_{name}")), at=2, tenant=None),
                _names(loop, f"evt_paid_{name}", paid(name), f"in_{name}"),
            ]
        events.append(loop.says(invoice("in_own", subscription_id=None), at=3, tenant=None))
        events.append(loop.provider.event("evt_own", Translation(customer_id=ALICE, snapshots=(bare,)), at=AT))
        await loop.arrive_all(events, together=False)
        assert set(owners(loop).values()) == {ACME}

    async def test_a_subscription_goes_with_what_hangs_on_it(self, loop: Loop) -> None:
        """The other one and the payer stay; the new tenant's message shows it, the former one's does not."""
        await self._two(loop)
        await loop.service().move("sub_1", GLOBEX)
        gone = {"sub_1", "in_1", "payment:pi_1"}
        stays = {"cus_alice", "sub_2", "in_2", "payment:pi_2", "in_own", "ch_own"}
        assert owners(loop) == dict.fromkeys(gone, GLOBEX) | dict.fromkeys(stays, ACME)
        (first,) = await loop.payloads(GLOBEX)
        assert first.event_type == "subscription.linked"
        assert first.subscription is not None
        assert first.subscription.subscription_id == "sub_1"
        payloads = await loop.payloads(ACME)
        assert (payloads[-1].event_type, payloads[-1].subscription) == ("subscription.unlinked", None)
        text = json.dumps([json.loads(each.payload) for each in await loop.history.events(ACME, after=0, limit=99)])
        assert [mark in text for mark in ("sub_1", "in_1", "sub_2", "in_2", "in_own")] == [
            False,
            False,
            True,
            True,
            True,
        ]

    async def test_a_customers_move_takes_what_is_known_of_the_customer_alone(self, loop: Loop) -> None:
        """Its subscriptions keep the tenants that they name."""
        await self._two(loop)
        await loop.service().move(ALICE, GLOBEX)
        gone = {"cus_alice", "in_own", "ch_own"}
        stays = {"sub_1", "in_1", "payment:pi_1", "sub_2", "in_2", "payment:pi_2"}
        assert owners(loop) == dict.fromkeys(gone, GLOBEX) | dict.fromkeys(stays, ACME)

    async def test_later_events_of_a_moved_subscription_follow_it(self, loop: Loop) -> None:
        """Its own, those of its invoices and their payments; outdated metadata is counted."""
        await self._two(loop)
        await loop.service().move("sub_1", GLOBEX)
        late = [
            loop.says(subscription("sub_1", "past_due"), at=50),
            loop.says(invoice("in_9"), at=51),
            _names(loop, "evt_paid_9", paid("9"), "in_9"),
        ]
        await loop.arrive_all(late, together=False)
        assert {owners(loop)[id_] for id_ in ("sub_1", "in_9", "payment:pi_9")} == {GLOBEX}
        assert sum(each.outdated_hint for report in loop.reports for each in report.outcomes) == 2

    async def test_what_is_not_stored_cannot_be_moved_or_unlinked(self, loop: Loop) -> None:
        """Nothing tells whether it is a customer or a subscription; no row is made for it."""
        for decide in (loop.service().move, loop.service().unlink):
            with pytest.raises(LinkRefusedError, match="neither a customer nor a subscription"):
                await decide("sub_1", GLOBEX)
        assert loop.database.tables.customers == {}
        assert loop.database.tables.decisions == {}

    async def test_an_unlinked_subscription_waits_until_it_names_another_tenant(self, loop: Loop) -> None:
        """With its invoice and its payment."""
        await self._two(loop)
        await loop.service().unlink("sub_1", ACME)
        while await loop.work():
            pass
        assert {"sub_1", "in_1", "payment:pi_1"}.isdisjoint(owners(loop))
        await loop.arrive(loop.says(subscription("sub_1", "past_due"), tenant=INITECH, at=50))
        while await loop.work():
            pass
        assert {owners(loop)[id_] for id_ in ("sub_1", "in_1", "payment:pi_1")} == {INITECH}
        assert owners(loop)["sub_2"] == ACME


class TestBeside:
    """Facts that hang on the tenant rather than on an object."""

    async def test_both_tenants_know_their_access_and_the_clock_watches_it(self, loop: Loop) -> None:
        """The end of a trial is due with the new tenant, and with the former one no longer."""
        ends = AT + timedelta(days=3)
        await loop.arrive(loop.says(subscription(status="trialing", trial_ends_at=ends)))
        await loop.service().move(ALICE, GLOBEX)
        announced = loop.database.tables.access
        assert (announced[ACME].verdict.state.value, announced[ACME].due_at) == ("blocked", None)
        assert announced[GLOBEX].verdict.state.value == "full"
        assert announced[GLOBEX].due_at is not None
        assert announced[GLOBEX].due_at >= ends

    async def test_an_occasion_that_was_announced_is_not_announced_to_the_new_tenant(self, loop: Loop) -> None:
        """Although another event reports it once more."""
        ends = AT + timedelta(days=3)
        trial = subscription(status="trialing", trial_ends_at=ends)
        await loop.arrive(loop.says(trial), loop.says(trial, notice=Notice.TRIAL_ENDING, at=1))
        assert "subscription.trial_ending" in await loop.notified(ACME)
        await loop.service().move(ALICE, GLOBEX)
        await loop.arrive(loop.says(trial, notice=Notice.TRIAL_ENDING, at=2))
        assert await loop.notified(GLOBEX) == ["customer.linked"]

    async def test_without_notices_rows_move_and_no_number_is_used(self, loop: Loop) -> None:
        """The former tenant's messages lose their content all the same."""
        await loop.arrive(loop.says(subscription()))
        loop.notify = False
        change = await loop.service().move(ALICE, GLOBEX)
        assert change.events == []
        assert await loop.notified(ACME) == ["withdrawn"]
        assert await loop.notified(GLOBEX) == []
        assert owners(loop)["sub_1"] == GLOBEX


class TestApproval:
    """A change is compared with what was confirmed before it is committed."""

    @pytest.mark.parametrize("verb", ["move", "unlink"])
    async def test_a_change_that_is_refused_leaves_no_trace(self, loop: Loop, verb: str) -> None:
        """It is undone as a whole, the decision included; a dry run asks for no approval."""
        await loop.arrive_all(history_of_alice(loop), together=True)
        before, messages = owners(loop), len(await loop.payloads(ACME))

        def refuse(change: LinkChange) -> None:
            raise LinkChangedError(changes=len(change.differences))

        decide = partial(getattr(loop.service(), verb), ALICE, GLOBEX if verb == "move" else ACME)
        with pytest.raises(LinkChangedError, match=f"{len(OF_ALICE)} objects would change now"):
            await decide(approve=refuse)
        assert (owners(loop), len(await loop.payloads(ACME))) == (before, messages)
        assert not loop.database.tables.decisions
        await decide(dry_run=True, approve=refuse)

    async def test_the_same_change_has_the_same_fingerprint(self, loop: Loop) -> None:
        """Another tenant, other objects or other values are another change."""
        await loop.arrive_all(history_of_alice(loop), together=True)
        service = loop.service()
        seen = await service.unlink(ALICE, ACME, dry_run=True)
        assert (await service.unlink(ALICE, ACME, dry_run=True)).fingerprint == seen.fingerprint
        others = {(await service.move(ALICE, to, dry_run=True)).fingerprint for to in (GLOBEX, INITECH)}
        await loop.arrive_all([loop.says(invoice("in_3"), at=9)], together=True)
        others.add((await service.unlink(ALICE, ACME, dry_run=True)).fingerprint)
        assert len(others - {seen.fingerprint}) == 3
