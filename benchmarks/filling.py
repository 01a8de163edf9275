"""Millions of events that were processed long ago, made inside the database."""

from datetime import UTC, datetime

import asyncpg

FIRST_YEAR = "2025-01-01"
FILL_EVENTS = """
INSERT INTO stripe_events (account, livemode, event_id, type, api_version, created_at, received_at, secret_slot)
SELECT '', false, 'evt_old' || lpad(n::text, 12, '0'), 'customer.subscription.updated', '2026-10-28.endive',
       $3::timestamptz + n * interval '4 seconds', $3::timestamptz + n * interval '4 seconds', 0
FROM generate_series($1::bigint, $2::bigint) AS n
"""
FILL_BODIES = """
INSERT INTO stripe_event_bodies (event, body)
SELECT id, decode(repeat(md5(id::text), $2), 'hex') FROM stripe_events WHERE id > $1
"""
FILL_DISPATCH = """
INSERT INTO stripe_event_dispatch (event, status, attempt, effect, tenant_id, customer_id, finished_at)
SELECT id, 'applied', 1, 'confirmed', 'old-' || id % 50000, 'cus_old' || id % 50000, received_at
FROM stripe_events WHERE id > $1
"""
STEP = 250_000


async def fill(database: "asyncpg.Connection[asyncpg.Record]", *, until: int, body_bytes: int) -> None:
    """Fill up to `until` stored events, with bodies of about that size, and analyze the tables."""

    for table in ("stripe_events", "stripe_event_bodies", "stripe_event_dispatch"):
        # VACUUM would offer the next rows a place on each old page, one on every page: a table that grew by itself has
        # none of those, and writing to a page per row is not what growth costs.
        await database.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    start = datetime.fromisoformat(FIRST_YEAR).replace(tzinfo=UTC)
    stored = await database.fetchval("SELECT count(*) FROM stripe_events")
    while stored < until:
        step = min(STEP, until - stored)
        last = await database.fetchval("SELECT coalesce(max(id), 0) FROM stripe_events")
        async with database.transaction():
            await database.execute(FILL_EVENTS, last + 1, last + step, start, timeout=600)
            await database.execute(FILL_BODIES, last, max(1, body_bytes // 16), timeout=600)
            await database.execute(FILL_DISPATCH, last, timeout=600)
        stored += step
    await database.execute("ANALYZE", timeout=600)
    await database.execute("CHECKPOINT", timeout=600)
