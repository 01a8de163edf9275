"""Nothing is passed on before its commit: a transaction that is lost has no effect outside the store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import ALICE, Loop, subscription
from tests.unit.core.test_replay import replay

from billing_core.errors import StoreUnavailableError
from billing_core.events import Disposition, ProviderEvent, Translation
from billing_core.model import SubscriptionId
from billing_memory.gateway import MemoryGateway
from billing_memory.state.repository import MemoryRepository
from billing_memory.state.transaction import MemoryTransaction

ACTIVE, PAST_DUE, TRIALING = (subscription(status=status) for status in ("active", "past_due", "trialing"))


@attrs.define
class LosesCommits:
    """A repository whose next commits are lost: all work is done, then the store goes away."""

    repository: MemoryRepository
    lost: int

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        """Begin a unit of work whose commit may be lost."""
        async with self.repository.transaction() as transaction:
            yield transaction
            if self.lost:
                self.lost -= 1
                raise StoreUnavailableError("commit")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.repository, name)


def lose_commits(loop: Loop, lost: int) -> None:
    """Lose the next commits."""
    loop.written_to = LosesCommits(loop.repository, lost)


def contradicting(loop: Loop) -> list[ProviderEvent]:
    """Build two events of one second with different states: the object is then uncertain."""
    return [loop.says(PAST_DUE, at=5, event_id="evt_a"), loop.says(ACTIVE, at=5, event_id="evt_b")]


def passed_on(loop: Loop) -> tuple[int, int, int]:
    """Return how many messages, uncertain objects and outcomes left the processor."""
    return len(loop.messages), len(loop.uncertainties), sum(len(report.outcomes) for report in loop.reports)


class TestDispatch:
    """Events that a worker processes."""

    async def test_a_lost_commit_publishes_and_reports_nothing(self, loop: Loop) -> None:
        """The batch is given up; the worker that claims the events next passes everything on, once."""
        events = contradicting(loop)
        for event in events:
            await loop.inbox.record(event)
        claims = await loop.inbox.claim(limit=10, lease=loop.policy.lease)
        lose_commits(loop, 1)
        batches = loop.batches()
        batches.stop()
        assert not await batches.process(claims)
        assert passed_on(loop) == (0, 0, 0)
        assert {loop.row(event).disposition for event in events} == {Disposition.LEASED}
        loop.clock.advance(loop.policy.lease)
        await loop.work()
        messages = len(await loop.notified())
        assert passed_on(loop) == (messages, 1, 2)
        assert [message.sequence for message in loop.messages] == list(range(1, messages + 1))

    async def test_a_batch_that_is_tried_again_is_published_once(self, loop: Loop) -> None:
        """The messages of the lost attempt had numbers that were used again."""
        lose_commits(loop, 1)
        await loop.arrive(*contradicting(loop))
        assert passed_on(loop) == (len(await loop.notified()), 1, 2)

    async def test_what_a_lost_commit_would_have_freed_stays_waiting(self, loop: Loop) -> None:
        """An event waits for its customer's tenant; the link is lost once."""
        waiting = loop.says(ACTIVE, tenant=None)
        await loop.arrive(waiting)
        lose_commits(loop, 1)
        await loop.inbox.record(loop.says(customer_id=ALICE))
        claims = await loop.inbox.claim(limit=10, lease=loop.policy.lease)
        batches = loop.batches()
        batches.stop()
        assert not await batches.process(claims)
        assert loop.row(waiting).disposition is Disposition.PARKED
        assert loop.messages == []


class TestRefetch:
    """Objects that were fetched from the provider."""

    async def test_a_lost_commit_publishes_nothing_and_leaves_the_mark(self, loop: Loop) -> None:
        """A later refetch writes the answer, and publishes it then."""
        loop.gateway = MemoryGateway()
        shown = Translation(customer_id=ALICE, snapshots=(TRIALING,))
        loop.gateway.subscriptions[SubscriptionId("sub_1")] = shown
        await loop.arrive(*contradicting(loop))
        (uncertainty,) = loop.uncertainties
        guessed, published = await loop.subscription(), len(loop.messages)
        lose_commits(loop, 1)
        assert await loop.refetch() == ["store_unavailable"]
        assert (await loop.subscription(), len(loop.messages)) == (guessed, published)
        loop.uncertainties.append(uncertainty)
        assert await loop.refetch() == ["refetched"]
        assert (await loop.subscription()).status == "trialing"
        assert [message.sequence for message in loop.messages] == list(range(1, published + 2))


class TestReplay:
    """Stored events that are processed again."""

    @pytest.mark.parametrize("lost", [0, 1])
    async def test_a_replay_publishes_what_it_committed_once(self, loop: Loop, lost: int) -> None:
        """Whether or not its first commit was lost."""
        await loop.arrive(loop.says(ACTIVE))
        loop.database.tables.subscriptions.clear()
        lose_commits(loop, lost)
        report = await replay(loop)
        assert (report.changed, report.messages) == (1, 1)
        assert [message.sequence for message in loop.messages] == [1, 2]
