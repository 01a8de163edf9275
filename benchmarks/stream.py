"""From commit to client: messages fanned out to thousands of open streams, beside a bare writer in the same run.

A writer commits messages of random tenants to Postgres at a steady rate, and publishes them as a worker does. The
clock runs from the moment a commit has returned until a client has read the message from its socket. The clients share
one process, which takes its share of the machine and of the latency, as the writer does.

The limit is an aiohttp server that follows one plain Redis stream and writes to all listeners: no order, no resume,
no filter, no limits on clients, nothing read from the history. Every client must receive each of its tenant's
messages once and in order. `python benchmarks/stream.py --help` lists the options.
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import attrs
import load
from aiohttp import web
from deployment import JWT_SECRET, billing_server, cpu_seconds, folder, migrate, process, resident_mb
from redis.asyncio import Redis

from billing_app.container import Container, postgres_adapters
from billing_app.http.tokens import issue_token
from billing_app.settings import Secret, Settings, TokenSettings
from billing_app.shutdown import ShutdownDeadline
from billing_app.worker import publishing
from billing_core.events import BillingEvent
from billing_core.state.ports import Changes, UnitOfWork
from billing_embedded import ServerUrls, embedded_servers
from billing_embedded.loopback import free_port
from billing_postgres.pool import Database
from billing_postgres.stream.epochs import PostgresEpochLog
from billing_redis.bus import RedisEventBus
from billing_redis.nodes import RedisNodes

TENANTS: Final = 500
RATE: Final = 200
"""Messages committed per second."""
WARM_UP: Final = 3.0
"""Seconds at the start that are not measured."""
BARE_STREAM: Final = "bench:messages"
_MESSAGE: Final = re.compile(rb"id: (\d+)[^\n]*\nevent: [a-z_.]+\ndata: [^\n]*\n\n")
_PAYLOAD: Final = '{"schema_version":2,"sequence":%d,"tenant_id":"%s","padding":"' + "x" * 1000 + '"}'
"""Size of a message about a subscription with two items."""


@attrs.frozen(kw_only=True)
class Measured:
    """One run of one server."""

    latencies: Sequence[float]
    """Latency of every delivery, in seconds, sorted."""
    cores: float
    """Share of one CPU that the server used."""
    kb_per_client: float
    resident_mb: float
    """Memory of the server while all clients are connected."""

    def quantile_ms(self, share: float) -> float:
        """Return the latency that `share` of the deliveries stayed under."""
        return self.latencies[min(int(len(self.latencies) * share), len(self.latencies) - 1)] * 1000


# --- the clients, in a process of their own -----------------------------------------------------------------------


class _Client(asyncio.Protocol):
    """Client of one stream that notes when each message came."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._buffer = b""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.arrivals: list[tuple[int, float]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self._buffer += data
        if not self.opened.done():
            if b"\r\n\r\n" not in self._buffer:
                return
            if b" 200 " not in self._buffer[:16]:
                self.opened.set_exception(ConnectionError(self._buffer[:200].decode()))
                return
            self.opened.set_result(None)
        end = 0
        for match in _MESSAGE.finditer(self._buffer):
            self.arrivals.append((int(match[1]), now))
            end = match.end()
        self._buffer = self._buffer[end:]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError("closed"))


async def run_clients(port: int, path: str, count: int) -> None:
    """Open streams, report ready, listen until the input ends, and print [number, time] pairs for each client."""
    loop = asyncio.get_running_loop()
    heads = [_request(path, tenant) for tenant in range(TENANTS)]
    clients: list[_Client] = []
    for number in range(count):
        _, client = await loop.create_connection(lambda head=heads[number % TENANTS]: _Client(head), "127.0.0.1", port)
        clients.append(client)
        if number % 100 == 99:
            await asyncio.gather(*(client.opened for client in clients[-100:]))
    await asyncio.gather(*(client.opened for client in clients))
    print("open", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(json.dumps([client.arrivals for client in clients]))


def _request(path: str, tenant: int) -> bytes:
    token = issue_token(
        secret=Secret(os.environ["STREAM_JWT_SECRET"]),
        policy=TokenSettings(),
        tenant_id=_tenant(tenant),
        role="viewer",
        now=datetime.now(UTC),
        ttl=timedelta(hours=1),
    )
    head = f"GET {path}?tenant={_tenant(tenant)} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
    return head.encode()


def _tenant(number: int) -> str:
    return f"tenant-{number}"


# --- the limit ----------------------------------------------------------------------------------------------------


async def run_bare(port: int, redis_url: str) -> None:
    """Run an aiohttp server that passes the entries of one Redis stream on to all listeners."""
    listening: dict[str, list[web.StreamResponse]] = {_tenant(number): [] for number in range(TENANTS)}

    async def ready(_request: web.Request) -> web.Response:
        return web.Response()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        listening[request.query["tenant"]].append(response)
        await asyncio.Event().wait()
        return response

    app = web.Application()
    app.router.add_get("/ready", ready)
    app.router.add_get("/stream", stream)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    redis, last = Redis.from_url(redis_url), b"$"
    while True:
        for _, entries in await redis.xread({BARE_STREAM: last}, block=1000, count=1000) or ():
            last = entries[-1][0]
            for _, fields in entries:
                frame = b"id: %s\nevent: message\ndata: %s\n\n" % (fields[b"number"], fields[b"payload"])
                for response in listening[fields[b"tenant"].decode()]:
                    await response.write(frame)


# --- the writer ---------------------------------------------------------------------------------------------------


class Writer:
    """Committer and publisher of messages that notes when each commit returned."""

    def __init__(self, repository: UnitOfWork, publish: Callable[[BillingEvent], Awaitable[None]]) -> None:
        self._repository = repository
        self._publish = publish
        self.committed: dict[str, dict[int, float]] = {}

    async def run(self, seconds: float) -> None:
        """Write at a steady rate, even while earlier writes are running."""
        randomly = random.Random(7)
        waiting: dict[str, asyncio.Lock] = {}
        started = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(seconds * RATE)):
                await asyncio.sleep(started + number / RATE - time.monotonic())
                tenant = _tenant(randomly.randrange(TENANTS))
                tasks.create_task(self._write(tenant, waiting.setdefault(tenant, asyncio.Lock())))

    async def _write(self, tenant: str, turn: asyncio.Lock) -> None:
        async with turn:
            async with self._repository.transaction() as transaction:
                number = (await transaction.lock_tenants([tenant])).counters[tenant] + 1
                event = BillingEvent(
                    tenant_id=tenant,
                    sequence=number,
                    event_type="subscription.updated",
                    event_id=f"evt_{tenant}_{number}",
                    occurred_at=datetime.now(UTC),
                    payload=_PAYLOAD % (number, tenant),
                )
                await transaction.save(Changes(events=[event]))
            self.committed.setdefault(tenant, {})[number] = time.monotonic()
            await self._publish(event)


@asynccontextmanager
async def writing(urls: ServerUrls, *, bare: bool) -> AsyncIterator[Writer]:
    """Open a writer over the embedded servers that publishes for `billing serve` or for the bare server."""
    from redis.asyncio import Redis

    assert urls.redis_url is not None
    settings, database = Settings(), Database(url=urls.database_url)
    async with await database.open_pool(size=4) as pool:
        if bare:
            adapters = postgres_adapters(settings, database=database, writers=pool)
            async with Redis.from_url(urls.redis_url) as redis:

                async def add(event: BillingEvent) -> None:
                    fields = {"tenant": event.tenant_id, "number": event.sequence, "payload": event.payload}
                    await redis.xadd(BARE_STREAM, fields, maxlen=1000, approximate=True)

                yield Writer(adapters["unit_of_work"], add)
            return
        async with RedisNodes.open(urls.redis_url, timeout=timedelta(seconds=2)) as nodes:
            epoch = await PostgresEpochLog(database, pool).enter()
            bus = RedisEventBus(nodes, namespace=f"billing:{epoch.token}")
            adapters = postgres_adapters(settings, database=database, writers=pool, bus=bus)
            publisher = Container(**adapters, settings=settings).publisher()

            async def offer(event: BillingEvent) -> None:
                publisher.offer([event])

            async with publishing(publisher, ShutdownDeadline(timedelta(seconds=10))):
                yield Writer(adapters["unit_of_work"], offer)


# --- measuring ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def bare_server(urls: ServerUrls) -> AsyncIterator[tuple[int, int]]:
    """Run the limit in a process of its own; yield its port and process id."""
    assert urls.redis_url is not None
    port = free_port()
    command = [sys.executable, __file__, "--bare", str(port)]
    environment = {"STREAM_REDIS_URL": urls.redis_url}
    async with process(command, environment, f"http://127.0.0.1:{port}/ready") as pid:
        yield port, pid


async def measure_one(urls: ServerUrls, count: int, seconds: float, *, bare: bool) -> Measured:
    """Measure one server with the given number of clients."""
    settings = {
        "BILLING_STREAM_RATE_LIMIT_PER_MINUTE": "0",
        "BILLING_STREAM_CONCURRENT_LIMIT": "0",
        "BILLING_STREAM_MAX_CONNECTIONS": str(count),
    }
    serving = bare_server(urls) if bare else billing_server(urls, worker="nowhere", settings=settings)
    async with serving as (port, pid), writing(urls, bare=bare) as writer:
        before_mb = resident_mb(pid, peak=False)
        path = "/stream" if bare else "/api/v1/billing/stream"
        clients = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, "--clients", str(count), str(port), path),
            env={**os.environ, "STREAM_JWT_SECRET": JWT_SECRET},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**30,
        )
        assert clients.stdout is not None
        if await clients.stdout.readline() != b"open\n":
            raise RuntimeError("the clients could not connect")
        await writer.run(WARM_UP)
        counted_from, cpu_before = time.monotonic(), cpu_seconds(pid)
        await writer.run(seconds)
        cores = (cpu_seconds(pid) - cpu_before) / (time.monotonic() - counted_from)
        connected_mb = resident_mb(pid, peak=False)
        await asyncio.sleep(1)  # for what is still on its way
        output, _ = await clients.communicate(b"")
    return Measured(
        latencies=sorted(_latencies(json.loads(output), writer.committed, counted_from)),
        cores=cores,
        kb_per_client=(connected_mb - before_mb) * 1024 / count,
        resident_mb=connected_mb,
    )


def _latencies(
    arrivals: Sequence[Sequence[tuple[int, float]]], committed: dict[str, dict[int, float]], counted_from: float
) -> list[float]:
    """Return the latency of every later delivery. Raises RuntimeError if a client missed a message or got one twice."""
    latencies = []
    for number, received in enumerate(arrivals):
        expected = committed.get(_tenant(number % TENANTS), {})
        if [sequence for sequence, _ in received] != sorted(expected):
            raise RuntimeError(f"client {number} got {len(received)} messages, {len(expected)} were committed")
        latencies += [at - expected[n] for n, at in received if expected[n] >= counted_from]
    return latencies


async def measure(repeats: int, counts: list[int], seconds: float) -> dict[str, dict[int, list[Measured]]]:
    """Measure both servers at every number of clients, interleaved so that drift of the machine affects both."""
    results: dict[str, dict[int, list[Measured]]] = {"bare writer": {}, "billing": {}}
    with folder() as data:
        async with embedded_servers(data) as urls:
            await migrate(urls)
            for repeat in range(repeats):
                for count in counts:
                    for name, runs in results.items():
                        print(f"round {repeat + 1}/{repeats}, {count:,} clients: {name}", file=sys.stderr)
                        taken = await measure_one(urls, count, seconds, bare=name == "bare writer")
                        runs.setdefault(count, []).append(taken)
    return results


def summarize(results: dict[str, dict[int, list[Measured]]]) -> dict[str, dict[int, dict[str, float]]]:
    """Take the medians over all rounds."""

    def median(runs: Sequence[Measured], value: Callable[[Measured], float], digits: int) -> float:
        return round(statistics.median(map(value, runs)), digits)

    return {
        name: {
            count: {
                "deliveries": sum(len(run.latencies) for run in runs),
                "p50_ms": median(runs, lambda run: run.quantile_ms(0.5), 2),
                "p99_ms": median(runs, lambda run: run.quantile_ms(0.99), 2),
                "max_ms": median(runs, lambda run: run.quantile_ms(1), 1),
                "kb_per_client": median(runs, lambda run: run.kb_per_client, 1),
                "resident_mb": median(runs, lambda run: run.resident_mb, 0),
                "cores": median(runs, lambda run: run.cores, 2),
            }
            for count, runs in by_count.items()
        }
        for name, by_count in results.items()
    }


def show(summary: dict[str, dict[int, dict[str, float]]]) -> None:
    """Format the summary as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"From commit to client, {RATE} messages/s over {TENANTS} tenants (median)")
    for column in ("what", "clients", "sent", "p50 ms", "p99 ms", "max ms", "kB each", "MB", "cores"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, by_count in summary.items():
        for count, row in by_count.items():
            table.add_row(name, f"{count:,}", f"{row['deliveries']:,}", *(str(each) for each in [*row.values()][1:]))
    Console().print(table)


async def main() -> None:
    """Measure as the options say, or run as one of the processes of a measurement."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", dest="repeats", type=int, default=2, help="repetitions (default 2)")
    arguments.add_argument("--counts", type=int, nargs="+", default=[1_000, 5_000], help="numbers of clients")
    arguments.add_argument("--seconds", type=float, default=15, help="length of a measurement (default 15)")
    arguments.add_argument("--json", action="store_true", help="print the summary as JSON")
    arguments.add_argument("--bare", help=argparse.SUPPRESS)
    arguments.add_argument("--clients", nargs=3, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.bare:
        await run_bare(int(options.bare), os.environ["STREAM_REDIS_URL"])
    elif options.clients:
        count, port, path = options.clients
        await run_clients(int(port), path, int(count))
    else:
        summary = summarize(await measure(options.repeats, options.counts, options.seconds))
        print(json.dumps(summary, indent=2)) if options.json else show(summary)


if __name__ == "__main__":
    load.run(main())
