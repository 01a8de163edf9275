"""A batch loads the subscriptions that it concerns and those that decide on access: the result is the same as by all.

Two services get the same events, answers, rules and time. One of them loads all subscriptions of its tenants.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

import attrs
from hypothesis import given, settings
from tests.property.choices import choices, scaled, shrinks_slowly

from billing_core.events import ProviderEvent, Translation
from billing_core.model import (
    AccessPolicy,
    AccessState,
    BillingRules,
    ClockSnapshot,
    CustomerId,
    CustomerSnapshot,
    DisputeSnapshot,
    InvoiceSnapshot,
    PaymentMethodSnapshot,
    Plan,
    ProductScope,
    RulesInForce,
    ScopeRule,
    Snapshot,
    SubscriptionSnapshot,
    TenantId,
    TenantRules,
    TenantSubscription,
)
from billing_core.model.access import Grace
from billing_core.state.provisional import ProvisionalBasis
from billing_core.state.rules import RulesBook, fingerprint_of
from billing_core.state.service import BillingService
from billing_core.testing.builders import ACME, AT, GLOBEX, invoice, item, month, subscription
from billing_core.testing.scripted import ScriptedProvider
from billing_core.testing.timing import LONG
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_memory.inbox.event_inbox import MemoryEventInbox
from billing_memory.state.repository import MemoryRepository
from billing_memory.state.rules import MemoryRulesRegister
from billing_memory.state.transaction import MemoryTransaction

CUSTOMERS: Final = {CustomerId("cus_1"): ACME, CustomerId("cus_2"): GLOBEX}
PLANS: Final = (
    Plan.of_prices("pro", base=["price_pro"]),
    Plan.of_prices("team", base=["price_team"]),
    attrs.evolve(Plan.of_prices("extra", base=["price_extra"]), grants_access=False),
)
OTHER_PLANS: Final = (Plan.of_prices("gold", base=["price_pro"]),)
STATUSES: Final = ("active", "canceled", "past_due", "trialing", "unpaid", "incomplete", "incomplete_expired", "paused")
OWN_POLICY: Final = AccessPolicy(
    states={
        "active": AccessState.FULL,
        "unpaid": Grace(lasts=timedelta(days=2)),
        "canceled": AccessState.READ_ONLY,
    },
    paused_collection={"void": AccessState.READ_ONLY},
    unmapped_price=AccessState.BLOCKED,
    open_dispute=AccessState.READ_ONLY,
    never_paid_trial=AccessState.BLOCKED,
)
POLICIES: Final = (
    AccessPolicy(),
    OWN_POLICY,
    attrs.evolve(OWN_POLICY, by_mail={"active": AccessState.GRACE, "canceled": AccessState.GRACE}),
)
"""The last one counts grace for nearly all subscriptions, so that few stand for others."""


class LoadsAll(MemoryTransaction):
    """A unit of work that loads all subscriptions of its tenants."""

    async def deciding_subscriptions(
        self, *, tenants: Collection[TenantId], ids: Collection[str] = (), **others: Any
    ) -> Sequence[TenantSubscription]:
        """Return all of these tenants, and those that are named."""
        found = await super().deciding_subscriptions(tenants=(), ids=ids, **others)
        named = {held.object_id for held in found}
        every = self._tables.subscriptions.items()
        return [held for id_, held in every if held.tenant_id in tenants or id_ in named]


class Installation:
    """One service over a database of its own."""

    def __init__(self, provider: ScriptedProvider, rules: BillingRules, kind: type[MemoryTransaction]) -> None:
        self.clock, self.database = ManualClock(AT), MemoryDatabase()
        self._inbox = MemoryEventInbox(self.database, self.clock)
        self._provider = provider
        clock, database = self.clock, self.database

        class Repository(MemoryRepository):
            @asynccontextmanager
            async def transaction(self) -> AsyncIterator[MemoryTransaction]:
                transaction = kind(database, clock.now())
                yield transaction
                transaction.commit()
                database.held.clear()

        self._rules = RulesBook(rules, MemoryRulesRegister(database))
        self.service = BillingService(unit_of_work=Repository(database, clock), translator=provider, rules=self._rules)

    async def apply(self, events: Sequence[ProviderEvent]) -> None:
        """Take events in, and process them as one batch."""
        receipts = [await self._inbox.record(event, lease=LONG) for event in events]
        claims = [receipt.claim for receipt in receipts if receipt.claim is not None]
        await self.service.apply([(claim, self._provider.translate(claim.event)) for claim in claims])

    async def put_in_force(self, rules: BillingRules) -> None:
        """Read one tenant by other rules; the next event of the other one finds it behind."""
        generation = self.database.generation + 1
        self.database.rules.append((RulesInForce(rules, generation), fingerprint_of(rules)))
        await self.service.reread([ACME])


class Story:
    """A story of events and other changes, decided by `random`."""

    def __init__(self, random: Random, provider: ScriptedProvider, *, shared: bool) -> None:
        self._random = random
        self._provider = provider
        self._shared = shared
        # Beside an active subscription, ended ones rarely decide on anything.
        self._usual = random.choice((("active", "active", "canceled"), ("canceled",)))
        self._count = 0

    def rules(self) -> BillingRules:
        """Return some rules."""
        choice = self._random.choice
        return BillingRules(
            plans=choice((PLANS, PLANS[:1], OTHER_PLANS)),
            access=choice(POLICIES),
            scope=choice((ProductScope(), ProductScope(ignore=ScopeRule(metadata=(("price", "other"),))))),
            tenants=TenantRules(link="subscription" if self._shared else "customer"),
        )

    def subscription(self) -> SubscriptionSnapshot:
        """Return one of a few subscriptions in some state."""
        choice, rarely, number = self._random.choice, self._rarely, self._random.randrange(8)
        status = choice(STATUSES) if rarely() else choice(self._usual)
        ended = status in ("canceled", "incomplete_expired")
        return subscription(
            f"sub_{number}",
            customer_id=CustomerId("cus_2" if number == 7 or (self._shared and number % 2) else "cus_1"),
            status=status,
            items=(
                item(
                    f"si_{number}",
                    price_id=choice(("price_team", "price_extra", "price_unknown")) if rarely() else "price_pro",
                    period=month(choice((1, 2, 3))),
                    price_metadata=(("price", "other"),) if rarely() else (),
                ),
            ),
            cancel_at_period_end=choice((False, True)) if ended else rarely(),
            ended_at=self._instant() if ended else None,
            trial_ends_at=self._instant() if rarely() else None,
            collection_paused=(paused := rarely()),
            pause_behavior="void" if paused else None,
            collection_method="send_invoice" if rarely() else "charge_automatically",
            payment_method_id=choice((None, "pm_1")),
            test_clock="clock_1" if rarely() else None,
            plan_code=None,
            price_id=None,
            seat_count=None,
        ).snapshot

    def event(self) -> ProviderEvent:
        """Return an event."""
        seen = self._shown()
        self._count += 1
        customer_id = getattr(seen, "customer_id", None) or CustomerId("cus_1")
        unowned = isinstance(seen, ClockSnapshot)
        says = Translation(
            customer_id=None if unowned else customer_id,
            tenant_hint=None if unowned or isinstance(seen, InvoiceSnapshot) else self._tenant(seen, customer_id),
            snapshots=(seen,),
            payment_failed=isinstance(seen, InvoiceSnapshot) and seen.status == "open",
        )
        at = AT + timedelta(seconds=self._count)
        return self._provider.event(f"evt_{self._count}", says, at=at)

    def _tenant(self, seen: Snapshot, customer_id: CustomerId) -> TenantId:
        if self._shared and isinstance(seen, SubscriptionSnapshot):
            return ACME if seen.subscription_id < "sub_3" else GLOBEX
        return CUSTOMERS[customer_id]

    def _shown(self) -> Snapshot:
        choice, instant = self._random.choice, self._instant
        match self._random.randrange(10):
            case 0:
                return CustomerSnapshot(
                    customer_id=CustomerId("cus_1"),
                    payment_method_id=choice((None, "pm_1", "pm_2")),
                    deleted=choice((False, False, True)),
                )
            case 1:
                year = self._random.randint(2030, 2032)
                return PaymentMethodSnapshot(payment_method_id=choice(("pm_1", "pm_2")), type="card", exp_year=year)
            case 2:
                status = choice(("needs_response", "won"))
                return DisputeSnapshot(dispute_id="dp_1", amount=1, currency="usd", status=status)
            case 3:
                return ClockSnapshot(clock_id="clock_1", frozen_at=instant())
            case 4 | 5:
                number = self._random.randrange(7)
                return invoice(
                    f"in_{number}",
                    subscription_id=f"sub_{number}",
                    status=choice(("open", "paid")),
                    due_at=choice((None, instant())),
                    amount_paid=choice((0, 1900)),
                ).snapshot
        return self.subscription()

    def _rarely(self) -> bool:
        return self._random.random() < 0.12

    def _instant(self) -> datetime:
        return AT + timedelta(days=self._random.randrange(40))


async def play(random: Random, *, shared: bool) -> None:
    """Let both installations live through the same story."""
    provider = ScriptedProvider()
    story = Story(random, provider, shared=shared)
    rules = story.rules()
    both = [Installation(provider, rules, kind) for kind in (MemoryTransaction, LoadsAll)]
    for number in range(random.randint(1, 15)):
        match random.randrange(8):
            case 0:
                ahead = timedelta(days=random.randrange(10))
                for each in both:
                    each.clock.advance(ahead)
                    await each.service.review_access()
            case 1:
                rules = story.rules()
                for each in both:
                    await each.put_in_force(rules)
            case 2 if not shared:
                answer = story.subscription()
                if answer.customer_id in both[0].database.tables.customers:
                    tenant_id = CUSTOMERS[answer.customer_id]
                    now = both[0].clock.now()
                    basis = ProvisionalBasis(tenant_id=tenant_id, operation_key=f"bo_{number}", answered_at=now)
                    for each in both:
                        await each.service.ingest_subscription_snapshot(answer, basis)
            case _:
                events = [story.event() for _ in range(random.randint(1, 4))]
                for each in both:
                    await each.apply(events)
        one, other = (each.database.tables for each in both)
        for field in attrs.fields(type(one)):
            assert getattr(one, field.name) == getattr(other, field.name), field.name


@shrinks_slowly
@settings(max_examples=scaled(300))
@given(decisions=choices(400))
def test_messages_state_and_access_are_those_of_a_ledger_with_all_subscriptions(decisions: Random) -> None:
    """Subscriptions, invoices, cards, disputes, test clocks, rules, answers to operations and time change."""
    asyncio.run(play(decisions, shared=False))


@shrinks_slowly
@settings(max_examples=scaled(150))
@given(decisions=choices(400))
def test_the_same_holds_where_a_customer_pays_for_several_tenants(decisions: Random) -> None:
    """Also when it is deleted, which each of them is told."""
    asyncio.run(play(decisions, shared=True))
