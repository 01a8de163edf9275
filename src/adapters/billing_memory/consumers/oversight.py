"""Consumers as operators see them, and their actions, in process."""

from collections.abc import Mapping, Sequence

import attrs

from billing_core.consumers.ports import ConsumerStanding, Lag, SkippedMessage, WaitingTenant
from billing_core.consumers.values import ConsumerName, Start, check_number
from billing_core.model import TenantId
from billing_core.state.ports import Clock
from billing_memory.consumers.queue import MemoryConsumers
from billing_memory.consumers.tables import Position
from billing_memory.database import MemoryDatabase
from billing_memory.oversight.event_log import MemoryEventLog


class MemoryConsumerOversight:
    """A `ConsumerOversight`."""

    def __init__(self, database: MemoryDatabase, clock: Clock, consumers: MemoryConsumers) -> None:
        self._database = database
        self._tables = database.consumers
        self._clock = clock
        self._consumers = consumers
        self._audits = MemoryEventLog(database, clock)

    async def standings(self) -> Sequence[ConsumerStanding]:
        """Return all consumers by name."""
        lags = await self.lags()
        return [
            ConsumerStanding(
                registered=registered,
                waiting=len(self._positions(name)),
                lag=lags[name],
                skipped=sum(each.consumer == name for each in self._tables.skipped),
            )
            for name, registered in sorted(self._tables.registered.items())
        ]

    async def lags(self) -> Mapping[ConsumerName, Lag]:
        """Return how far behind each consumer is."""
        return self._tables.lags(self._clock.now())

    async def waiting(
        self, name: ConsumerName, *, held: bool = False, tenant_id: TenantId | None = None, limit: int
    ) -> Sequence[WaitingTenant]:
        """Return tenants that wait, the longest first."""
        found = self._held(name) if held else self._positions(name)
        chosen = {key: each for key, each in found.items() if tenant_id in (None, key)}
        oldest_first = sorted(chosen, key=lambda key: (chosen[key].waiting_since, key))
        return [_waiting(name, key, chosen[key]) for key in oldest_first[:limit]]

    async def skipped(self, name: ConsumerName, *, limit: int) -> Sequence[SkippedMessage]:
        """Return messages that were passed over, the last one first."""
        return [each for each in reversed(self._tables.skipped) if each.consumer == name][:limit]

    async def retry(
        self, name: ConsumerName, *, tenant_id: TenantId | None = None, actor: str, reason: str | None
    ) -> int:
        """Try dead messages again."""
        now = self._clock.now()
        held = [key for key in self._held(name) if tenant_id in (None, key)]
        for key in held:
            self._tables.positions[name, key] = attrs.evolve(
                self._tables.positions[name, key], dead_at=None, attempts=0, due_at=now
            )
        self._tables.due.set()
        await self._log(
            "consumer_retry", actor=actor, reason=reason, name=name, tenant_id=tenant_id, result={"tenants": len(held)}
        )
        return len(held)

    async def skip(
        self, name: ConsumerName, *, tenant_id: TenantId, sequence: int, actor: str, reason: str | None
    ) -> bool:
        """Pass over a tenant's dead message."""
        known, now = self._held(name).get(tenant_id), self._clock.now()
        if known is None or known.position + 1 != sequence:
            return False
        self._tables.skipped.append(
            SkippedMessage(
                consumer=name,
                tenant_id=tenant_id,
                sequence=sequence,
                skipped_at=now,
                attempts=known.attempts,
                error=known.error,
                actor=actor,
                reason=reason,
            )
        )
        self._consumers.set_position(name, tenant_id, sequence, known.last)
        await self._log(
            "consumer_skip", actor=actor, reason=reason, name=name, tenant_id=tenant_id, result={"sequence": sequence}
        )
        return True

    async def rewind(
        self,
        name: ConsumerName,
        *,
        to: Start | int,
        tenant_id: TenantId | None = None,
        actor: str,
        reason: str | None,
    ) -> bool:
        """Set a consumer's position."""
        counters = self._database.tables.counters
        if name not in self._tables.registered or (tenant_id is not None and tenant_id not in counters):
            return False
        if isinstance(to, int) and tenant_id is None:
            raise ValueError("a number is of one tenant: name the tenant")
        if isinstance(to, int) and tenant_id is not None:
            check_number(to, counters[tenant_id])
        for each in counters if tenant_id is None else [tenant_id]:
            position = max(to - 1, 0) if isinstance(to, int) else self._consumers.position_at(each, to)
            self._consumers.set_position(name, each, position, counters[each])
        await self._log(
            "consumer_rewind", actor=actor, reason=reason, name=name, tenant_id=tenant_id, result={"to": str(to)}
        )
        return True

    def _positions(self, name: ConsumerName) -> Mapping[TenantId, Position]:
        return {key: each for (consumer, key), each in self._tables.positions.items() if consumer == name}

    def _held(self, name: ConsumerName) -> Mapping[TenantId, Position]:
        return {key: each for key, each in self._positions(name).items() if each.dead_at is not None}

    async def _log(
        self,
        action: str,
        *,
        actor: str,
        reason: str | None,
        name: ConsumerName,
        tenant_id: TenantId | None,
        result: Mapping[str, object],
    ) -> None:
        subject = {"consumer": name, "tenant": tenant_id}
        entry = await self._audits.begin(action, actor=actor, reason=reason, filter=subject)
        await self._audits.finish(entry, result)


def _waiting(name: ConsumerName, tenant_id: TenantId, row: Position) -> WaitingTenant:
    return WaitingTenant(
        consumer=name,
        tenant_id=tenant_id,
        position=row.position,
        last=row.last,
        attempts=row.attempts,
        due_at=row.due_at,
        waiting_since=row.waiting_since,
        dead_at=row.dead_at,
        error=row.error,
    )
