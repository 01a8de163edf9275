"""Stored events applied per second by one and by two workers, beside the limit of the same run.

The catch-up case: events came in while no worker was running, then workers start and claim them. The limit reads the
same bodies and writes the same rows with set-based upserts, and does nothing else. With `--stored` everything is
measured again on top of that many older events. Everything shares this machine; Postgres runs with fsync on.
`python benchmarks/dispatch.py --help` lists the options.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import limits
import load
from deployment import folder, migrate, settings_for
from filling import fill
from replay import measure_limit, store

from billing_embedded import ServerUrls, embedded_servers

MAKE_DUE = (
    "UPDATE stripe_event_dispatch SET status = 'due', due_at = now(), attempt = 0, effect = NULL, sequence = NULL,"
    " tenant_id = NULL, finished_at = NULL"
    " WHERE event IN (SELECT id FROM stripe_events WHERE event_id NOT LIKE 'evt_old%')"
)
FORGET = "TRUNCATE tenant_subscriptions, subscription_items, billing_events, billing_outbox, billing_tenants CASCADE"
OLD_BODY_BYTES = 256


@asynccontextmanager
async def workers(urls: ServerUrls, count: int) -> AsyncIterator[None]:
    """Run the given number of `billing worker` processes, started as an operator does."""
    environment = {**os.environ, **settings_for(urls), "BILLING_LOG_LEVEL": "error"}
    command = (sys.executable, "-m", "billing_app", "worker", "--concurrency", "2")
    processes = [await asyncio.create_subprocess_exec(*command, env=environment) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            await process.wait()


async def measure_workers(database: "asyncpg.Connection[asyncpg.Record]", urls: ServerUrls, count: int) -> float:
    """Return the events applied per second, from the first claim on: starting the workers is not counted."""
    await database.execute(FORGET)
    await database.execute(MAKE_DUE)
    total = await database.fetchval("SELECT count(*) FROM stripe_event_dispatch WHERE status = 'due'")
    async with workers(urls, count):
        await _until(lambda: _count(database, "due"), below=total)
        started = time.perf_counter()
        await _until(lambda: _count(database, "due", "leased"), below=1)
        seconds = time.perf_counter() - started
    applied = await database.fetchval("SELECT count(*) FROM billing_events")
    assert applied > 0, "no message was created: the events were not applied"
    return total / seconds


async def _until(count: Callable[[], Awaitable[int]], *, below: int) -> None:
    while await count() >= below:  # noqa: ASYNC110 - of other processes
        await asyncio.sleep(0.005)


async def _count(database: "asyncpg.Connection[asyncpg.Record]", *statuses: str) -> int:
    """Count by the index that contains nothing else."""
    return await database.fetchval(
        "SELECT count(*) FROM stripe_event_dispatch WHERE status IN ('due', 'leased') AND status = ANY ($1)", statuses
    )


async def measure(repeats: int, events: int, stored: list[int]) -> dict[int, dict[str, list[float]]]:
    """Measure everything at every size, smallest first."""
    results: dict[int, dict[str, list[float]]] = {}
    with folder() as data:
        async with embedded_servers(data) as urls:
            await migrate(urls)
            database = await asyncpg.connect(urls.database_url)
            await database.execute(limits.SCHEMA)
            for size in sorted(stored):
                print(f"filling up to {size:,} stored events", file=sys.stderr)
                await fill(database, until=size, body_bytes=OLD_BODY_BYTES)
                if size == min(stored):
                    await store(urls, events)
                rows = results.setdefault(size, {})
                for repeat in range(repeats):
                    print(f"{size:,} stored, round {repeat + 1}/{repeats}", file=sys.stderr)
                    rows.setdefault("limit", []).append(await measure_limit(urls))
                    for count in (1, 2):
                        name = f"{count} worker" + ("s" if count > 1 else "")
                        rows.setdefault(name, []).append(await measure_workers(database, urls, count))
            await database.close()
    return results


def summarize(results: dict[int, dict[str, list[float]]]) -> dict[int, dict[str, dict[str, float]]]:
    """Take the medians, and the ratios to the limit of the same round."""
    return {
        size: {
            name: {
                "per_second": round(statistics.median(values)),
                "ratio": round(statistics.median(v / most for v, most in zip(values, rows["limit"], strict=True)), 2),
            }
            for name, values in rows.items()
        }
        for size, rows in results.items()
    }


def show(summary: dict[int, dict[str, dict[str, float]]]) -> None:
    """Format the summary as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Due events applied per second (median)")
    for column in ("stored before", "what", "events/s", "of the limit"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for size, rows in summary.items():
        for name, row in rows.items():
            table.add_row(f"{size:,}", name, f"{row['per_second']:,}", str(row["ratio"]))
    Console().print(table)


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", dest="repeats", type=int, default=3, help="repetitions (default 3)")
    arguments.add_argument("--events", type=int, default=8_000, help="due events each time (default 8000)")
    arguments.add_argument("--stored", type=int, nargs="+", default=[0], help="older events that are stored already")
    arguments.add_argument("--json", action="store_true", help="print the summary as JSON")
    options = arguments.parse_args()
    summary = summarize(await measure(options.repeats, options.events, options.stored))
    if options.json:
        print(json.dumps(summary, indent=2))
    else:
        show(summary)


if __name__ == "__main__":
    load.run(main())
