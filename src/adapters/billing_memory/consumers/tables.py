"""Consumers and their positions, as the memory adapters of one application share them."""

import asyncio
import itertools
from collections.abc import Iterable
from datetime import datetime

import attrs

from billing_core.consumers.ports import Lag, RegisteredConsumer, SkippedMessage
from billing_core.consumers.values import ConsumerName
from billing_core.events import BillingEvent
from billing_core.model import TenantId

PositionKey = tuple[ConsumerName, TenantId]


@attrs.frozen(kw_only=True)
class Position:
    """A tenant with messages that a consumer has not handled."""

    position: int
    last: int
    due_at: datetime
    waiting_since: datetime
    fence: int = 0
    attempts: int = 0
    dead_at: datetime | None = None
    error: str | None = None


class ConsumerTables:
    """A row for each tenant and consumer with messages waiting; none otherwise."""

    def __init__(self) -> None:
        self.registered: dict[ConsumerName, RegisteredConsumer] = {}
        self.positions: dict[PositionKey, Position] = {}
        self.skipped: list[SkippedMessage] = []
        self.numbered_at: dict[tuple[TenantId, int], datetime] = {}
        """When each message was committed."""
        self.fences = itertools.count(1)
        self.due = asyncio.Event()
        """Set when messages may have become due; cleared by a claim."""

    def add(self, events: Iterable[BillingEvent], now: datetime) -> None:
        """Have the consumers that want these messages wait for them. Ordered by number within each tenant."""
        for event in events:
            self.numbered_at[event.tenant_id, event.sequence] = now
            for name, registered in self.registered.items():
                if registered.consumer.wants(event.event_type):
                    self._add_one((name, event.tenant_id), event.sequence, now)
        self.due.set()

    def _add_one(self, key: PositionKey, sequence: int, now: datetime) -> None:
        known = self.positions.get(key)
        if known is None:
            self.positions[key] = Position(position=sequence - 1, last=sequence, due_at=now, waiting_since=now)
        else:
            self.positions[key] = attrs.evolve(known, last=sequence)

    def lags(self, now: datetime) -> dict[ConsumerName, Lag]:
        """Return how far behind each consumer is."""
        found = dict.fromkeys(self.registered, Lag())
        for (name, _), position in self.positions.items():
            lag = found[name]
            oldest = max(lag.oldest, now - position.waiting_since)
            found[name] = Lag(oldest=oldest, held=lag.held + (position.dead_at is not None))
        return found
