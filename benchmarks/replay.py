"""Events replayed per second, beside the limit of the same run: reading the bodies and set-based upserts of their rows.

"Changing" events are dead ones that are applied now, each with a change and a message. "Confirming" ones were applied
before, and no state is written. Replays run in processes of their own, one or two at a time; two divide the tenants
between them. Everything shares this machine; Postgres runs with fsync on.
`python benchmarks/replay.py --help` lists the options.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from datetime import UTC, datetime

import asyncpg
import limits
import load
import orjson
from deployment import folder, migrate, settings_for
from ingest import TENANTS, Traffic

from billing_app.container import open_replayer
from billing_app.settings import Settings
from billing_core.converters import to_plain
from billing_core.events import EventKey, ProviderEvent
from billing_core.inbox.policy import DispatchPolicy
from billing_core.inbox.replay import ReplayRequest
from billing_core.inbox.selection import EventFilter
from billing_core.model import EventId
from billing_embedded import ServerUrls, embedded_servers
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.pool import Database

BATCH = DispatchPolicy().batch
"""Events per statement of the limit, as many as in ours."""
MAKE_DEAD = "UPDATE stripe_event_dispatch SET status = 'dead', effect = NULL, sequence = NULL, reason = 'bug'"
FORGET = "TRUNCATE tenant_subscriptions, subscription_items, billing_outbox"
FORGET_LIMIT = "TRUNCATE limit_applied, limit_subscriptions, limit_items, limit_tenants, limit_messages"
OURS = "SELECT id FROM stripe_events WHERE event_id NOT LIKE 'evt_old%' ORDER BY created_at, id"
"""There may also be events that filling.py made."""
READ = """
SELECT b.body FROM stripe_event_bodies AS b JOIN stripe_events AS e ON e.id = b.event
WHERE b.event = ANY ($1::bigint[]) ORDER BY e.created_at, e.id
"""


async def store(urls: ServerUrls, count: int) -> None:
    """Store as many events as are replayed each time."""
    database = Database(url=urls.database_url)
    now = datetime.now(UTC)
    async with await database.open_pool(size=2) as pool, PostgresEventInbox(database, pool) as inbox:
        events = []
        for body in Traffic().bodies(count):
            envelope = orjson.loads(body)
            events.append(
                ProviderEvent(
                    key=EventKey(event_id=EventId(envelope["id"]), livemode=False),
                    type=envelope["type"],
                    api_version=envelope["api_version"],
                    created_at=datetime.fromtimestamp(envelope["created"], UTC),
                    received_at=now,
                    body=body,
                )
            )
        for start in range(0, count, 1000):
            await asyncio.gather(*(inbox.record(event) for event in events[start : start + 1000]))


async def measure_limit(urls: ServerUrls) -> float:
    """Read bodies batch by batch and upsert their rows, one statement each; return events per second."""
    connection = await asyncpg.connect(urls.database_url)
    try:
        await connection.execute(FORGET_LIMIT)
        numbers = [row["id"] for row in await connection.fetch(OURS)]
        upsert, counters = await connection.prepare(limits.UPSERT), {}
        started = time.perf_counter()
        for start in range(0, len(numbers), BATCH):
            rows = []
            for (body,) in await connection.fetch(READ, numbers[start : start + BATCH]):
                event = orjson.loads(body)
                tenant_id = event["data"]["object"]["metadata"]["tenant_id"]
                counters[tenant_id] = counters.get(tenant_id, 0) + 1
                rows.append(limits._row(event, counters[tenant_id]))
            await upsert.fetch(*zip(*rows, strict=True))
        return len(numbers) / (time.perf_counter() - started)
    finally:
        await connection.close()


async def measure_replay(urls: ServerUrls, *, processes: int, changing: bool) -> float:
    """Replay everything, divided between processes; return events per second until the last one is done."""
    connection = await asyncpg.connect(urls.database_url)
    try:
        if changing:
            await connection.execute(MAKE_DEAD)
            await connection.execute(FORGET)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
    environment = {**os.environ, **settings_for(urls)}
    pipe = asyncio.subprocess.PIPE
    running = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, "--part", str(part), str(processes)), env=environment, stdin=pipe, stdout=pipe
        )
        for part in range(processes)
    ]
    for one in running:
        await one.stdout.readline()
    done = [json.loads(out) for out, _ in await asyncio.gather(*(one.communicate(b"go\n") for one in running))]
    expected = "changed" if changing else "confirmed_or_stale"
    if any(one["matched"] != one[expected] for one in done):
        raise RuntimeError(f"not every event was {expected}: {done}")
    return sum(one["matched"] for one in done) / max(one["seconds"] for one in done)


async def replay_part(part: int, parts: int) -> None:
    """Run as one of the processes: report ready, wait for the start, replay, report the result."""
    async with open_replayer(Settings.load(), notify=True, publishes=True) as replayer:
        numbers = await replayer.find(EventFilter())
        mine = [number for place, number in enumerate(numbers) if place % TENANTS * parts // TENANTS == part]
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        request = ReplayRequest(wanted=EventFilter(), actor="benchmark")
        started = time.perf_counter()
        report = await replayer.replay(request, mine, observe=lambda _: None)
        seconds = time.perf_counter() - started
    print(json.dumps({**to_plain(report), "confirmed_or_stale": report.confirmed + report.stale, "seconds": seconds}))


async def measure(repeats: int, events: int) -> dict[str, list[float]]:
    """Measure every row in every round, interleaved so that drift of the machine affects all of them."""
    results: dict[str, list[float]] = {}
    with folder() as data:
        async with embedded_servers(data) as urls:
            await migrate(urls)
            connection = await asyncpg.connect(urls.database_url)
            await connection.execute(limits.SCHEMA)
            await connection.close()
            await store(urls, events)
            for repeat in range(repeats):
                print(f"round {repeat + 1}/{repeats}", file=sys.stderr)
                results.setdefault("limit", []).append(await measure_limit(urls))
                for processes in (1, 2):
                    for changing in (True, False):
                        name = f"{'changing' if changing else 'confirming'}, {processes} at a time"
                        taken = await measure_replay(urls, processes=processes, changing=changing)
                        results.setdefault(name, []).append(taken)
    return results


def summarize(results: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Take the medians over all rounds, and the ratio to the limit of the same round."""
    return {
        name: {
            "events_per_second": round(statistics.median(taken)),
            "of_limit": round(
                statistics.median(one / limit for one, limit in zip(taken, results["limit"], strict=True)), 2
            ),
        }
        for name, taken in results.items()
    }


def show(summary: dict[str, dict[str, float]]) -> None:
    """Format the summary as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Events replayed per second (median), ~5 kB events")
    for column in ("what", "events/s", "of the limit"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, row in summary.items():
        table.add_row(name, f"{row['events_per_second']:,}", f"{row['of_limit']:.2f}")
    Console().print(table)


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", dest="repeats", type=int, default=3, help="repetitions (default 3)")
    arguments.add_argument("--events", type=int, default=10_000, help="how many events are stored (default 10000)")
    arguments.add_argument("--json", action="store_true", help="print the summary as JSON")
    arguments.add_argument("--part", type=int, nargs=2, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.part:
        await replay_part(*options.part)
        return
    summary = summarize(await measure(options.repeats, options.events))
    if options.json:
        print(json.dumps(summary, indent=2))
    else:
        show(summary)


if __name__ == "__main__":
    load.run(main())
