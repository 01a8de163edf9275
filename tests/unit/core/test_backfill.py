"""Backfill: one of many processes restores the newest messages to an empty bus, once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.errors import EventBusUnavailableError
from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.state.ports import Changes
from billing_core.stream.backfill import Backfiller, BackfillPolicy, BackfillReport
from billing_core.stream.ports import BackfillClaim
from billing_core.testing.builders import ACME, AT, GLOBEX, message
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_memory.state.repository import MemoryRepository
from billing_memory.stream.bus import MemoryEventBus
from billing_memory.stream.outbox import MemoryOutbox

MILLISECOND = timedelta(milliseconds=1)


class Rig:
    """A history, an empty bus, and the processes that fill it."""

    def __init__(self, *, bus: MemoryEventBus | None = None, newest: int = 1000, batch: int = 500) -> None:
        self.database = MemoryDatabase()
        self.repository = MemoryRepository(self.database, ManualClock(AT))
        self.outbox = MemoryOutbox(self.database, ManualClock(AT))
        self.bus = bus or MemoryEventBus()
        self.reports: list[BackfillReport] = []
        self.policy = BackfillPolicy(newest=newest, batch=batch, lease=3 * MILLISECOND)

    def backfiller(self) -> Backfiller:
        return Backfiller(outbox=self.outbox, bus=self.bus, policy=self.policy, observe=self.reports.append)

    async def write(self, lengths: Mapping[TenantId, int], *, published: bool = True) -> None:
        """Commit further messages of each tenant; published ones have left the outbox."""
        async with self.repository.transaction() as transaction:
            last = (await transaction.lock_tenants(sorted(lengths))).counters
            events = [
                message(tenant_id, number)
                for tenant_id, length in lengths.items()
                for number in range(last[tenant_id] + 1, last[tenant_id] + length + 1)
            ]
            await transaction.save(Changes(events=events))
        if published:
            self.database.outbox.clear()

    async def logged(self, tenant_id: TenantId) -> list[int]:
        return [event.sequence for event in await self.bus.read(tenant_id, after=0, limit=10_000)]


@given(
    lengths=st.dictionaries(st.sampled_from([TenantId(name) for name in "abcdefg"]), st.integers(1, 20), max_size=7),
    newest=st.integers(1, 25),
    batch=st.integers(1, 9),
)
async def test_every_tenant_gets_its_newest_messages(lengths: dict[TenantId, int], newest: int, batch: int) -> None:
    """They are contiguous up to the last one for any batch size, and the report counts them."""
    rig = Rig(newest=newest, batch=batch)
    await rig.write(lengths)
    await rig.backfiller().run()
    for tenant_id, length in lengths.items():
        assert await rig.logged(tenant_id) == list(range(max(1, length - newest + 1), length + 1))
    messages = sum(min(length, newest) for length in lengths.values())
    assert rig.reports == [BackfillReport(claim=BackfillClaim.OURS, tenants=len(lengths), messages=messages)]


async def test_one_of_many_processes_fills_the_bus() -> None:
    """The others find it done and do nothing."""
    rig = Rig()
    await rig.write({ACME: 3})
    await asyncio.gather(*(rig.backfiller().run() for _ in range(5)))
    others = [BackfillReport(claim=BackfillClaim.DONE, tenants=0, messages=0)] * 4
    assert sorted(rig.reports, key=lambda report: report.claim.value) == [
        *others,
        BackfillReport(claim=BackfillClaim.OURS, tenants=1, messages=3),
    ]
    assert await rig.logged(ACME) == [1, 2, 3]


async def test_unpublished_messages_are_left_to_the_publisher() -> None:
    """Backfilled messages are not announced, so followers would miss them."""
    rig = Rig()
    await rig.write({ACME: 2})
    await rig.write({ACME: 2, GLOBEX: 1}, published=False)
    await rig.backfiller().run()
    assert await rig.logged(ACME) == [1, 2]
    assert await rig.logged(GLOBEX) == []


async def test_a_bus_that_becomes_unavailable_is_filled_once_it_is_back() -> None:
    """The backfill starts over: messages that are already there are skipped."""

    class Flaky(MemoryEventBus):
        failures = 2

        async def append(
            self, events: Sequence[BillingEvent], *, announced: bool = True, trace_context: str | None = None
        ) -> Mapping[TenantId, int]:
            if events[0].tenant_id == GLOBEX and self.failures:
                self.failures -= 1
                raise EventBusUnavailableError("away")
            return await super().append(events, announced=announced, trace_context=trace_context)

    rig = Rig(bus=Flaky(), batch=2)
    await rig.write({ACME: 2, GLOBEX: 2})
    await rig.backfiller().run()
    assert await rig.logged(ACME) == await rig.logged(GLOBEX) == [1, 2]
    assert [report.claim for report in rig.reports] == [BackfillClaim.OURS]


async def test_a_process_that_lost_its_claim_leaves_the_rest_to_the_other() -> None:
    """It does not mark the bus as filled."""

    class Lost(MemoryEventBus):
        claims = 0

        async def claim_backfill(self, name: str, *, lease: timedelta) -> BackfillClaim:
            self.claims += 1
            return BackfillClaim.OURS if self.claims == 1 else BackfillClaim.OTHERS

        async def finish_backfill(self) -> None:
            pytest.fail("the claim was lost")

    rig = Rig(bus=Lost(), batch=1)
    await rig.write({ACME: 3})
    assert (await rig.backfiller().backfill()).claim is BackfillClaim.OTHERS
    assert await rig.logged(ACME) == [1]


async def test_backfilled_messages_are_not_announced() -> None:
    """Followers of a bus are told of new messages only."""

    class Recording(MemoryEventBus):
        announced: list[bool]

        async def append(
            self, events: Sequence[BillingEvent], *, announced: bool = True, trace_context: str | None = None
        ) -> Mapping[TenantId, int]:
            self.announced = [*getattr(self, "announced", ()), announced]
            return await super().append(events, announced=announced, trace_context=trace_context)

    bus = Recording()
    rig = Rig(bus=bus, batch=1)
    await rig.write({ACME: 2})
    await rig.backfiller().run()
    assert bus.announced == [False, False]


async def test_a_process_waits_while_another_one_fills_the_bus() -> None:
    """It asks again before the other's lease ends, so that it can continue what a dead one began."""

    class Busy(MemoryEventBus):
        claims = 0

        async def claim_backfill(self, name: str, *, lease: timedelta) -> BackfillClaim:
            self.claims += 1
            return BackfillClaim.OTHERS if self.claims < 3 else await super().claim_backfill(name, lease=lease)

    rig = Rig(bus=Busy())
    await rig.write({ACME: 2})
    running = asyncio.create_task(rig.backfiller().run())
    await asyncio.sleep(0)
    assert not running.done()  # it gave the others a turn
    await running
    assert [report.claim for report in rig.reports] == [BackfillClaim.OURS]
    assert await rig.logged(ACME) == [1, 2]
