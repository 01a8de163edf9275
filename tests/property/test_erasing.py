"""After an erasure nothing of the tenant is left, and others are not affected, in any order of events."""

import asyncio
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.choices import scaled
from tests.unit.core.conftest import ACME, ALICE, BOB, GLOBEX, Loop, customer, invoice, subscription

from billing_core.events import ProviderEvent
from billing_core.model import CustomerId, InvoiceId, SubscriptionId, TenantId, TenantRules, Tracked

ERASED = ("acme", "cus_alice", "sub_a", "in_a", "alice@example.com", "Alice")


def history(loop: Loop, *, linked: bool) -> list[ProviderEvent]:
    """Return the events of two customers, each of a tenant of its own; some are dead, parked or ignored."""
    events = []
    for mark, payer, tenant in (("a", ALICE, ACME), ("b", BOB, GLOBEX)):
        billed = InvoiceId(f"in_{mark}"), SubscriptionId(f"sub_{mark}")
        name = "Alice" if payer is ALICE else "Bob"
        seen = customer(payer, email=f"{name.lower()}@example.com", name=name)
        events += [
            loop.says(subscription(f"sub_{mark}", customer_id=payer), tenant=tenant if linked else None, at=1),
            loop.says(seen, tenant=tenant, at=2),
            loop.says(invoice(billed[0], customer_id=payer, subscription_id=billed[1]), tenant=None, at=3),
            loop.says(invoice(billed[0], "paid", customer_id=payer, subscription_id=billed[1]), tenant=None, at=4),
            loop.says(subscription(f"sub_{mark}", "canceled", customer_id=payer), tenant=tenant, at=5),
        ]
    conflicting = loop.says(customer(ALICE, email="alice@example.com"), tenant=TenantId("initech"), at=6)
    events.append(conflicting)
    return events


def rows(loop: Loop) -> Iterator[tuple[str, Any]]:
    """Yield every stored row with the name of its table; the consumers have none here."""
    database = loop.database
    for table in attrs.fields(type(database.tables)):
        for row in getattr(database.tables, table.name).items():
            yield table.name, row
    yield from (("audits", row) for row in database.audits)
    yield from (("outbox", row) for row in database.outbox.items())


def left(loop: Loop) -> Sequence[tuple[str, Any]]:
    """Return the rows that contain something of the erased tenant, without those that are meant to stay."""
    return [
        (table, row)
        for table, row in rows(loop)
        if any(word in repr(row) for word in ERASED)
        if table not in ("counters", "generations", "access") and not (table == "audits" and row.action == "erase")
    ]


@settings(max_examples=scaled(100), deadline=None)
@given(
    order=st.randoms(use_true_random=False),
    cut=st.integers(0, 11),
    size=st.integers(1, 6),
    linked=st.booleans(),
    shared=st.booleans(),
)
def test_nothing_is_left_and_others_are_not_affected(
    order: Random, cut: int, size: int, linked: bool, shared: bool
) -> None:
    """Events in any order and in any batches, duplicates of those before the erasure after it."""

    async def run() -> None:
        loop, alone = (Loop(tenants=TenantRules(link="subscription" if shared else "customer")) for _ in range(2))
        events = history(loop, linked=linked)
        order.shuffle(events)
        for start in range(0, cut, size):
            await loop.arrive(*events[start : min(start + size, cut)])
        while await loop.work():
            pass
        owned = any(each.tenant_id == ACME for each in loop.database.tables.customers.values())
        await loop.service().erase(ACME, actor="grace", reason="request 7")
        if owned:
            assert left(loop) == []
            for start in range(0, len(events), size):
                await loop.arrive(*events[start : start + size])
            while await loop.work():
                pass
            assert left(loop) == []
            theirs = [each for each in history(alone, linked=linked) if _payer(alone, each) == BOB]
            await alone.arrive_all(theirs, together=False)
            assert _state(loop) == _state(alone)

    asyncio.run(run())


def _payer(loop: Loop, event: ProviderEvent) -> CustomerId | None:
    return loop.provider.translate(event).customer_id


def _state(loop: Loop) -> Sequence[Any]:
    """Return what is stored of objects, without the events that it rests on."""
    tables = loop.database.tables
    held: list[Tracked] = [*tables.subscriptions.values(), *tables.invoices.values(), *tables.customers.values()]
    return sorted((each.tenant_id or "", repr(each.snapshot)) for each in held)
