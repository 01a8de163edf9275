"""Payers of several tenants: in any order and any batches, each tenant ends with its own and is shown nothing else."""

import asyncio
import json
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.choices import scaled
from tests.unit.core.conftest import ALICE, AT, Loop, customer, invoice, subscription

from billing_core.events import ProviderEvent, Translation
from billing_core.model import ChargeSnapshot, InvoiceId, PaymentSnapshot, SubscriptionId, TenantId, TenantRules

TENANTS = [TenantId("org_a"), TenantId("org_b"), TenantId("org_c")]
OWN = TENANTS[0]
"""The tenant of the customer itself."""


def history(loop: Loop, *, own: bool) -> list[ProviderEvent]:
    """Return the events of one customer with a subscription, an invoice and a payment for each tenant."""
    events = [loop.says(customer(), tenant=OWN if own else None)]
    for at, tenant in enumerate(TENANTS, start=1):
        mark = tenant.removeprefix("org_")
        subscribed = subscription(subscription_id=f"sub_{mark}")
        billed = invoice(f"in_{mark}", subscription_id=SubscriptionId(f"sub_{mark}"), status="open")
        paid = PaymentSnapshot(
            payment_id=f"pi_{mark}", invoice_id=InvoiceId(f"in_{mark}"), amount_paid=1900, currency="usd", status="paid"
        )
        refunded = ChargeSnapshot(
            charge_id=f"ch_{mark}", payment_id=f"pi_{mark}", amount=1900, amount_refunded=5, currency="usd"
        )
        events += [
            loop.says(subscribed, tenant=tenant, at=at),
            loop.says(billed, tenant=None, at=at),
            loop.says(
                invoice(f"in_{mark}", subscription_id=billed.subscription_id, status="paid"), tenant=tenant, at=9
            ),
            _event(loop, Translation(about=(f"in_{mark}",), snapshots=(paid,)), f"evt_paid_{mark}"),
            _event(loop, Translation(customer_id=ALICE, snapshots=(refunded,)), f"evt_refunded_{mark}"),
        ]
    return events


def _event(loop: Loop, says: Translation, event_id: str) -> ProviderEvent:
    return loop.provider.event(event_id, says, at=AT + timedelta(seconds=20))


@settings(max_examples=scaled(60), deadline=None)
@given(order=st.randoms(use_true_random=False), own=st.booleans(), size=st.integers(1, 8))
def test_each_tenant_of_a_shared_customer_has_its_own_and_sees_nothing_else(
    order: "st.random.Random", own: bool, size: int
) -> None:
    """Whether the payer has a tenant of its own or not."""

    async def run() -> None:
        loop = Loop(tenants=TenantRules(link="subscription"))
        events = history(loop, own=own)
        arriving = events + order.sample(events, k=5)
        order.shuffle(arriving)
        for start in range(0, len(arriving), size):
            await loop.arrive(*arriving[start : start + size])
        while await loop.work():
            pass
        tables = loop.database.tables
        held = [*tables.subscriptions.values(), *tables.invoices.values(), *tables.records.values()]
        assert len(held) == 4 * len(TENANTS)
        for each in held:
            assert each.tenant_id == f"org_{each.snapshot.object_id[-1]}"
        for tenant in TENANTS:
            others = {f'_{other.removeprefix("org_")}"' for other in TENANTS if other != tenant}
            published = json.dumps(
                [json.loads(message.payload) for message in await loop.history.events(tenant, after=0, limit=999)]
            )
            assert f"sub_{tenant[-1]}" in published
            assert not any(mark in published for mark in others)
        assert tables.customers[ALICE].tenant_id == (OWN if own else None)

    asyncio.run(run())


@settings(max_examples=scaled(60), deadline=None)
@given(order=st.randoms(use_true_random=False), size=st.integers(1, 8))
def test_subscriptions_that_are_moved_take_along_what_is_theirs_and_leave_nothing_readable(
    order: "st.random.Random", size: int
) -> None:
    """Operators move any of them at any time, or take one away and have its metadata name another tenant."""

    async def run() -> None:
        loop = Loop(tenants=TenantRules(link="subscription"))
        owner = {tenant.removeprefix("org_"): tenant for tenant in TENANTS}
        arriving = history(loop, own=True)
        order.shuffle(arriving)
        for start in range(0, len(arriving), size):
            await loop.arrive(*arriving[start : start + size])
            mark, to = order.choice(sorted(owner)), order.choice(TENANTS)
            if f"sub_{mark}" in loop.database.tables.subscriptions:
                await loop.service().move(f"sub_{mark}", to)
                owner[mark] = to
        while await loop.work():
            pass
        mark = order.choice(sorted(owner))
        for refused in dict.fromkeys((owner[mark], TenantId(f"org_{mark}"))):
            if f"sub_{mark}" in loop.database.tables.subscriptions:
                await loop.service().unlink(f"sub_{mark}", refused)
            while await loop.work():
                pass
        owner[mark] = TenantId("org_z")
        await loop.arrive(loop.says(subscription(subscription_id=f"sub_{mark}"), tenant=owner[mark], at=30))
        while await loop.work():
            pass
        tables = loop.database.tables
        held = [*tables.subscriptions.values(), *tables.invoices.values(), *tables.records.values()]
        assert len(held) == 4 * len(TENANTS)
        for each in held:
            assert each.tenant_id == owner[each.snapshot.object_id[-1]]
        for tenant in {*TENANTS, *owner.values()}:
            messages = await loop.history.events(tenant, after=0, limit=999)
            published = json.dumps([json.loads(message.payload) for message in messages])
            gone = [mark for mark in owner if owner[mark] != tenant]
            assert not any(f'"{kind}_{mark}"' in published for mark in gone for kind in ("sub", "in", "pi", "ch"))

    asyncio.run(run())
