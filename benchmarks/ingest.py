"""Webhooks per second, accepted and applied, beside the limits of the machine in the same run.

Client, server, Postgres and Valkey share this machine; Postgres runs with fsync and synchronous_commit on. Absolute
figures drift with the machine, so the result is in ratios: each of ours to the limit of the same round, as the median
over all rounds. `cpu_per_event` is the processor time of all processes but the client's, Postgres and Valkey included,
per event: it stays about the same while others use the machine. BENCH_PYTHON names the interpreter of the server under
test, see deployment.py.
`python benchmarks/ingest.py --help` lists the options.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import attrs
import load
from deployment import (
    WEBHOOK_SECRET,
    Worker,
    billing_server,
    cpu_seconds_of_children,
    folder,
    migrate,
    process,
    resident_mb,
)

from billing_embedded import ServerUrls, embedded_servers
from billing_embedded.loopback import free_port
from billing_stripe.testing import API_VERSIONS, builders, encode, event, objects, sign

HERE = Path(__file__).parent
TENANTS = 500
EVENTS = {1: 1_500, 16: 8_000, 64: 16_000}
"""Number of events per measurement at each concurrency."""


@attrs.frozen(kw_only=True)
class Measured:
    """One measurement: accepted per second and, where events are applied, applied per second."""

    accepted: load.Load
    cpu_per_event: float
    """Processor time of the server and of what it uses, in seconds."""
    applied_per_second: float | None = None
    rss_mb: float | None = None


class Traffic:
    """Signed subscription updates of about 5 kB, in an old and a new API shape, none twice."""

    def __init__(self, tenants: Sequence[int] = range(TENANTS)) -> None:
        self._numbers = itertools.count(1)
        self._bodies = [_template(tenant, API_VERSIONS[tenant % len(API_VERSIONS)]) for tenant in tenants]
        self.body_size = len(self._bodies[0])

    def objects(self) -> Sequence[Mapping[str, Any]]:
        """Return the subscriptions that the events are about, as Stripe would answer."""
        return [json.loads(body)["data"]["object"] for body in self._bodies]

    def requests(self, path: str, count: int) -> list[bytes]:
        """Return `count` requests to `path`, each with an event of its own."""
        now = datetime.now(UTC)
        return [load.request(path, body, sign(body, WEBHOOK_SECRET, now)) for body in self.bodies(count)]

    def bodies(self, count: int) -> Iterator[bytes]:
        """Yield `count` new events, as they are sent."""
        start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
        for number in itertools.islice(self._numbers, count):
            tenants = len(self._bodies)
            body = self._bodies[number % tenants]
            body = body.replace(b"evt_0000000000", b"evt_%010d" % number)
            quantity = b'"quantity": %d' % (number // tenants % 90 + 10)
            yield body.replace(b'"created": 1000000001', b'"created": %d' % (start + number)).replace(
                b'"quantity": 99', quantity
            )


def _template(tenant: int, api_version: str) -> bytes:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    subscription = objects.Subscription(
        subscription_id=f"sub_bench{tenant:06d}",
        customer_id=f"cus_bench{tenant:06d}",
        status="active",
        created_at=start,
        items=(
            objects.Item(
                item_id=f"si_bench{tenant:06d}",
                price=objects.Price(price_id="price_pro", product_id="prod_pro", unit_amount=1900),
                period=objects.Span(start, start + timedelta(days=31)),
                quantity=99,
            ),
        ),
        metadata={"tenant_id": f"tenant-{tenant}"},
    )
    rendered = builders.subscription(subscription, api_version)
    return encode(
        event(
            "customer.subscription.updated",
            rendered,
            created=datetime.fromtimestamp(1_000_000_001, UTC),
            api_version=api_version,
            event_id="evt_0000000000",
            livemode=False,
            previous_attributes={"quantity": 1},
        )
    )


@asynccontextmanager
async def limits_server(urls: ServerUrls) -> AsyncIterator[int]:
    """Run the endpoints of limits.py in a process of their own."""
    port = free_port()
    environment = {"DATABASE_URL": urls.database_url, "LIMITS_SECRET": WEBHOOK_SECRET}
    async with process(
        [sys.executable, str(HERE / "limits.py"), "--port", str(port)], environment, f"http://127.0.0.1:{port}/applied"
    ):
        yield port


async def measure_limit(
    urls: ServerUrls, traffic: Traffic, connections: int, *, endpoint: str, events: int | None = None, warm_up: int = 0
) -> Measured:
    """Measure one endpoint of limits.py, after `warm_up` events that are not part of it."""
    first = traffic.requests(f"/{endpoint}", warm_up)
    requests = traffic.requests(f"/{endpoint}", events or EVENTS[connections])
    async with limits_server(urls) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

        async def applied() -> int:
            async with session.get("/applied") as response:
                return int(await response.text())

        if first:
            await load.post_all(port, first, connections=connections)
            await _until(applied, len(first))
        cpu_before, started = cpu_seconds_of_children(), time.perf_counter()
        accepted = await load.post_all(port, requests, connections=connections)
        applied_per_second = None
        if endpoint == "apply":
            await _until(applied, len(first) + len(requests))
            applied_per_second = len(requests) / (time.perf_counter() - started)
        cpu_per_event = (cpu_seconds_of_children() - cpu_before) / len(requests)
    return Measured(accepted=accepted, cpu_per_event=cpu_per_event, applied_per_second=applied_per_second)


async def measure_billing(
    urls: ServerUrls,
    traffic: Traffic,
    connections: int,
    *,
    worker: Worker,
    processes: int = 1,
    events: int | None = None,
    warm_up: int = 0,
    fresh: bool = True,
) -> Measured:
    """Measure `billing serve` with its worker in a given process, on an empty inbox or on the present one.

    `warm_up` events before it are not part of it; they need a worker.
    """
    first = traffic.requests("/webhooks/stripe", warm_up)
    requests = traffic.requests("/webhooks/stripe", events or EVENTS[connections])
    database = await asyncpg.connect(urls.database_url)
    try:
        # Work that another measurement left behind is not part of this one.
        if fresh:  # and each starts with the same tables
            await database.execute("TRUNCATE stripe_events, stripe_event_bodies, stripe_event_dispatch")
        else:
            await database.execute(
                "UPDATE stripe_event_dispatch SET status = 'ignored', reason = 'benchmark', finished_at = now()"
                " WHERE status IN ('due', 'leased')"
            )
        async with billing_server(urls, worker=worker, processes=processes) as (port, pid):
            if first:
                await load.post_all(port, first, connections=connections)
                await until_finished(database, len(first))
            cpu_before, started = cpu_seconds_of_children(), time.perf_counter()
            accepted = await load.post_all(port, requests, connections=connections)
            applied_per_second = None
            if worker != "nowhere":
                await until_finished(database, len(first) + len(requests))
                applied_per_second = len(requests) / (time.perf_counter() - started)
            cpu_per_event = (cpu_seconds_of_children() - cpu_before) / len(requests)
            rss_mb = resident_mb(pid) if sys.platform == "linux" else None
    finally:
        await database.close()
    return Measured(
        accepted=accepted, cpu_per_event=cpu_per_event, applied_per_second=applied_per_second, rss_mb=rss_mb
    )


async def _finished(database: "asyncpg.Connection[asyncpg.Record]", stored: int) -> int:
    """Count the applied and published events by the others, which indexes contain: counting costs time, too."""
    return stored - await database.fetchval(
        "SELECT (SELECT count(*) FROM stripe_event_dispatch WHERE status IN ('due', 'leased'))"
        " + (SELECT count(*) FROM billing_outbox)"
    )


async def until_finished(database: "asyncpg.Connection[asyncpg.Record]", stored: int) -> None:
    """Wait until all of the stored events are applied and published. Raises RuntimeError if that takes too long."""
    await _until(lambda: _finished(database, stored), stored)


async def _until(count: Callable[[], "asyncio._CoroutineLike[int]"], target: int) -> None:
    deadline = time.perf_counter() + 600
    while (reached := await count()) < target:
        if time.perf_counter() > deadline:
            raise RuntimeError(f"only {reached} of {target} events were applied")
        await asyncio.sleep(0.02)


_ROWS: Mapping[str, Callable[[ServerUrls, Traffic, int], "asyncio._CoroutineLike[Measured]"]] = {
    "read only": partial(measure_limit, endpoint="read"),
    "one INSERT each": partial(measure_limit, endpoint="insert"),
    "group commit": partial(measure_limit, endpoint="group"),
    "stored and applied": partial(measure_limit, endpoint="apply"),
    "billing, accepting": partial(measure_billing, worker="nowhere"),
    "billing, applying": partial(measure_billing, worker="inside"),
    "billing, worker beside": partial(measure_billing, worker="beside"),
}


async def measure(repeats: int, concurrencies: list[int]) -> dict[str, dict[int, list[Measured]]]:
    """Measure every row at every concurrency, interleaved so that drift of the machine affects all of them."""
    traffic = Traffic()
    results: dict[str, dict[int, list[Measured]]] = {}
    with folder() as data:
        async with embedded_servers(data) as urls:
            await migrate(urls)
            for repeat, connections in itertools.product(range(repeats), concurrencies):
                for name, take in _ROWS.items():
                    print(f"round {repeat + 1}/{repeats}, {connections} connections: {name}", file=sys.stderr)
                    taken = await take(urls, traffic, connections)
                    results.setdefault(name, {}).setdefault(connections, []).append(taken)
    return results


def summarize(results: dict[str, dict[int, list[Measured]]]) -> dict[str, object]:
    """Take the medians over all rounds, and the ratios that decide."""

    def median(name: str, connections: int, value: Callable[[Measured], float]) -> float:
        return statistics.median(value(one) for one in results[name][connections])

    def ratio(ours: str, limit: str, connections: int, value: Callable[[Measured], float]) -> float:
        pairs = zip(results[ours][connections], results[limit][connections], strict=True)
        return statistics.median(value(mine) / value(theirs) for mine, theirs in pairs)

    def accepted(one: Measured) -> float:
        return one.accepted.per_second

    def applied(one: Measured) -> float:
        assert one.applied_per_second is not None
        return one.applied_per_second

    rows = {
        name: {
            connections: {
                "accepted_per_second": round(median(name, connections, accepted)),
                "p50_ms": round(median(name, connections, lambda one: one.accepted.quantile(0.5)) * 1000, 2),
                "p99_ms": round(median(name, connections, lambda one: one.accepted.quantile(0.99)) * 1000, 2),
                "cpu_per_event_us": round(median(name, connections, lambda one: one.cpu_per_event) * 1e6),
                "unexpected": sum(one.accepted.unexpected for one in runs),
                **(
                    {"applied_per_second": round(median(name, connections, applied))}
                    if runs[0].applied_per_second is not None
                    else {}
                ),
            }
            for connections, runs in by_connections.items()
        }
        for name, by_connections in results.items()
    }

    def cpu(one: Measured) -> float:
        return one.cpu_per_event

    highest = max(results["group commit"])
    ours = [one for runs in results["billing, applying"].values() for one in runs]
    verdict = {
        f"cpu_per_event at {highest}, accepting / group commit": ratio(
            "billing, accepting", "group commit", highest, cpu
        ),
        f"cpu_per_event at {highest}, worker inside / stored and applied": ratio(
            "billing, applying", "stored and applied", highest, cpu
        ),
        f"cpu_per_event at {highest}, worker beside / stored and applied": ratio(
            "billing, worker beside", "stored and applied", highest, cpu
        ),
        f"accepted at {highest} / group commit": ratio("billing, accepting", "group commit", highest, accepted),
        f"applied at {highest} / stored and applied, worker inside": ratio(
            "billing, applying", "stored and applied", highest, applied
        ),
        f"accepted at {min(EVENTS)} / one INSERT each": (
            ratio("billing, accepting", "one INSERT each", min(EVENTS), accepted)
            if min(EVENTS) in results["group commit"]
            else None
        ),
        f"applied at {highest} / stored and applied, worker beside": ratio(
            "billing, worker beside", "stored and applied", highest, applied
        ),
        **{
            f"p99 at 16, {name} (ms)": rows[name][16]["p99_ms"]
            for name in ("billing, accepting", "billing, applying", "billing, worker beside")
            if 16 in rows[name]
        },
        "highest resident set (MB)": max(one.rss_mb or 0 for one in ours),
    }
    return {"rows": rows, "verdict": {name: value and round(value, 2) for name, value in verdict.items()}}


def show(summary: dict[str, object]) -> None:
    """Format the summary as tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title="Webhooks per second (median), ~5 kB events")
    for column in ("what", "connections", "accepted/s", "p50 ms", "p99 ms", "CPU µs/event", "applied/s", "not 202"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, by_connections in summary["rows"].items():
        for connections, row in by_connections.items():
            table.add_row(
                name,
                str(connections),
                f"{row['accepted_per_second']:,}",
                str(row["p50_ms"]),
                str(row["p99_ms"]),
                str(row["cpu_per_event_us"]),
                f"{row['applied_per_second']:,}" if "applied_per_second" in row else "",
                str(row["unexpected"]),
            )
    console.print(table)
    for name, value in summary["verdict"].items():
        console.print(f"{name}: {value}")


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", dest="repeats", type=int, default=3, help="repetitions (default 3)")
    arguments.add_argument("--connections", type=int, nargs="+", choices=sorted(EVENTS), default=sorted(EVENTS))
    arguments.add_argument("--json", action="store_true", help="print the summary as JSON")
    options = arguments.parse_args()
    summary = summarize(await measure(options.repeats, options.connections))
    if options.json:
        print(json.dumps(summary, indent=2))
    else:
        show(summary)


if __name__ == "__main__":
    load.run(main())
