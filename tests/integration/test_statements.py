"""The cost of a backlog for the database: statements per batch, not per event."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from billing_app.container import Container, postgres_adapters
from billing_app.settings import DispatchSettings, Settings
from billing_core.events import Disposition
from billing_core.testing.builders import provider_event
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.pool import Database
from billing_stripe.testing import builders, encode, event, objects

pytestmark = pytest.mark.postgres

EVENTS, TENANTS = 1_000, 40
SETTINGS = Settings(dispatch=DispatchSettings(batch=256))
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
        container = Container(
            **postgres_adapters(SETTINGS, database=database, writers=pool, inbox=store),
            settings=SETTINGS,
            publish=lambda _: None,
        )
        batches = container.batches()
        applied = 0
        while claims := await store.claim(limit=SETTINGS.dispatch.batch, lease=timedelta(minutes=1)):
            outcomes = await batches.process(claims)
            applied += sum(outcome.disposition is Disposition.APPLIED for outcome in outcomes)
        notified = await _count_messages(pool)
    assert (applied, notified) == (EVENTS, EVENTS)
    assert EVENTS // SETTINGS.dispatch.batch < len(statements) < 100


async def _count_messages(pool: "asyncpg.Pool[asyncpg.Record]") -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM billing_events")
    return count
