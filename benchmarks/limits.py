"""The limits of the machine: the least a server can do, in steps, as endpoints of one small aiohttp application.

`/read` only reads the body. `/insert` checks the signature and does one INSERT per request. `/group` checks it and
shares commits between requests. `/apply` does that and, in the same process, writes the rows of an event
with one set-based statement per batch: the subscription and its item (newer `created` wins), the tenant's counter, a
numbered message of the size of ours, and which events are done; `/stream` then sends the messages to one listener per
tenant. No translation between API versions, no plans, no
access, no diff, no ties, no links, no locks, no retries, no bus: the floor that the real server is compared with.
"""

import argparse
import asyncio
import hashlib
import hmac
import os
from datetime import UTC, datetime

import asyncpg
import load
import orjson
from aiohttp import web

SCHEMA = """
DROP TABLE IF EXISTS limit_events, limit_applied, limit_subscriptions, limit_items, limit_tenants, limit_messages;
CREATE TABLE limit_events (
    event_id text PRIMARY KEY, type text NOT NULL, body bytea NOT NULL, received_at timestamptz NOT NULL
);
ALTER TABLE limit_events ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE limit_events SET (toast_tuple_target = 8160);
CREATE TABLE limit_applied (event_id text PRIMARY KEY);
CREATE TABLE limit_subscriptions (
    subscription_id text PRIMARY KEY, tenant_id text NOT NULL, customer_id text NOT NULL, status text NOT NULL,
    plan text, quantity bigint, period_start timestamptz, period_end timestamptz, cancel_at_period_end boolean,
    observed_at timestamptz NOT NULL
);
CREATE TABLE limit_items (
    item_id text PRIMARY KEY, subscription_id text NOT NULL, price_id text NOT NULL, quantity bigint,
    period_start timestamptz, period_end timestamptz
);
CREATE TABLE limit_tenants (tenant_id text PRIMARY KEY, sequence bigint NOT NULL);
CREATE TABLE limit_messages (
    tenant_id text NOT NULL, sequence bigint NOT NULL, event_id text NOT NULL, payload json NOT NULL,
    PRIMARY KEY (tenant_id, sequence)
);
"""
INSERT_ONE = "INSERT INTO limit_events VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
INSERT_MANY = """
INSERT INTO limit_events
SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::timestamptz[])
    AS e (id, type, body, at) ON CONFLICT DO NOTHING
"""
UPSERT = """
WITH seen AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[],
        $8::timestamptz[], $9::boolean[], $10::timestamptz[], $11::text[], $12::text[], $13::bigint[], $14::text[])
        AS s (subscription_id, tenant_id, customer_id, status, plan, quantity, period_start, period_end, cancel, at,
              item_id, event_id, sequence, payload)
), latest AS (
    SELECT DISTINCT ON (subscription_id) * FROM seen ORDER BY subscription_id, at DESC
), applied AS (
    INSERT INTO limit_applied SELECT event_id FROM seen
), messages AS (
    INSERT INTO limit_messages SELECT tenant_id, sequence, event_id, payload::json FROM seen
), counted AS (
    INSERT INTO limit_tenants SELECT tenant_id, max(sequence) FROM seen GROUP BY 1 ORDER BY 1
    ON CONFLICT (tenant_id) DO UPDATE SET sequence = excluded.sequence
), items AS (
    INSERT INTO limit_items
    SELECT item_id, subscription_id, plan, quantity, period_start, period_end FROM latest ORDER BY item_id
    ON CONFLICT (item_id) DO UPDATE SET price_id = excluded.price_id, quantity = excluded.quantity,
        period_start = excluded.period_start, period_end = excluded.period_end
)
INSERT INTO limit_subscriptions
SELECT subscription_id, tenant_id, customer_id, status, plan, quantity, period_start, period_end, cancel, at
FROM latest ORDER BY subscription_id
ON CONFLICT (subscription_id) DO UPDATE SET status = excluded.status, plan = excluded.plan,
    quantity = excluded.quantity, period_start = excluded.period_start, period_end = excluded.period_end,
    cancel_at_period_end = excluded.cancel_at_period_end, observed_at = excluded.observed_at
WHERE limit_subscriptions.observed_at < excluded.observed_at
"""


class Limits:
    """The endpoints and the two batch writers behind them."""

    def __init__(self, pool: asyncpg.Pool, writer: asyncpg.Connection, applier: asyncpg.Connection) -> None:
        self._pool = pool
        self._writer = writer
        self._applier = applier
        self._secret = os.environ["LIMITS_SECRET"].encode()
        self._queue: list[tuple[dict, bytes, asyncio.Future]] = []
        self._queued = asyncio.Event()
        self._to_apply: list[dict] = []
        self._stored = asyncio.Event()
        self._applied = 0
        self._counters: dict[str, int] = {}
        self._listening: dict[str, web.StreamResponse] = {}

    async def read(self, request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=202, text="{}", content_type="application/json")

    async def insert(self, request: web.Request) -> web.Response:
        event, body = await self._verified(request)
        await self._pool.execute(INSERT_ONE, event["id"], event["type"], body, datetime.now(UTC))
        return web.Response(status=202, text="{}", content_type="application/json")

    async def group(self, request: web.Request) -> web.Response:
        await self._store(request)
        return web.Response(status=202, text="{}", content_type="application/json")

    async def apply(self, request: web.Request) -> web.Response:
        event = await self._store(request)
        self._to_apply.append(event)
        self._stored.set()
        return web.Response(status=202, text="{}", content_type="application/json")

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self._listening[request.query["tenant"]] = response
        await asyncio.Event().wait()
        return response

    async def applied(self, _: web.Request) -> web.Response:
        return web.json_response(self._applied)

    async def _verified(self, request: web.Request) -> tuple[dict, bytes]:
        body = await request.read()
        parts = dict(part.split("=", 1) for part in request.headers["Stripe-Signature"].split(","))
        digest = hmac.new(self._secret, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(digest, parts["v1"]):
            raise web.HTTPBadRequest
        return orjson.loads(body), body

    async def _store(self, request: web.Request) -> dict:
        event, body = await self._verified(request)
        done = asyncio.get_running_loop().create_future()
        self._queue.append((event, body, done))
        self._queued.set()
        await done
        return event

    def _count(self, event: dict) -> int:
        """Return the number of the event's message among its tenant's."""
        tenant_id = event["data"]["object"]["metadata"]["tenant_id"]
        self._counters[tenant_id] = number = self._counters.get(tenant_id, 0) + 1
        return number

    async def write(self) -> None:
        """Batch everything queued while the previous commit ran."""
        statement = await self._writer.prepare(INSERT_MANY)
        while True:
            while not self._queue:
                self._queued.clear()
                await self._queued.wait()
            batch, self._queue = self._queue, []
            batch.sort(key=lambda one: one[0]["id"])
            ids, types, bodies = zip(*((event["id"], event["type"], body) for event, body, _ in batch), strict=True)
            await statement.fetch(ids, types, bodies, [datetime.now(UTC)] * len(batch))
            for _, _, done in batch:
                done.set_result(None)

    async def fold(self) -> None:
        """Upsert all stored events."""
        statement = await self._applier.prepare(UPSERT)
        while True:
            while not self._to_apply:
                self._stored.clear()
                await self._stored.wait()
            batch, self._to_apply = self._to_apply, []
            rows = [_row(event, self._count(event)) for event in batch]
            await statement.fetch(*zip(*rows, strict=True))
            self._applied += len(batch)
            for _, tenant_id, *_, number, payload in rows:
                if (listener := self._listening.get(tenant_id)) is not None:
                    await listener.write(f"id: {number}\nevent: message\ndata: {payload}\n\n".encode())


def _row(event: dict, number: int) -> tuple:
    seen = event["data"]["object"]
    item = seen["items"]["data"][0]
    start = item.get("current_period_start") or seen["current_period_start"]
    end = item.get("current_period_end") or seen["current_period_end"]
    tenant_id, price_id, quantity = seen["metadata"]["tenant_id"], item["price"]["id"], item["quantity"]
    payload = {
        "schema_version": 2,
        "sequence": number,
        "tenant_id": tenant_id,
        "event_type": "subscription.updated",
        "source": {"kind": "webhook", "id": event["id"]},
        "stripe_event_id": event["id"],
        "occurred_at": event["created"],
        "summary": "The subscription was updated.",
        "status": seen["status"],
        "subscription": {key: seen.get(key) for key in _MESSAGE_FIELDS},
        "item": {"item_id": item["id"], "price_id": price_id, "quantity": quantity, "start": start, "end": end},
        "invoice": None,
        "usage": [],
        "access": {"state": "full", "reason": seen["status"], "until": None},
    }
    return (
        seen["id"],
        tenant_id,
        seen["customer"],
        seen["status"],
        price_id,
        quantity,
        datetime.fromtimestamp(start, UTC),
        datetime.fromtimestamp(end, UTC),
        seen["cancel_at_period_end"],
        datetime.fromtimestamp(event["created"], UTC),
        item["id"],
        event["id"],
        number,
        orjson.dumps(payload).decode(),
    )


_MESSAGE_FIELDS = (
    "id",
    "customer",
    "status",
    "currency",
    "cancel_at_period_end",
    "cancel_at",
    "canceled_at",
    "ended_at",
    "trial_end",
    "trial_start",
    "collection_method",
    "current_period_start",
    "current_period_end",
    "latest_invoice",
    "pause_collection",
    "start_date",
)


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    port = arguments.parse_args().port
    url = os.environ["DATABASE_URL"]
    async with asyncpg.create_pool(url, min_size=16, max_size=16) as pool:
        await pool.execute(SCHEMA)
        limits = Limits(pool, await asyncpg.connect(url), await asyncpg.connect(url))
        app = web.Application()
        for name in ("read", "insert", "group", "apply"):
            app.router.add_post(f"/{name}", getattr(limits, name))
        app.router.add_get("/applied", limits.applied)
        app.router.add_get("/stream", limits.stream)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.gather(limits.write(), limits.fold())


if __name__ == "__main__":
    load.run(main())
