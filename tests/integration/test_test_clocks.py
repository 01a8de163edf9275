"""Test clocks that move while batches are on their way to Postgres."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import attrs
import pytest

from billing_core.events import Outcome, Translation
from billing_core.model import ClockSnapshot, CustomerId
from billing_core.payloads import loads
from billing_core.state.ports import Changes
from billing_core.testing.arrange import claimed, service_over
from billing_core.testing.builders import ACME, AT, provider_event, subscription
from billing_postgres import queries
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository
from billing_postgres.stream.history import PostgresMessageHistory

pytestmark = pytest.mark.postgres

END = AT + timedelta(days=9000)
SUBSCRIBED = attrs.evolve(subscription().snapshot, cancel_at=END, test_clock="clock_1")
CUSTOMER = CustomerId("cus_1")


class SlowSave:
    """A unit of work that waits before it saves."""

    def __init__(self, inner: PostgresRepository) -> None:
        self._inner = inner
        self.reached, self.proceed = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Begin a unit of work."""
        async with self._inner.transaction() as transaction:
            settling = transaction.settle

            async def settle(outcomes: Sequence[Outcome], changes: Changes) -> None:
                self.reached.set()
                await self.proceed.wait()
                await settling(outcomes, changes)

            transaction.settle = settle  # type: ignore[method-assign]
            yield transaction


def shows(frozen_at: Any) -> Translation:
    """Return an event of the clock."""
    return Translation(snapshots=(ClockSnapshot(clock_id="clock_1", frozen_at=frozen_at),))


@pytest.mark.parametrize("known", [True, False], ids=["clock was seen", "clock is new"])
async def test_a_tenant_that_comes_to_a_clock_while_it_moves_is_told(database_url: str, known: bool) -> None:
    """The batch that adds its subscription has read the clock where it stood before, and is not yet committed."""
    database = Database(url=database_url)
    async with await database.open_pool(size=5) as pool, PostgresEventInbox(database, pool) as store:
        repository = PostgresRepository(database, pool)
        service, slow = service_over(repository), SlowSave(repository)
        if known:
            await service.apply([(await claimed(store, provider_event("evt_1")), shows(AT))])
        joins = await claimed(store, provider_event("evt_2"))
        moves = await claimed(store, provider_event("evt_3"))
        event = Translation(customer_id=CUSTOMER, tenant_hint=ACME, snapshots=(SUBSCRIBED,))
        joining = asyncio.create_task(service_over(slow).apply([(joins, event)]))
        await slow.reached.wait()
        moving = asyncio.create_task(service.apply([(moves, shows(END))]))
        await asyncio.wait([moving], timeout=0.5)  # it could end here only if it did not wait for the other one
        slow.proceed.set()
        await asyncio.gather(joining, moving)
        reviewed = await service.review_access()
        assert [state.value for state in reviewed.states] == ["blocked"]
        assert (await service.review_access()).count == 0
        messages = await PostgresMessageHistory(database, pool).events(ACME, after=0, limit=10)
        assert [loads(each.payload).access.reason for each in messages] == ["active", "scheduled_end_passed"]


async def test_the_tenants_on_a_clock_are_found_by_an_index(database_url: str) -> None:
    """Nearly no subscription has a clock: the index holds only those that have one."""
    database = Database(url=database_url)
    async with await database.open_pool(size=1) as pool, pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        query = queries.load("read_state")["find_tenants_on"]
        plan = await connection.fetch(f"EXPLAIN {query}", ["clock_1"])
        assert "tenant_subscriptions_test_clock" in "\n".join(row[0] for row in plan)
