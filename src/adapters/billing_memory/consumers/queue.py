"""Consumers and the messages that wait for them, in process."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import attrs

from billing_core.consumers.ports import (
    ConsumerClaim,
    Progress,
    RegisteredConsumer,
    SkippedMessage,
    Step,
    Waiting,
    Want,
)
from billing_core.consumers.values import Consumer, ConsumerMessage, ConsumerName, MessageId, Start
from billing_core.errors import ClaimLostError
from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.state.ports import Clock
from billing_core.stream.ports import EpochLog
from billing_core.waiting import wait_at_most
from billing_memory.consumers.tables import Position
from billing_memory.database import MemoryDatabase


class NoTransaction:
    """Given to handlers in place of a connection: there is no database that they could write to."""

    def __getattr__(self, name: str) -> object:
        """Raise RuntimeError, saying what to do."""
        raise RuntimeError(
            f"transaction.{name}: the memory adapters have no database. Test this handler on Postgres, or write a "
            "handler that takes the message only"
        )


class MemoryConsumers:
    """A `ConsumerRegister` and a `ConsumerQueue`. No method waits for anything, so each is one step."""

    def __init__(self, database: MemoryDatabase, clock: Clock, epochs: EpochLog) -> None:
        self._database = database
        self._tables = database.consumers
        self._clock = clock
        self._epochs = epochs

    # --- register -----------------------------------------------------------------------------------------------

    async def register(self, consumer: Consumer) -> RegisteredConsumer:
        """Add or update a consumer."""
        known = self._tables.registered.get(consumer.name)
        if known is not None:
            updated = attrs.evolve(known, consumer=attrs.evolve(consumer, start=known.consumer.start))
        else:
            updated = RegisteredConsumer(consumer=consumer, registered_at=self._clock.now())
        self._tables.registered[consumer.name] = updated
        if known is None:
            self.start(consumer)
        return updated

    def start(self, consumer: Consumer) -> None:
        """Have every message wait that the start of a consumer demands."""
        for tenant_id, last in self._database.tables.counters.items():
            position = self.position_at(tenant_id, consumer.start)
            self.set_position(consumer.name, tenant_id, position, last)

    def position_at(self, tenant_id: TenantId, start: Start) -> int:
        """Return the number of the last message before a start."""
        last, erased = self._database.tables.counters.get(tenant_id, 0), self._database.erased_until.get(tenant_id, 0)
        if start == "beginning":
            return erased
        if isinstance(start, datetime):
            numbered = self._tables.numbered_at
            return max((n for n in range(erased + 1, last + 1) if numbered[tenant_id, n] < start), default=erased)
        return last

    def set_position(self, name: ConsumerName, tenant_id: TenantId, position: int, last: int) -> None:
        """Have the messages above a position wait; forget the tenant if there are none."""
        key, now = (name, tenant_id), self._clock.now()
        position = max(position, self._database.erased_until.get(tenant_id, 0))
        if position >= last:
            self._tables.positions.pop(key, None)
            return
        self._tables.positions[key] = Position(
            position=position, last=last, due_at=now, waiting_since=self._tables.numbered_at[tenant_id, position + 1]
        )
        self._tables.due.set()

    async def registered(self) -> Sequence[RegisteredConsumer]:
        """Return all consumers by name."""
        return [registered for _, registered in sorted(self._tables.registered.items())]

    async def remove(self, name: ConsumerName) -> bool:
        """Forget a consumer."""
        for key in [key for key in self._tables.positions if key[0] == name]:
            del self._tables.positions[key]
        self._tables.skipped = [each for each in self._tables.skipped if each.consumer != name]
        return self._tables.registered.pop(name, None) is not None

    async def disable(self, name: ConsumerName, *, reason: str) -> bool:
        """Hand nothing to a consumer until it is enabled."""
        return self._switch(name, disabled=True, reason=reason)

    async def enable(self, name: ConsumerName) -> bool:
        """Hand messages to a consumer again."""
        return self._switch(name, disabled=False, reason=None)

    def _switch(self, name: ConsumerName, *, disabled: bool, reason: str | None) -> bool:
        known = self._tables.registered.get(name)
        if known is None or (known.disabled_at is not None) is disabled:
            return False
        at = self._clock.now() if disabled else None
        self._tables.registered[name] = attrs.evolve(known, disabled_at=at, disabled_reason=reason)
        self._tables.due.set()
        return True

    # --- queue --------------------------------------------------------------------------------------------------

    async def catch_up(self, consumers: Collection[ConsumerName], *, limit: int) -> Collection[ConsumerName]:
        """Return nothing: all tenants are found when a consumer is registered."""
        return ()

    async def claim(self, wants: Sequence[Want]) -> Sequence[ConsumerClaim]:
        """Claim tenants that are due, the longest first."""
        self._tables.due.clear()
        now = self._clock.now()
        claims: list[ConsumerClaim] = []
        for want in wants:
            known = self._tables.registered.get(want.consumer)
            if known is None or known.disabled_at is not None:
                continue
            due = [
                (position.due_at, tenant_id)
                for (name, tenant_id), position in self._tables.positions.items()
                if name == want.consumer and position.dead_at is None and position.due_at <= now
            ]
            claims += [self._claim(want, tenant_id, now) for _, tenant_id in sorted(due)[: want.limit]]
        return claims

    def _claim(self, want: Want, tenant_id: TenantId, now: datetime) -> ConsumerClaim:
        known = self._tables.positions[want.consumer, tenant_id]
        fence, attempt = next(self._tables.fences), known.attempts + 1
        self._tables.positions[want.consumer, tenant_id] = attrs.evolve(
            known, fence=fence, attempts=attempt, due_at=now + want.lease
        )
        return ConsumerClaim(
            consumer=want.consumer,
            tenant_id=tenant_id,
            position=known.position,
            last=known.last,
            fence=fence,
            attempt=attempt,
        )

    async def messages(self, claims: Sequence[ConsumerClaim], *, limit: int) -> Sequence[Waiting]:
        """Return the next messages of each claim."""
        epoch = (await self._epochs.enter()).token
        return [self._waiting(claim, limit, epoch) for claim in claims]

    def _waiting(self, claim: ConsumerClaim, limit: int, epoch: str) -> Waiting:
        stored, known = self._database.tables.messages, self._tables.registered.get(claim.consumer)
        events = [stored[claim.tenant_id, number] for number in range(claim.position + 1, claim.last + 1)]
        wanted = [event for event in events if known is not None and known.consumer.wants(event.event_type)]
        chosen = wanted[:limit]
        return Waiting(
            messages=[_message(event, epoch) for event in chosen],
            until=chosen[-1].sequence if len(wanted) > limit else claim.last,
        )

    async def settle(self, progress: Sequence[Progress]) -> Sequence[bool]:
        """Store new positions."""
        return [self._settle(each) for each in progress]

    def _settle(self, progress: Progress) -> bool:
        claim, now = progress.claim, self._clock.now()
        key = (claim.consumer, claim.tenant_id)
        known = self._tables.positions.get(key)
        if known is None or (known.fence, known.position) != (claim.fence, claim.position):
            return False
        if progress.step is Step.SKIP:
            self._tables.skipped.append(_skipped(progress, now))
        if progress.step is Step.DONE and progress.position >= known.last:
            del self._tables.positions[key]
            return True
        holds_on = progress.step in (Step.CONTINUE, Step.SKIP)
        self._tables.positions[key] = attrs.evolve(
            known,
            position=progress.position,
            fence=known.fence if holds_on else 0,
            attempts=1 if holds_on else progress.attempts,
            due_at=now if progress.step is Step.DONE else now + progress.after,
            waiting_since=self._tables.numbered_at.get((claim.tenant_id, progress.position + 1), known.waiting_since),
            dead_at=now if progress.step is Step.HOLD else None,
            error=None if progress.step is Step.SKIP else progress.error,
        )
        if progress.step is Step.DONE:
            self._tables.due.set()
        return True

    @asynccontextmanager
    async def settling(self, progress: Progress, *, limit: timedelta) -> AsyncIterator[NoTransaction]:
        """Store the position at the end of the block; there is nothing else to write to."""
        yield NoTransaction()
        if not self._settle(progress):
            raise ClaimLostError(f"another process has {progress.claim.tenant_id} of {progress.claim.consumer}")

    def notify(self) -> None:
        """Wake what waits."""
        self._tables.due.set()

    async def wait(self, *, at_most: timedelta) -> None:
        """Return when messages may have become due."""
        await wait_at_most(self._tables.due, at_most)


def _message(event: BillingEvent, epoch: str) -> ConsumerMessage:
    return ConsumerMessage(id=MessageId(epoch=epoch, tenant_id=event.tenant_id, sequence=event.sequence), event=event)


def _skipped(progress: Progress, now: datetime) -> SkippedMessage:
    return SkippedMessage(
        consumer=progress.claim.consumer,
        tenant_id=progress.claim.tenant_id,
        sequence=progress.position,
        skipped_at=now,
        attempts=progress.attempts,
        error=progress.error,
        actor=None,
        reason=None,
    )
