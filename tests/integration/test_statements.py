"""The cost of a backlog for the database: statements per batch, not per event."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from billing_core.events import Disposition
from billing_core.inbox.dispatch import Dispatcher
from billing_core.inbox.policy import DispatchPolicy, Scope
from billing_core.model import AccessPolicy, PlanCatalog
from billing_core.state.service import BillingService
from billing_core.testing.builders import provider_event
from billing_memory.clock import SystemClock
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository
from billing_stripe.testing import builders, encode, event, objects
from billing_stripe.translate import StripeTranslator

pytestmark = pytest.mark.postgres

EVENTS, TENANTS = 1_000, 40
POLICY = DispatchPolicy(batch=256)
START = datetime(2026, 1, 1, tzinfo=UTC)


def body(number: int) -> bytes:
    """Return a change of seats of one tenant's subscription."""
    tenant = number % TENANTS
    price = objects.Price(price_id="price_pro", product_id="prod_pro", unit_amount=1900)
    period = objects.Span(START, START + timedelta(days=31))
    subscription = objects.Subscription(
        subscription_id=f"sub_{tenant}",
        customer_id=f"cus_{tenant}",
        status="active",
        created_at=START,
        items=(objects.Item(item_id=f"si_{tenant}", price=price, period=period, quantity=number + 1),),
        metadata={"tenant_id": f"tenant-{tenant}"},
    )
    made = START + timedelta(seconds=number)
    shown = builders.subscription(subscription, "2026-10-28.endive")
    return encode(
        event("customer.subscription.updated", shown, created=made, api_version="2026-10-28.endive", event_id="evt_x")
    )


async def test_a_thousand_due_events_cost_tens_of_statements(database_url: str) -> None:
    """Events are claimed, read, applied and written together: about a dozen statements for each batch."""
    statements: list[str] = []
    database = Database(url=database_url)
    async with (
        await database.open_pool(size=1, min_size=1) as pool,
        PostgresEventInbox(database, pool) as store,
    ):
        for number in range(EVENTS):
            made = START + timedelta(seconds=number)
            await store.record(provider_event(f"evt_{number}", body=body(number), created_at=made))
        async with pool.acquire() as connection:
            connection.add_query_logger(lambda record: statements.append(record.query))
        clock, translator = SystemClock(), StripeTranslator()
        service = BillingService(
            unit_of_work=PostgresRepository(database, pool),
            translator=translator,
            catalog=PlanCatalog(),
            policy=AccessPolicy(),
            clock=clock,
        )
        dispatcher = Dispatcher(
            queue=store,
            translator=translator,
            service=service,
            scope=Scope(livemode=False),
            policy=POLICY,
            publish=lambda _: None,
            observe=lambda _: None,
        )
        applied = 0
        while claims := await store.claim(limit=POLICY.batch, lease=timedelta(minutes=1)):
            outcomes = await dispatcher.process(claims)
            applied += sum(outcome.disposition is Disposition.APPLIED for outcome in outcomes)
        notified = await _count_messages(pool)
    assert (applied, notified) == (EVENTS, EVENTS)
    assert EVENTS // POLICY.batch < len(statements) < 100


async def _count_messages(pool: "asyncpg.Pool[asyncpg.Record]") -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM billing_events")
    return count
