"""Messages that consumers handle per second, and the cost of one change while many tenants are stored. Linux only.

The handler does nothing, so the figures are those of claiming, reading and storing positions. In each round as many
messages as given are numbered first, ten per tenant; then one or two processes handle them all. The cost of one change
is measured from the commit of one message to the return of its handler, in the process that numbered it, and in
processor time of the session that numbers, both without consumers and with one.
`python benchmarks/consumers.py --help` lists the options.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import load
from deployment import folder, migrate

from billing_core.consumers.runner import ConsumerPolicy, ConsumerRunner
from billing_core.consumers.values import Consumer, ConsumerMessage
from billing_core.model import TenantId
from billing_core.state.ports import Changes
from billing_core.testing.builders import messages
from billing_embedded import embedded_servers
from billing_postgres.consumers.queue import PostgresConsumerQueue
from billing_postgres.consumers.register import PostgresConsumerRegister
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository

_CONSUMER: Final = Consumer(name="bench")
_PER_TENANT: Final = 10
_STORE: Final = """
WITH tenant AS (
    INSERT INTO billing_tenants (tenant_id, sequence) SELECT 'stored-' || n, 1 FROM generate_series(1, $1::int) AS n
    RETURNING tenant_id
)
INSERT INTO billing_events (tenant_id, sequence, event_type, occurred_at, payload)
SELECT tenant_id, 1, 'subscription.updated', now(), '{}' FROM tenant
"""
_LEFT: Final = "SELECT count(*) FROM billing_consumer_tenants"

Handle = Callable[..., Awaitable[None]]


def runner_over(database: Database, pool: "asyncpg.Pool[asyncpg.Record]", handle: Handle) -> ConsumerRunner:
    """Return a runner of the one consumer."""
    runner = ConsumerRunner(
        register=PostgresConsumerRegister(database, pool),
        queue=PostgresConsumerQueue(database, pool),
        policy=ConsumerPolicy(),
        observe=lambda _: None,
    )
    runner.subscribe(_CONSUMER, handle)
    return runner


async def number(repository: PostgresRepository, tenants: Sequence[TenantId], first: int, last: int) -> None:
    """Number messages of each tenant, a hundred tenants at a time."""
    for start in range(0, len(tenants), 100):
        some = tenants[start : start + 100]
        events = [event for tenant_id in some for event in messages(tenant_id, first, last)]
        async with repository.transaction() as transaction:
            await transaction.lock_tenants(some)
            await transaction.save(Changes(events=events))


async def worker(url: str, *, transactional: bool) -> None:
    """Handle messages until the process is ended; the first line says that it is ready."""

    async def nothing(message: ConsumerMessage) -> None: ...

    async def nothing_in_transaction(message: ConsumerMessage, transaction: Any) -> None: ...

    database = Database(url=url)
    async with await database.open_pool(size=6, min_size=2) as pool:
        runner = runner_over(database, pool, nothing_in_transaction if transactional else nothing)
        await runner.register()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await runner.run()


async def throughput(url: str, pool: "asyncpg.Pool[asyncpg.Record]", processes: int, count: int, kind: str) -> float:
    """Return the messages handled per second by so many processes."""
    tenants = [TenantId(f"{kind}-{processes}-{n}-{time.monotonic_ns()}") for n in range(count // _PER_TENANT)]
    command = [sys.executable, str(Path(__file__)), "--worker", url, "--kind", kind]
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    workers = [await asyncio.create_subprocess_exec(*command, **pipes) for _ in range(processes)]
    try:
        for each in workers:
            assert each.stdout is not None
            await each.stdout.readline()
        await number(PostgresRepository(Database(url=url), pool), tenants, 1, _PER_TENANT)
        started = time.monotonic()
        for each in workers:
            assert each.stdin is not None
            each.stdin.write(b"go\n")
        while await pool.fetchval(_LEFT):  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(0.02)
        return count / (time.monotonic() - started)
    finally:
        for each in workers:
            each.kill()
            await each.wait()


class Change:
    """One change of one tenant: how long its message takes to its handler, and what its numbering costs."""

    def __init__(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._database = database
        self._pool = pool
        self._numbers = 0
        self._handled = asyncio.Event()

    async def measure(self, times: int, *, consumed: bool) -> dict[str, float]:
        """Return the medians of so many changes, in milliseconds and microseconds."""
        async with await self._database.open_pool(size=1, min_size=1) as writer:
            repository = PostgresRepository(self._database, writer)
            stat = Path(f"/proc/{await writer.fetchval('SELECT pg_backend_pid()')}/schedstat")
            runner = runner_over(self._database, self._pool, self._handle)
            if consumed:
                await runner.register()
            running = asyncio.create_task(runner.run()) if consumed else None
            latencies, costs = [], []
            for _ in range(times):
                before, started = _spent(stat), time.perf_counter()
                await self._change(repository, runner)
                costs.append(_spent(stat) - before)
                if consumed:
                    await self._handled.wait()
                    latencies.append((time.perf_counter() - started) * 1000)
                    await asyncio.sleep(0.005)
            if running is not None:
                runner.stop()
                await running
        found = {"numbering_us": statistics.quantiles(costs, n=10)[0]}
        return {**found, "to_handler_ms": statistics.median(latencies)} if consumed else found

    async def _change(self, repository: PostgresRepository, runner: ConsumerRunner) -> None:
        self._numbers += 1
        self._handled.clear()
        tenant = TenantId("one")
        (event,) = messages(tenant, self._numbers, self._numbers)
        async with repository.transaction() as transaction:
            await transaction.lock_tenants([tenant])
            await transaction.save(Changes(events=[event]))
        runner.offer([event])

    async def _handle(self, message: ConsumerMessage) -> None:
        if message.sequence == self._numbers:
            self._handled.set()


def _spent(stat: Path) -> float:
    """Return the processor time of a session so far, in microseconds."""
    return int(stat.read_text(encoding="ascii").split()[0]) / 1000


async def measure(count: int, stored: int, times: int) -> dict[str, object]:
    """Measure on one server."""
    with folder() as data:
        async with embedded_servers(data) as urls:
            await migrate(urls)
            long = timedelta(minutes=10)  # a million tenants are stored by one statement
            database = Database(url=urls.database_url, statement_timeout=long, transaction_timeout=long)
            async with await database.open_pool(size=6) as pool:
                change = Change(database, pool)
                alone = await change.measure(times, consumed=False)
                few = await change.measure(times, consumed=True)
                rates = {
                    f"{processes} process{'es' * (processes > 1)}, {kind}": round(
                        await throughput(urls.database_url, pool, processes, count, kind)
                    )
                    for kind in ("outside", "transaction")
                    for processes in (1, 2)
                }
                await pool.execute(_STORE, stored)
                await pool.execute("VACUUM ANALYZE")
                many = await change.measure(times, consumed=True)
                return {
                    "messages_per_second": rates,
                    "one_change_without_consumers": alone,
                    "one_change": few,
                    f"one_change_with_{stored}_tenants_stored": many,
                }


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--messages", type=int, default=20_000, help="messages per round (default 20000)")
    arguments.add_argument("--tenants", type=int, default=1_000_000, help="tenants stored (default 1000000)")
    arguments.add_argument("--changes", type=int, default=200, help="single changes (default 200)")
    arguments.add_argument("--worker", help=argparse.SUPPRESS)
    arguments.add_argument("--kind", default="outside", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.worker is not None:
        await worker(options.worker, transactional=options.kind == "transaction")
    else:
        print(json.dumps(await measure(options.messages, options.tenants, options.changes), indent=2))


if __name__ == "__main__":
    load.run(main())
