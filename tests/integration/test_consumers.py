"""Consumers on a real database: races with the numbering of messages, and processes that are killed or freeze."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from tests.commands import Command, started
from tests.integration.consumer_process import LEDGER, MAILS
from tests.patience import PATIENCE

from billing_core.consumers.ports import ConsumerClaim, Step, Want
from billing_core.consumers.runner import ConsumerPolicy, ConsumerRunner
from billing_core.consumers.values import Consumer, ConsumerMessage
from billing_core.model import TenantId
from billing_core.state.ports import Changes
from billing_core.testing.builders import ACME, GLOBEX, message
from billing_core.testing.consumers.arrange import number, number_up_to, settle, step
from billing_core.testing.timing import LONG
from billing_postgres import queries
from billing_postgres.consumers.oversight import PostgresConsumerOversight
from billing_postgres.consumers.queue import PostgresConsumerQueue
from billing_postgres.consumers.register import PostgresConsumerRegister
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository
from billing_postgres.stream.epochs import PostgresEpochLog

pytestmark = pytest.mark.postgres

PROGRAM = Path(__file__).with_name("consumer_process.py")


class Rig:
    """Adapters over one pool."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self.pool = pool
        self.register = PostgresConsumerRegister(database, pool)
        self.queue = PostgresConsumerQueue(database, pool)
        self.oversight = PostgresConsumerOversight(database, pool)
        self.epochs = PostgresEpochLog(database, pool)
        self.unit_of_work = PostgresRepository(database, pool)

    async def claim(self, consumer: Consumer = MAILS) -> Sequence[ConsumerClaim]:
        """Claim what is due."""
        return await self.queue.claim([Want(consumer=consumer.name, limit=100, lease=LONG)])

    async def numbers(self, claim: ConsumerClaim) -> list[int]:
        """Return the numbers of the messages of a claim."""
        (waiting,) = await self.queue.messages([claim], limit=1000)
        return [each.sequence for each in waiting.messages]

    async def blocked(self) -> None:
        """Wait until a session of the database waits for a lock."""
        async with asyncio.timeout(PATIENCE):
            while not await self.pool.fetchval(_WAITING):  # noqa: ASYNC110 - the database sets no event
                await asyncio.sleep(0.01)

    async def rows(self) -> int:
        """Return how many positions are stored."""
        count: int = await self.pool.fetchval("SELECT count(*) FROM billing_consumer_tenants")
        return count


_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    database = Database(url=database_url, lock_timeout=timedelta(seconds=20), statement_timeout=timedelta(seconds=20))
    async with await database.open_pool(size=6) as pool:
        yield Rig(database, pool)


# --- numbering and registration ---------------------------------------------------------------------------------------


async def test_no_message_falls_between_a_start_and_its_registration(rig: Rig) -> None:
    """A consumer is registered after transactions that have numbered messages without it: its search sees them."""
    await number_up_to(rig.unit_of_work, 1)
    async with rig.unit_of_work.transaction() as transaction:
        await transaction.lock_tenants([ACME])
        await transaction.save(Changes(events=[message(ACME, 2)]))
        beginning = Consumer(name="mails", start="beginning")
        registering = asyncio.create_task(rig.register.register(beginning))
        await rig.blocked()
        assert not registering.done()
    await registering
    while await rig.queue.catch_up([MAILS.name], limit=10):
        pass
    (claim,) = await rig.claim()
    assert await rig.numbers(claim) == [1, 2]


async def test_a_transaction_that_numbers_after_a_registration_knows_the_consumer(rig: Rig) -> None:
    """Even if it began before: it holds nothing that registration waits for until it numbers its messages."""
    async with rig.unit_of_work.transaction() as transaction:
        await transaction.lock_tenants([ACME])
        await rig.register.register(MAILS)
        await transaction.save(Changes(events=[message(ACME, 1)]))
    (claim,) = await rig.claim()
    assert await rig.numbers(claim) == [1]


async def test_numbering_waits_for_a_registration_and_then_sees_it(rig: Rig) -> None:
    """The statement that numbers began before the consumer was committed."""
    async with rig.pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE billing_consumers IN EXCLUSIVE MODE")
        numbering = asyncio.create_task(number(rig.unit_of_work, message(ACME, 1)))
        await rig.blocked()
        await connection.execute(
            "INSERT INTO billing_consumers (consumer, event_types, patterns, start, on_dead, attempts, backoff_base,"
            " backoff_cap, timeout) VALUES ('mails', '{*}', '{%}', 'now', 'hold', 3, '1s', '1s', '1s')"
        )
    await numbering
    (claim,) = await rig.claim()
    assert await rig.numbers(claim) == [1]


async def test_a_registration_does_not_wait_for_readers(rig: Rig) -> None:
    """Such as a backup that has all tables open for hours."""
    async with rig.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.fetch("SELECT * FROM billing_consumers, billing_consumer_tenants, billing_events")
        await rig.register.register(MAILS)
        await number(rig.unit_of_work, message(ACME, 1))
        assert await rig.register.remove(MAILS.name)


# --- numbering and positions ------------------------------------------------------------------------------------------


async def test_a_message_that_is_numbered_while_a_position_is_stored_waits(rig: Rig) -> None:
    """The position waits for the transaction that numbers, and finds a later message."""
    await rig.register.register(MAILS)
    await number_up_to(rig.unit_of_work, 1)
    (claim,) = await rig.claim()
    async with rig.unit_of_work.transaction() as transaction:
        await transaction.lock_tenants([ACME])
        await transaction.save(Changes(events=[message(ACME, 2)]))
        settling = asyncio.create_task(settle(rig.queue, step(claim, Step.DONE, 1)))
        await rig.blocked()
    assert await settling
    (claim,) = await rig.claim()
    assert await rig.numbers(claim) == [2]


async def test_a_message_is_numbered_while_the_last_position_is_being_deleted(rig: Rig) -> None:
    """Numbering waits for the deletion, and has the tenant wait again."""
    await rig.register.register(MAILS)
    await number_up_to(rig.unit_of_work, 1)
    (claim,) = await rig.claim()
    arguments: list[list[object]] = [
        [claim.consumer],
        [claim.tenant_id],
        [claim.fence],
        [0],
        ["done"],
        [1],
        [0],
        [timedelta(0)],
        [None],
    ]
    async with rig.pool.acquire() as connection, connection.transaction():
        assert await connection.fetch(queries.load("write_consumers")["settle_positions"], *arguments)
        numbering = asyncio.create_task(number(rig.unit_of_work, message(ACME, 2)))
        await rig.blocked()
    await numbering
    (claim,) = await rig.claim()
    assert (claim.position, await rig.numbers(claim)) == (1, [2])


async def test_a_search_waits_for_a_tenant_that_changes(rig: Rig) -> None:
    """The tenant has one position, from the start of the consumer, up to the message that was being numbered."""
    await number_up_to(rig.unit_of_work, 2)
    await rig.register.register(Consumer(name="mails", start="beginning"))
    async with rig.unit_of_work.transaction() as transaction:
        await transaction.lock_tenants([ACME])
        await transaction.save(Changes(events=[message(ACME, 3)]))
        searching = asyncio.create_task(rig.queue.catch_up([MAILS.name], limit=10))
        await rig.blocked()
    assert await searching == []
    (claim,) = await rig.claim()
    assert await rig.numbers(claim) == [1, 2, 3]


async def test_a_handler_with_a_transaction_does_not_hold_up_numbering(rig: Rig) -> None:
    """The position is locked when it is stored, at the end."""
    await rig.register.register(LEDGER)
    await number_up_to(rig.unit_of_work, 1)
    (claim,) = await rig.claim(LEDGER)
    async with rig.queue.settling(step(claim, Step.DONE, 1), limit=LONG):
        async with asyncio.timeout(PATIENCE):
            await number_up_to(rig.unit_of_work, 2, first=2)
            await rig.register.register(MAILS)
    (claim,) = await rig.claim(LEDGER)
    assert await rig.numbers(claim) == [2]


async def test_positions_behind_the_restored_counters_are_set_back(rig: Rig) -> None:
    """After a restore of the other tables only, numbers come again that were handled, for other messages."""
    await rig.register.register(MAILS)
    await number_up_to(rig.unit_of_work, 3)
    (claim,) = await rig.claim()
    assert await settle(rig.queue, step(claim, Step.HOLD, 2, error="boom"))
    await rig.pool.execute("DELETE FROM billing_events WHERE sequence > 1")
    await rig.pool.execute("DELETE FROM billing_outbox WHERE sequence > 1")
    await rig.pool.execute("UPDATE billing_tenants SET sequence = 1")
    await number_up_to(rig.unit_of_work, 2, first=2)
    (claim,) = await rig.claim()
    assert (claim.position, await rig.numbers(claim)) == (1, [2])


async def test_a_message_keeps_the_epoch_in_which_it_was_numbered(rig: Rig) -> None:
    """Its id is the same before and after a failover; a later message has that of the new epoch."""
    await rig.register.register(MAILS)
    first = await rig.epochs.enter()
    await number_up_to(rig.unit_of_work, 1)
    second = await rig.epochs.begin("restored")
    await number_up_to(rig.unit_of_work, 2, first=2)
    await rig.pool.execute("UPDATE billing_events SET created_at = created_at - interval '1 year' WHERE sequence = 1")
    (claim,) = await rig.claim()
    (waiting,) = await rig.queue.messages([claim], limit=10)
    assert [str(each.id) for each in waiting.messages] == [f"{first.token}:acme:1", f"{second.token}:acme:2"]


async def test_tenants_that_are_stored_cost_a_consumer_nothing(rig: Rig) -> None:
    """A new consumer has no rows, and neither has one that has handled everything."""
    for each in range(20):
        await number_up_to(rig.unit_of_work, 1, TenantId(f"tenant-{each}"))
    await rig.register.register(MAILS)
    assert await rig.rows() == 0
    await number(rig.unit_of_work, message(TenantId("tenant-3"), 2))
    assert await rig.rows() == 1
    (claim,) = await rig.claim()
    assert await settle(rig.queue, step(claim, Step.DONE, 2))
    assert await rig.rows() == 0


async def test_positions_of_a_search_are_gone_at_its_end(rig: Rig) -> None:
    """Positions that were kept while it had not reached their tenants go, too."""
    names = [TenantId(f"tenant-{number}") for number in range(4)]
    for name in names:
        await number_up_to(rig.unit_of_work, 1, name)
    await rig.register.register(Consumer(name="mails", start="beginning"))
    await number(rig.unit_of_work, message(names[3], 2))
    (claim,) = await rig.claim()
    assert await settle(rig.queue, step(claim, Step.DONE, 2))
    assert await rig.rows() == 1
    assert (await rig.oversight.standings())[0].waiting == 0
    while await rig.queue.catch_up([MAILS.name], limit=2):
        pass
    for claim in await rig.claim():
        assert claim.tenant_id != names[3]
        assert await settle(rig.queue, step(claim, Step.DONE, 1))
    assert await rig.rows() == 0


async def test_a_message_that_is_numbered_during_a_rewind_to_now_is_kept(rig: Rig) -> None:
    """Earlier messages are passed over tenant by tenant; a message from after the decision waits."""
    await rig.register.register(MAILS)
    await number_up_to(rig.unit_of_work, 2)
    await number_up_to(rig.unit_of_work, 2, GLOBEX)
    async with rig.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM billing_consumer_tenants WHERE tenant_id = $1 FOR UPDATE", ACME)
        rewinding = asyncio.create_task(rig.oversight.rewind(MAILS.name, to="now", actor="ops", reason=None))
        await rig.blocked()
        await number_up_to(rig.unit_of_work, 3, GLOBEX, first=3)
        assert not rewinding.done()
    assert await rewinding
    (claim,) = await rig.claim()
    assert (claim.tenant_id, await rig.numbers(claim)) == (GLOBEX, [3])
    assert await rig.rows() == 1


async def test_a_search_waits_for_a_rewind_of_a_tenant(rig: Rig) -> None:
    """Where the search is decides what is kept of a tenant that is passed over."""
    await number_up_to(rig.unit_of_work, 2)
    await rig.register.register(Consumer(name="mails", start="beginning"))
    async with rig.unit_of_work.transaction() as transaction:
        await transaction.lock_tenants([ACME])
        rewinding = asyncio.create_task(
            rig.oversight.rewind(MAILS.name, to="now", tenant_id=ACME, actor="ops", reason=None)
        )
        await rig.blocked()
        assert await rig.queue.catch_up([MAILS.name], limit=10) == []
    assert await rewinding
    assert await rig.rows() == 1
    assert await rig.queue.catch_up([MAILS.name], limit=10) == []
    assert (await rig.claim(), await rig.rows()) == ([], 0)


async def test_a_removal_that_was_interrupted_is_finished_by_the_next_registration(rig: Rig) -> None:
    """Positions that it left do not become those of a new consumer of the same name."""
    await rig.register.register(MAILS)
    await number_up_to(rig.unit_of_work, 3)
    await rig.pool.execute("DELETE FROM billing_consumers")
    await rig.register.register(MAILS)
    assert await rig.claim() == []


# --- handlers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [OSError("after the write"), SystemExit(3), asyncio.CancelledError()])
async def test_what_a_handler_writes_in_its_transaction_and_its_position_are_one(
    rig: Rig, failure: BaseException
) -> None:
    """A failed attempt leaves nothing, however it ended; the next one writes once."""
    await rig.pool.execute("CREATE TABLE effects (tenant text, number bigint)")
    reports = []
    runner = ConsumerRunner(register=rig.register, queue=rig.queue, policy=ConsumerPolicy(), observe=reports.append)

    async def enter(received: ConsumerMessage, transaction: asyncpg.Connection[asyncpg.Record]) -> None:
        await transaction.execute("INSERT INTO effects VALUES ($1, $2)", received.tenant_id, received.sequence)
        if received.attempt == 1 and received.sequence == 2:
            raise failure

    consumer = Consumer(name="ledger", backoff_base=timedelta(microseconds=1))
    runner.subscribe(consumer, enter)
    await runner.register()
    await number_up_to(rig.unit_of_work, 3)
    while await runner.run_once():
        pass
    stored = await rig.pool.fetch("SELECT number FROM effects ORDER BY ctid")
    assert [row["number"] for row in stored] == [1, 2, 3]
    assert [each.result for each in reports] == ["handled", "retried", "handled", "handled"]
    assert await rig.rows() == 0


@asynccontextmanager
async def process(url: str, file: Path, *arguments: str) -> AsyncIterator[Command]:
    """Run consumers in a process that is killed at the end."""
    consuming = await started(url, str(file), *arguments, environment=os.environ, program=PROGRAM)
    try:
        yield consuming
    finally:
        consuming.kill()
        await consuming.wait()


class Effects:
    """The effects of both consumers: lines of a file, and rows of a table."""

    def __init__(self, rig: Rig, file: Path) -> None:
        self.rig = rig
        self.file = file

    def mailed(self) -> dict[TenantId, list[int]]:
        """Return the numbers in the file, as they were written."""
        found: defaultdict[TenantId, list[int]] = defaultdict(list)
        for line in self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else ():
            tenant, sequence, *_ = line.split()
            found[TenantId(tenant)].append(int(sequence))
        return dict(found)

    async def entered(self) -> dict[TenantId, list[int]]:
        """Return the numbers in the table, in order."""
        found: defaultdict[TenantId, list[int]] = defaultdict(list)
        for row in await self.rig.pool.fetch("SELECT * FROM effects ORDER BY tenant, number"):
            found[row["tenant"]].append(row["number"])
        return dict(found)

    async def complete(self) -> None:
        """Wait until nothing waits any more."""
        async with asyncio.timeout(PATIENCE):
            while await self.rig.rows():  # noqa: ASYNC110 - other processes set no event
                await asyncio.sleep(0.05)

    async def check(self, last: int) -> None:
        """Compare with the promises: the file has each number at least once in order, the table exactly once."""
        expected = [*range(1, last + 1)]
        assert await self.entered() == {ACME: expected, GLOBEX: expected}
        for numbers in self.mailed().values():
            assert sorted(set(numbers)) == expected
            seen = 0
            for sequence in numbers:
                assert sequence <= seen + 1, numbers
                seen = max(seen, sequence)


@pytest.fixture
async def effects(rig: Rig, tmp_path: Path) -> Effects:
    await rig.pool.execute("CREATE TABLE effects (tenant text, number bigint)")
    for consumer in (MAILS, LEDGER):
        await rig.register.register(consumer)
    return Effects(rig, tmp_path / "mails")


@pytest.mark.faults
@pytest.mark.parametrize("dying", [MAILS, LEDGER], ids=lambda consumer: consumer.name)
async def test_a_process_killed_between_an_effect_and_its_position(
    database_url: str, rig: Rig, effects: Effects, dying: Consumer
) -> None:
    """Another one does it again outside of the database, under the same id, and not again inside of it."""
    await number(rig.unit_of_work, *(message(name, each) for name in (ACME, GLOBEX) for each in range(1, 7)))
    async with process(database_url, effects.file, dying.name, "3") as first:
        assert await asyncio.wait_for(first.wait(), PATIENCE) == -signal.SIGKILL
    async with process(database_url, effects.file):
        await effects.complete()
    await effects.check(6)
    lines = [line.split() for line in effects.file.read_text(encoding="utf-8").splitlines()]
    again = [line for line in lines if line[1] == "3"]
    assert len({line[2] for line in again}) == 2
    if dying is MAILS:
        assert len(again) > 2


@pytest.mark.faults
async def test_a_frozen_process_is_replaced_and_changes_nothing_when_it_wakes_up(
    database_url: str, rig: Rig, effects: Effects
) -> None:
    """It finds its claims lost, whatever it was about to store."""
    await number(rig.unit_of_work, *(message(name, each) for name in (ACME, GLOBEX) for each in range(1, 7)))
    async with process(database_url, effects.file) as first:
        async with asyncio.timeout(PATIENCE):
            while not effects.mailed():  # noqa: ASYNC110 - another process sets no event
                await asyncio.sleep(0.002)
        first.send_signal(signal.SIGSTOP)
        async with process(database_url, effects.file):
            await effects.complete()
            await number(rig.unit_of_work, *(message(name, 7) for name in (ACME, GLOBEX)))
            first.send_signal(signal.SIGCONT)
            await effects.complete()
    await effects.check(7)


@pytest.mark.faults
async def test_two_processes_share_the_tenants(database_url: str, rig: Rig, effects: Effects) -> None:
    """A tenant is handled by one at a time, in order, and both have work."""
    names = [TenantId(f"tenant-{number}") for number in range(30)]
    await number(rig.unit_of_work, *(message(name, each) for name in names for each in range(1, 6)))
    async with process(database_url, effects.file), process(database_url, effects.file):
        await effects.complete()
    assert set(effects.mailed()) == set(names)
    assert all(numbers == [1, 2, 3, 4, 5] for numbers in effects.mailed().values())
    assert all(numbers == [1, 2, 3, 4, 5] for numbers in (await effects.entered()).values())
