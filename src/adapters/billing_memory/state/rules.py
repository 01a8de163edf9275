"""The rules in force, in process."""

from collections.abc import Sequence

from billing_core.model import RulesInForce, SubscriptionId, TenantId, TenantSubscription
from billing_memory.database import MemoryDatabase


class MemoryRulesRegister:
    """A `RulesRegister`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def active(self) -> RulesInForce | None:
        """Return the rules in force."""
        return self._database.rules[-1][0] if self._database.rules else None

    async def was_active(self, fingerprint: str) -> bool:
        """Return whether rules with this fingerprint are or were in force."""
        return any(fingerprint == known for _, known in self._database.rules)

    async def activate(self, rules: RulesInForce, *, fingerprint: str, actor: str) -> bool:
        """Put rules in force under their generation."""
        if rules.generation != self._database.generation + 1:
            return False
        self._database.rules.append((rules, fingerprint))
        return True

    async def live_subscriptions(self, *, after: SubscriptionId, limit: int) -> Sequence[TenantSubscription]:
        """Return subscriptions that have not ended, by id."""
        found = sorted(self._database.tables.subscriptions.items())
        return [held for id_, held in found if id_ > after and not held.snapshot.ended][:limit]

    async def tenants_behind(self, *, limit: int) -> Sequence[TenantId]:
        """Return tenants whose state was read by earlier rules."""
        return self._behind()[:limit]

    async def count_behind(self) -> int:
        """Count the same tenants."""
        return len(self._behind())

    def _behind(self) -> list[TenantId]:
        tables = self._database.tables
        return [id_ for id_ in sorted(tables.counters) if tables.generations.get(id_, 0) < self._database.generation]
