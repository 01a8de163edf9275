"""A store, a register of rules and a bus that do what a test says, for entitlements."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import timedelta

import attrs
from tests.patience import PATIENCE

from billing_core.errors import EventBusUnavailableError, StoreUnavailableError
from billing_core.events import BillingEvent
from billing_core.model import BillingRules, Plan, PlanFeature, RulesInForce, TenantId, TenantState
from billing_core.testing.builders import ACME, AT, GLOBEX, message, subscription
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_memory.state.repository import MemoryRepository
from billing_memory.state.rules import MemoryRulesRegister
from billing_memory.stream.bus import MemoryEventBus


def rules(limit: int = 5) -> BillingRules:
    features = (PlanFeature(key="projects", limit=limit), PlanFeature(key="exports"))
    return BillingRules(plans=(attrs.evolve(Plan.of_prices("pro", base=["price_pro"]), features=features),))


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.001)


class Store(MemoryRepository):
    """States of tenants, and the rules in force, with faults on demand."""

    def __init__(self) -> None:
        super().__init__(MemoryDatabase(), ManualClock())
        self.elapsed = 1000.0
        self.takes = 0.0
        """Seconds from a reading to its arrival, or to its failure."""
        self.sequences: dict[TenantId, int] = {ACME: 1, GLOBEX: 1}
        self.statuses: dict[TenantId, str] = {}
        self.rules = RulesInForce(rules(), 1)
        self.readings: list[TenantId] = []
        self.unavailable = False
        self.gate: asyncio.Event | None = None

    async def state(self, tenant_id: TenantId) -> TenantState:
        self.readings.append(tenant_id)
        found = TenantState(
            tenant_id=tenant_id,
            sequence=self.sequences.get(tenant_id, 0),
            as_of=AT + timedelta(seconds=self.elapsed),
            generation=self.rules.generation,
            subscriptions=(subscription(status=self.statuses.get(tenant_id, "active"), tenant_id=tenant_id),),
            invoices=(),
            usage=(),
        )
        self.elapsed += self.takes
        if self.gate is not None:
            await self.gate.wait()
        if self.unavailable:
            raise StoreUnavailableError("state")
        return found

    def change(self, tenant_id: TenantId, status: str) -> BillingEvent:
        """Commit a change, and return its message for the bus."""
        self.statuses[tenant_id] = status
        self.sequences[tenant_id] += 1
        return message(tenant_id, self.sequences[tenant_id])


class Register(MemoryRulesRegister):
    """The register of a store's rules."""

    def __init__(self, store: Store) -> None:
        super().__init__(MemoryDatabase())
        self._store = store

    async def active(self) -> RulesInForce:
        if self._store.unavailable:
            raise StoreUnavailableError("rules")
        return self._store.rules


class Bus(MemoryEventBus):
    """A bus that says what a test scripts: batches, or None for its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.script: asyncio.Queue[Sequence[BillingEvent] | None] = asyncio.Queue()

    async def follow(self) -> AsyncGenerator[Sequence[BillingEvent], None]:
        while True:
            batch = await self.script.get()
            if batch is None:
                raise EventBusUnavailableError("follow")
            yield batch

    async def say(self, *events: BillingEvent) -> None:
        """Let the follower receive a batch."""
        await self.script.put(events)
        await self._taken()

    async def fail(self) -> None:
        """Take the bus away from its follower."""
        await self.script.put(None)
        await self._taken()

    async def _taken(self) -> None:
        await eventually(self.script.empty)
        await asyncio.sleep(0.001)
