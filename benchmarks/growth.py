"""Webhooks per second as the inbox grows, and how long it takes to prune it.

The same measurement on top of 0, 1 and 5 million events that were processed long ago: accepting alone, accepting and
applying, and deleting old bodies. The old events are made inside the database, with small bodies to spare the disk
(`--body-bytes`): the number of rows and the size of the indexes are what matters here.
`python benchmarks/growth.py --help` lists the options.
"""

import argparse
import json
import statistics
import sys
import time
from datetime import timedelta

import asyncpg
import attrs
import load
from deployment import folder, migrate
from filling import fill
from ingest import EVENTS, Traffic, measure_billing

from billing_embedded import ServerUrls, embedded_servers
from billing_postgres.oversight.upkeep import PostgresInboxUpkeep
from billing_postgres.pool import Database

CONNECTIONS = 64
PRUNE_BATCH = 1_000
PRUNED = 100_000
"""Bodies that are deleted at each size; the next size is filled up again."""


@attrs.define
class Grown:
    """Results on top of one number of stored events."""

    accepted: list[float] = attrs.field(factory=list)
    p99: list[float] = attrs.field(factory=list)
    applied: list[float] = attrs.field(factory=list)
    pruned_per_second: float = 0.0
    megabytes: float = 0.0


async def measure_prune(urls: ServerUrls) -> float:
    """Return the bodies deleted per second, a bounded number at a time as the command does it."""
    database = Database(url=urls.database_url, statement_timeout=timedelta(minutes=2))
    async with await database.open_pool(size=2) as pool:
        upkeep = PostgresInboxUpkeep(database, pool)
        gone, after, started = 0, 0, time.perf_counter()
        while gone < PRUNED:
            step = await upkeep.prune(older_than=timedelta(days=30), after=after, limit=PRUNE_BATCH)
            if step.reached is None:
                break
            gone, after = gone + step.bodies, step.reached
        return gone / (time.perf_counter() - started)


async def measure(repeats: int, sizes: list[int], body_bytes: int) -> dict[int, Grown]:
    """Measure every size, smallest first."""
    results: dict[int, Grown] = {}
    traffic = Traffic()
    with folder() as data:
        async with embedded_servers(data) as urls:
            await migrate(urls)
            for size in sorted(sizes):
                grown = results[size] = Grown()
                await _fill(urls, size, body_bytes, grown)
                for repeat in range(repeats):
                    print(f"{size:,} stored, round {repeat + 1}/{repeats}", file=sys.stderr)
                    accepting = await measure_billing(urls, traffic, CONNECTIONS, worker="nowhere", fresh=False)
                    grown.accepted.append(accepting.accepted.per_second)
                    grown.p99.append(accepting.accepted.quantile(0.99))
                    applying = await measure_billing(urls, traffic, CONNECTIONS, worker="inside", fresh=False)
                    grown.applied.append(applying.applied_per_second or 0)
                if size:
                    grown.pruned_per_second = await measure_prune(urls)
    return results


async def _fill(urls: ServerUrls, size: int, body_bytes: int, grown: Grown) -> None:
    print(f"filling up to {size:,} stored events", file=sys.stderr)
    connection = await asyncpg.connect(urls.database_url)
    await fill(connection, until=size, body_bytes=body_bytes)
    bytes_ = await connection.fetchval("SELECT pg_database_size(current_database())")
    grown.megabytes = bytes_ / 1_000_000
    await connection.close()


def summarize(results: dict[int, Grown]) -> dict[int, dict[str, float]]:
    """Take the medians over all rounds."""
    return {
        size: {
            "accepted_per_second": round(statistics.median(grown.accepted)),
            "p99_ms": round(statistics.median(grown.p99) * 1000, 1),
            "applied_per_second": round(statistics.median(grown.applied)),
            "pruned_per_second": round(grown.pruned_per_second),
            "database_mb": round(grown.megabytes),
        }
        for size, grown in results.items()
    }


def show(summary: dict[int, dict[str, float]]) -> None:
    """Format the summary as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Webhooks per second at {CONNECTIONS} connections as the inbox grows (median)")
    for column in ("stored before", "accepted/s", "p99 ms", "applied/s", "bodies pruned/s", "database MB"):
        table.add_column(column, justify="right")
    for size, row in summary.items():
        table.add_row(f"{size:,}", *(f"{value:,}" for value in row.values()))
    Console().print(table)


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", dest="repeats", type=int, default=3, help="repetitions (default 3)")
    arguments.add_argument("--stored", type=int, nargs="+", default=[0, 1_000_000, 5_000_000])
    arguments.add_argument("--body-bytes", type=int, default=256, help="size of the old bodies (default 256)")
    arguments.add_argument("--json", action="store_true", help="print the summary as JSON")
    options = arguments.parse_args()
    print(f"{EVENTS[CONNECTIONS]:,} webhooks each time", file=sys.stderr)
    summary = summarize(await measure(options.repeats, options.stored, options.body_bytes))
    if options.json:
        print(json.dumps(summary, indent=2))
    else:
        show(summary)


if __name__ == "__main__":
    load.run(main())
