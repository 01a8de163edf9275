"""Replacing logs of the bus from which messages were withdrawn."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import attrs
import pytest
from tests.unit.core.conftest import until

from billing_core.errors import EventBusUnavailableError
from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.state.ports import Changes, Transfer
from billing_core.stream.rewrite import LogRewriter, RewriteReport
from billing_core.testing.builders import ACME, AT, GLOBEX, message, messages
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_memory.state.repository import MemoryRepository
from billing_memory.stream.bus import MemoryEventBus
from billing_memory.stream.outbox import MemoryOutbox


class Rig:
    """Ten published messages of a tenant, some of them withdrawn afterwards."""

    def __init__(self) -> None:
        self.database = MemoryDatabase()
        self.repository = MemoryRepository(self.database, ManualClock(AT))
        self.outbox = MemoryOutbox(self.database, ManualClock(AT))
        self.bus = MemoryEventBus()

    async def begin(self, *withdrawn: int) -> None:
        """Write and publish messages, then withdraw some."""
        async with self.repository.transaction() as transaction:
            await transaction.lock_tenants([ACME, GLOBEX])
            await transaction.save(Changes(events=[*messages(ACME, 1, 10), message(GLOBEX, 1)]))
        await self.bus.append([*messages(ACME, 1, 10), message(GLOBEX, 1)])
        await self.outbox.published([*messages(ACME, 1, 10), message(GLOBEX, 1)])
        async with self.repository.transaction() as transaction:
            await transaction.transfer(
                Transfer(from_tenant=ACME, to_tenant=GLOBEX, withdrawn=[bare(number) for number in withdrawn])
            )

    def rewriter(self, newest: int = 100) -> LogRewriter:
        """Build a rewriter."""
        return LogRewriter(
            rewrites=self.outbox,
            outbox=self.outbox,
            bus=self.bus,
            newest=newest,
            every=timedelta(seconds=1),
            observe=lambda _: None,
        )

    async def log(self) -> Sequence[BillingEvent]:
        """Return the tenant's log."""
        return await self.bus.read(ACME, after=0, limit=100)


def bare(number: int) -> BillingEvent:
    """Build a message that was withdrawn."""
    return message(ACME, number, event_type="withdrawn", payload="{}")


async def test_a_log_is_replaced_by_the_newest_messages_of_the_history() -> None:
    """Once; other tenants keep theirs."""
    rig = Rig()
    await rig.begin(2, 9)
    assert await rig.rewriter(newest=3).run_once() == RewriteReport(replaced=1, failed=0)
    assert list(await rig.log()) == [message(ACME, 8), bare(9), message(ACME, 10)]
    assert list(await rig.bus.read(GLOBEX, after=0, limit=9)) == [message(GLOBEX, 1)]
    assert await rig.rewriter().run_once() == RewriteReport(replaced=0, failed=0)


@pytest.mark.parametrize("missing", [7, 8, 9])
async def test_messages_behind_one_whose_publication_is_not_noted_are_enough(missing: int) -> None:
    """A log has no gap; the message that is missing is skipped when it comes."""
    rig = Rig()
    await rig.begin(2)
    rig.database.outbox[ACME, missing] = AT
    await rig.rewriter().run_once()
    assert [each.sequence for each in await rig.log()] == list(range(missing + 1, 11))
    assert await rig.bus.append([message(ACME, missing)]) == {ACME: 10}


async def test_a_late_publisher_cannot_bring_a_withdrawn_message_back() -> None:
    """While it may still append one, the log waits; afterwards the message is in the log already."""
    rig = Rig()
    await rig.begin(10)
    rig.database.outbox[ACME, 10] = AT
    assert await rig.rewriter().run_once() == RewriteReport(replaced=0, failed=0)
    await rig.outbox.published([message(ACME, 10)])
    await rig.rewriter().run_once()
    await rig.bus.append([message(ACME, 10)])
    assert (await rig.log())[-1] == bare(10)


async def test_an_unavailable_bus_is_tried_again() -> None:
    """The task is kept with the data."""

    class Broken(MemoryEventBus):
        async def replace(self, tenant_id: TenantId, events: Sequence[BillingEvent]) -> None:
            raise EventBusUnavailableError

    rig = Rig()
    await rig.begin(2)
    working, rig.bus = rig.bus, Broken()
    assert await rig.rewriter().run_once() == RewriteReport(replaced=0, failed=1)
    rig.bus = working
    assert await rig.rewriter().run_once() == RewriteReport(replaced=1, failed=0)


@pytest.mark.parametrize("published", [0, 10])
async def test_a_log_without_published_messages_is_emptied(published: int) -> None:
    """It then accepts any first number."""
    rig = Rig()
    await rig.begin(1)
    for number in range(2, published + 1):
        rig.database.outbox[ACME, number] = AT
    if not published:
        rig.database.tables = attrs.evolve(rig.database.tables, messages={}, counters={ACME: 0})
    await rig.rewriter().run_once()
    assert [each.sequence for each in await rig.log()] == ([1] if published else [])


async def test_logs_are_replaced_until_the_process_ends() -> None:
    """At an interval, and each run is reported."""
    rig = Rig()
    await rig.begin(2)
    reports: list[RewriteReport] = []
    rewriter = LogRewriter(
        rewrites=rig.outbox,
        outbox=rig.outbox,
        bus=rig.bus,
        newest=100,
        every=timedelta(milliseconds=1),
        observe=reports.append,
    )
    running = asyncio.create_task(rewriter.run())
    await until(lambda: len(reports) >= 2)
    rewriter.stop()
    await running
    assert reports[:2] == [RewriteReport(replaced=1, failed=0), RewriteReport(replaced=0, failed=0)]
