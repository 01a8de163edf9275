"""The contract of InboxFlow."""

import asyncio
from datetime import UTC, datetime, timedelta

from billing_core.events import Disposition, Outcome
from billing_core.inbox.ports import EventInbox
from billing_core.oversight.flow import FlowDelays
from billing_core.oversight.ports import InboxFlow
from billing_core.state.ports import UnitOfWork
from billing_core.testing.arrange import applied, claimed, settle
from billing_core.testing.builders import AT, provider_event
from billing_core.testing.suite import Suite

MINUTE = timedelta(minutes=1)
LATER = datetime(2100, 1, 1, tzinfo=UTC)
"""After the end of every event of a test, by any clock."""


class InboxFlowContract(Suite):
    """Counts of every step, and delays.

    A binding provides `inbox_flow`, and `inbox` and `unit_of_work` on the same data, all empty.
    """

    async def test_every_step_is_there(self, inbox_flow: InboxFlow, inbox: EventInbox) -> None:
        """With zeros where nothing happened; the end does not belong to the time, and may cut a step short."""
        for number, minutes in enumerate((-0.5, 0, 0.5, 2, 2.75, 3)):
            await inbox.record(provider_event(f"evt_{number}", received_at=AT + minutes * MINUTE))
        steps = await inbox_flow.steps(since=AT, until=AT + 2.5 * MINUTE, step=MINUTE)
        assert [(step.at, step.stored) for step in steps] == [(AT, 2), (AT + MINUTE, 0), (AT + 2 * MINUTE, 1)]

    async def test_ends_count_at_their_own_time(
        self, inbox_flow: InboxFlow, inbox: EventInbox, unit_of_work: UnitOfWork
    ) -> None:
        """Of events received in the time: applied, ignored and dead ones, and messages."""
        for number, outcome in enumerate(({}, {"sequence": None, "disposition": Disposition.IGNORED, "reason": "x"})):
            claim = await claimed(inbox, provider_event(f"evt_{number}", received_at=AT))
            await settle(unit_of_work, applied(claim, **outcome))
        claim = await claimed(inbox, provider_event("evt_2", received_at=AT))
        await settle(unit_of_work, Outcome(claim=claim, disposition=Disposition.DEAD, reason="bug"))
        await inbox.record(provider_event("evt_3", received_at=AT))
        claim = await claimed(inbox, provider_event("evt_before", received_at=AT - MINUTE))
        await settle(unit_of_work, applied(claim, sequence=None))
        (at_once,) = await inbox_flow.steps(since=AT, until=AT + MINUTE, step=LATER - AT)
        assert (at_once.stored, at_once.ended, at_once.dead) == (4, 0, 0)
        (ever,) = await inbox_flow.steps(since=AT, until=LATER, step=LATER - AT)
        assert (ever.stored, ever.applied, ever.ignored, ever.dead, ever.messages) == (4, 1, 1, 1, 1)
        assert ever.ended == 2

    async def test_delays_are_the_median_and_the_95th_percentile(
        self, inbox_flow: InboxFlow, inbox: EventInbox
    ) -> None:
        """Interpolated; duplicates are counted. Events received before the time do not count."""
        await inbox.record(provider_event("evt_before", created_at=AT - 9 * MINUTE, received_at=AT - MINUTE))
        for number in range(5):
            received = AT + number * timedelta(seconds=10)
            event = provider_event(f"evt_{number}", created_at=AT, received_at=received)
            await inbox.record(event)
            await inbox.record(event)
        delays = await inbox_flow.delays(since=AT, until=LATER)
        async with asyncio.timeout(20):
            while delays.duplicates < 5:  # noted after the answer
                await asyncio.sleep(0.01)
                delays = await inbox_flow.delays(since=AT, until=LATER)
        assert delays.sent == (timedelta(seconds=20), timedelta(seconds=38))
        assert delays.duplicates == 5

    async def test_nothing_has_no_delays(self, inbox_flow: InboxFlow) -> None:
        """Before the first event."""
        assert await inbox_flow.delays(since=AT, until=LATER) == FlowDelays()
