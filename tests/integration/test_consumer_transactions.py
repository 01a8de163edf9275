"""Handlers that take the transaction of their position, on a real database: pauses, endings and lost connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TypeAlias

import asyncpg
import pytest

from billing_core.consumers.delivery import DeliveryReport
from billing_core.consumers.handlers import Handler
from billing_core.consumers.runner import ConsumerPolicy, ConsumerRunner
from billing_core.consumers.values import Consumer, ConsumerMessage
from billing_core.model import TenantId
from billing_core.testing.consumers.arrange import number_up_to
from billing_postgres.consumers.queue import PostgresConsumerQueue
from billing_postgres.consumers.register import PostgresConsumerRegister
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository

pytestmark = pytest.mark.postgres

Transaction: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

SHORT = timedelta(milliseconds=200)
LEDGER = Consumer(name="ledger", attempts=2, backoff_base=timedelta(microseconds=1))


class Rig:
    """A ledger on a database whose sessions are allowed short pauses."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self.pool = pool
        self.register = PostgresConsumerRegister(database, pool)
        self.queue = PostgresConsumerQueue(database, pool)
        self.unit_of_work = PostgresRepository(database, pool)
        self.reports: list[DeliveryReport] = []

    async def handle(self, handler: Handler, *, messages: int = 1) -> list[str]:
        """Number messages and handle them until nothing is due; return the results."""
        runner = ConsumerRunner(
            register=self.register, queue=self.queue, policy=ConsumerPolicy(), observe=self.reports.append
        )
        runner.subscribe(LEDGER, handler)
        await runner.register()
        await number_up_to(self.unit_of_work, messages)
        while await runner.run_once():
            pass
        return [each.result for each in self.reports]

    async def entered(self) -> list[int]:
        """Return the numbers that handlers have written."""
        return [row["number"] for row in await self.pool.fetch("SELECT number FROM effects ORDER BY number")]


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    database = Database(url=database_url, idle_in_transaction_timeout=SHORT, transaction_timeout=2 * SHORT)
    async with await database.open_pool(size=2) as pool:
        await pool.execute("CREATE TABLE effects (number bigint)")
        yield Rig(database, pool)


async def enter(received: ConsumerMessage, transaction: Transaction) -> None:
    """Write the number of a message."""
    await transaction.execute("INSERT INTO effects VALUES ($1)", received.sequence)


# --- pauses -----------------------------------------------------------------------------------------------------------


async def test_a_handler_may_use_its_whole_timeout_between_two_statements(rig: Rig) -> None:
    """The limits of other transactions are shorter, and hold again afterwards."""

    async def pause(received: ConsumerMessage, transaction: Transaction) -> None:
        await enter(received, transaction)
        await asyncio.sleep(3 * SHORT.total_seconds())

    assert await rig.handle(pause) == ["handled"]
    assert await rig.entered() == [1]
    assert await rig.pool.fetchval("SHOW idle_in_transaction_session_timeout") == "200ms"


async def test_a_transaction_that_is_lost_while_its_handler_runs_costs_an_attempt(rig: Rig) -> None:
    """The handler may be the reason, so its effects outside are not repeated without end."""

    async def lose(received: ConsumerMessage, transaction: Transaction) -> None:
        session = await transaction.fetchval("SELECT pg_backend_pid()")
        await rig.pool.execute("SELECT pg_terminate_backend($1, 5000)", session)

    assert await rig.handle(lose) == ["retried", "dead"]
    assert rig.reports[1].error is not None
    assert rig.reports[1].error.startswith("the connection of the transaction was lost while the handler ran (")


async def test_all_transactions_at_once_leave_connections_for_claims_and_positions(rig: Rig, database_url: str) -> None:
    """A pool of as many connections as the policy names is enough."""
    policy, mails = ConsumerPolicy(), Consumer(name="mails")
    tenants = [TenantId(f"tenant-{each}") for each in range(policy.transactions)]
    inside: set[TenantId] = set()
    all_inside, mailed = asyncio.Event(), asyncio.Event()

    async def wait_for_the_mail(received: ConsumerMessage, transaction: Transaction) -> None:
        inside.add(received.tenant_id)
        if len(inside) == policy.transactions:
            all_inside.set()
        await mailed.wait()

    async def send(received: ConsumerMessage) -> None: ...

    def observe(report: DeliveryReport) -> None:
        rig.reports.append(report)
        if report.consumer == mails and report.message.sequence == 2:
            mailed.set()

    database = Database(url=database_url)
    async with await database.open_pool(size=policy.connections) as pool:
        queue, register = PostgresConsumerQueue(database, pool), PostgresConsumerRegister(database, pool)
        runner = ConsumerRunner(register=register, queue=queue, policy=policy, observe=observe)
        runner.subscribe(LEDGER, wait_for_the_mail)
        runner.subscribe(mails, send)
        await runner.register()
        for tenant_id in tenants:
            await number_up_to(rig.unit_of_work, 1, tenant_id)
        running = asyncio.create_task(runner.run())
        await all_inside.wait()
        await number_up_to(rig.unit_of_work, 2, tenants[0], first=2)
        await mailed.wait()
        runner.stop()
        await running
    assert {each.result for each in rig.reports} == {"handled"}


# --- endings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["ROLLBACK", "ROLLBACK; BEGIN", "ROLLBACK AND CHAIN"])
async def test_a_handler_that_ends_the_transaction_fails(rig: Rig, ending: str) -> None:
    """The position does not move without its writes."""

    async def end(received: ConsumerMessage, transaction: Transaction) -> None:
        await enter(received, transaction)
        await transaction.execute(ending)

    assert await rig.handle(end) == ["retried", "dead"]
    assert "the handler ended the transaction" in str(rig.reports[1].error)
    assert await rig.entered() == []
    assert await rig.pool.fetchval("SELECT position FROM billing_consumer_tenants") == 0


async def test_a_handler_that_commits_fails_although_it_returns(rig: Rig) -> None:
    """Its committed rows stay; the error says why its position did not move with it."""

    async def commit(received: ConsumerMessage, transaction: Transaction) -> None:
        await enter(received, transaction)
        await transaction.execute("COMMIT")

    assert await rig.handle(commit) == ["retried", "dead"]
    assert "leave COMMIT and ROLLBACK out" in str(rig.reports[1].error)


async def test_a_handler_that_hides_a_failed_statement_learns_what_to_do(rig: Rig) -> None:
    """Nothing more can be stored in such a transaction; a savepoint keeps it usable."""

    async def hide(received: ConsumerMessage, transaction: Transaction) -> None:
        await enter(received, transaction)
        with pytest.raises(asyncpg.DivisionByZeroError):
            await transaction.execute("SELECT 1 / 0")

    async def keep(received: ConsumerMessage, transaction: Transaction) -> None:
        await enter(received, transaction)
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with transaction.transaction():
                await transaction.execute("SELECT 1 / 0")

    assert await rig.handle(hide) == ["retried", "dead"]
    assert "async with transaction.transaction()" in str(rig.reports[1].error)
    await rig.register.remove(LEDGER.name)
    await rig.register.register(Consumer(name="ledger", start="beginning"))
    rig.reports.clear()
    assert await rig.handle(keep, messages=0) == ["handled"]
    assert await rig.entered() == [1]


# --- sessions ---------------------------------------------------------------------------------------------------------


async def test_a_handler_may_look_names_up_elsewhere(rig: Rig) -> None:
    """The position is stored in our tables all the same, also if the setting is for the transaction only."""

    async def wander(received: ConsumerMessage, transaction: Transaction) -> None:
        await enter(received, transaction)
        await transaction.execute(
            "SET search_path TO elsewhere" if received.sequence == 1 else "SET LOCAL search_path TO a"
        )

    assert await rig.handle(wander, messages=2) == ["handled", "handled"]
    assert await rig.entered() == [1, 2]


async def test_a_handler_leaves_nothing_in_its_session(rig: Rig) -> None:
    """The connection is used for other work afterwards, with the limits that it had."""
    names = ("search_path", "statement_timeout", "idle_in_transaction_session_timeout", "plan_cache_mode")
    before = [await rig.pool.fetchval("SELECT current_setting($1)", name) for name in names]

    async def litter(received: ConsumerMessage, transaction: Transaction) -> None:
        await transaction.execute("SET statement_timeout = 0; SET search_path TO elsewhere; SET plan_cache_mode = auto")
        await transaction.execute("SELECT pg_advisory_lock(42)")
        if received.attempt == 1:
            raise OSError

    assert await rig.handle(litter) == ["retried", "handled"]
    async with rig.pool.acquire() as one, rig.pool.acquire() as other:
        for session in (one, other):
            assert [await session.fetchval("SELECT current_setting($1)", name) for name in names] == before
        assert await one.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42") == 0
