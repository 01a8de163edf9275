"""A whole loop in memory, and snapshots to send through it."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from tests.containers import container_with
from tests.patience import PATIENCE

from billing_app.container import Container, memory_adapters
from billing_app.settings import AccessSettings, CatalogSettings, DispatchSettings, Settings
from billing_core.events import BillingEvent, Disposition, Outcome, ProviderEvent, Translation
from billing_core.inbox.batch import BatchProcessor, ProcessingReport
from billing_core.inbox.dispatch import Dispatcher
from billing_core.inbox.policy import DispatchPolicy, Scope
from billing_core.inbox.ports import EventQueue
from billing_core.model import (
    CustomerId,
    CustomerSnapshot,
    InvoiceId,
    InvoiceLine,
    InvoiceSnapshot,
    ItemId,
    ItemSnapshot,
    LineId,
    Period,
    PlanCatalog,
    PriceId,
    SubscriptionId,
    SubscriptionSnapshot,
    TenantId,
    TenantRules,
    Uncertainty,
    UsageRecord,
)
from billing_core.payloads import BillingEventPayload, loads
from billing_core.state.ports import EventTranslator, UnitOfWork
from billing_core.state.refetch import Refetcher, RefetchPolicy, RefetchReport
from billing_core.state.service import BillingService
from billing_core.testing.scripted import ScriptedProvider
from billing_memory.clock import ManualClock
from billing_memory.database import Dispatch, MemoryDatabase
from billing_memory.gateway import MemoryGateway
from billing_memory.inbox.event_inbox import MemoryEventInbox
from billing_memory.state.repository import MemoryRepository
from billing_memory.stream.history import MemoryMessageHistory

AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
MONTH = Period(start=AT, end=AT + timedelta(days=31))
ACME, GLOBEX = TenantId("acme"), TenantId("globex")
ALICE, BOB = CustomerId("cus_alice"), CustomerId("cus_bob")


def item(item_id: str = "si_base", price_id: str = "price_pro", **fields: Any) -> ItemSnapshot:
    """Build a licensed item of the running month; fields override the defaults."""
    return ItemSnapshot(item_id=ItemId(item_id), price_id=PriceId(price_id), **{"period": MONTH, **fields})


def metered(item_id: str = "si_calls", price_id: str = "price_calls", **fields: Any) -> ItemSnapshot:
    """Build a metered item."""
    return item(item_id, price_id, usage_type="metered", **fields)


def subscription(subscription_id: str = "sub_1", status: str = "active", **fields: Any) -> SubscriptionSnapshot:
    """Build a subscription of Alice's with one licensed item; fields override the defaults."""
    known = {"customer_id": ALICE, "items": (item(quantity=1),), "currency": "usd", **fields}
    return SubscriptionSnapshot(subscription_id=SubscriptionId(subscription_id), status=status, **known)


def invoice(invoice_id: str = "in_1", status: str = "open", **fields: Any) -> InvoiceSnapshot:
    """Build an invoice of Alice's for `sub_1` and $19.00; fields override the defaults."""
    known = {
        "customer_id": ALICE,
        "subscription_id": SubscriptionId("sub_1"),
        "currency": "usd",
        "total": 1900,
        "amount_remaining": 0 if status == "paid" else 1900,
        "period": MONTH,
        **fields,
    }
    return InvoiceSnapshot(invoice_id=InvoiceId(invoice_id), status=status, **known)


def line(line_id: str = "il_1", price_id: str = "price_calls", **fields: Any) -> InvoiceLine:
    """Build a line for 120 calls that does not say whether its price is metered; fields override the defaults."""
    known = {"amount": 240, "quantity": 120, "period": MONTH, **fields}
    return InvoiceLine(line_id=LineId(line_id), price_id=PriceId(price_id), **known)


def customer(customer_id: CustomerId = ALICE, **fields: Any) -> CustomerSnapshot:
    """Build a customer."""
    return CustomerSnapshot(customer_id=customer_id, **fields)


@attrs.define
class Loop:
    """Store, dispatcher and repository on one database; time stands still until a test moves it."""

    clock: ManualClock = attrs.field(factory=lambda: ManualClock(AT))
    database: MemoryDatabase = attrs.field(factory=MemoryDatabase)
    provider: ScriptedProvider = attrs.field(factory=ScriptedProvider)
    scope: Scope = attrs.field(factory=lambda: Scope(livemode=True))
    policy: DispatchPolicy = attrs.field(factory=DispatchPolicy)
    plans: PlanCatalog = attrs.field(factory=PlanCatalog)
    access: AccessSettings = attrs.field(factory=AccessSettings)
    reports: list[ProcessingReport] = attrs.field(factory=list)
    messages: list[BillingEvent] = attrs.field(factory=list)
    uncommitted: list[BillingEvent] = attrs.field(factory=list)
    """Messages that were passed on for publishing before their transaction had ended; the fixture allows none."""
    translator: EventTranslator | None = None
    """Replaces the provider as the translator."""
    store: EventQueue | None = None
    """Replaces the database's own store."""
    written_to: UnitOfWork | None = None
    """Replaces the database's own repository."""
    gateway: MemoryGateway | None = None
    """Answers questions about thin events and uncertain objects."""
    uncertainties: list[Uncertainty] = attrs.field(factory=list)
    refetches: list[RefetchReport] = attrs.field(factory=list)
    notify: bool = True
    tenants: TenantRules = attrs.field(factory=TenantRules)
    _made: int = 0

    @property
    def inbox(self) -> MemoryEventInbox:
        """The database's own store, even if another one is in use."""
        return MemoryEventInbox(self.database, self.clock)

    @property
    def history(self) -> MemoryMessageHistory:
        """The messages that tenants were sent."""
        return MemoryMessageHistory(self.database)

    @property
    def repository(self) -> MemoryRepository:
        """The state of the database."""
        return MemoryRepository(self.database, self.clock)

    def service(self) -> BillingService:
        """Build a service as configured now."""
        with self._container() as container:
            return container.service()

    def refetcher(self, **policy: Any) -> Refetcher:
        """Build a refetcher that asks the gateway."""
        with self._container(refetch_policy=RefetchPolicy(**policy)) as container:
            refetcher = container.refetcher()
        assert refetcher is not None
        return refetcher

    def dispatcher(self) -> Dispatcher:
        """Build a dispatcher as configured now."""
        with self._container() as container:
            return container.dispatcher()

    def batches(self) -> BatchProcessor:
        """Build a processor of batches as configured now."""
        with self._container() as container:
            return container.batches()

    def _container(self, **replaced: object) -> AbstractContextManager[Container]:
        settings = Settings(
            access=self.access,
            dispatch=DispatchSettings(**attrs.asdict(self.policy)),
            catalog=CatalogSettings(plans=self.plans.plans),
            scope=self.plans.scope,
        )
        adapters = memory_adapters(settings, database=self.database, clock=self.clock)
        if self.store is not None:
            adapters["queue"] = self.store
        if self.written_to is not None:
            adapters["unit_of_work"] = self.written_to
        return container_with(
            **adapters,
            settings=settings,
            translator=self.translator or self.provider,
            scope=self.scope,
            gateway=self.gateway,
            thin_gateway=self.gateway,
            notify=self.notify,
            tenant_rules=self.tenants,
            publish=self._publish,
            refetch=self.uncertainties.extend,
            observers=SimpleNamespace(processed=self.reports.append, refetched=self.refetches.append),
            **replaced,
        )

    def _publish(self, events: Sequence[BillingEvent]) -> None:
        committed = self.database.tables.messages
        self.uncommitted += [each for each in events if committed.get((each.tenant_id, each.sequence)) != each]
        self.messages.extend(events)

    async def refetch(self) -> list[str]:
        """Refetch the uncertain objects so far, one after the other; return the result of each."""
        refetcher, uncertainties = self.refetcher(), list(self.uncertainties)
        self.uncertainties.clear()
        for uncertainty in uncertainties:
            await refetcher.refetch(uncertainty)
        return [report.result for report in self.refetches[len(self.refetches) - len(uncertainties) :]]

    def says(
        self,
        *shown: SubscriptionSnapshot | InvoiceSnapshot | CustomerSnapshot,
        at: int = 0,
        tenant: TenantId | None = ACME,
        event_id: str | None = None,
        customer_id: CustomerId | None = None,
        before: SubscriptionSnapshot | InvoiceSnapshot | CustomerSnapshot | None = None,
        livemode: bool = True,
        account: str = "",
        **fields: Any,
    ) -> ProviderEvent:
        """Build an event `at` seconds after the start that shows some objects and names a tenant."""
        self._made += 1
        customer_id = customer_id or (shown[0].customer_id if shown else None)
        translation = Translation(customer_id=customer_id, tenant_hint=tenant, snapshots=shown, **fields)
        return self.provider.event(
            event_id or f"evt_{self._made:03}",
            translation,
            at=AT + timedelta(seconds=at),
            before=before,
            livemode=livemode,
            account=account,
        )

    async def arrive(self, *events: ProviderEvent) -> Sequence[Outcome]:
        """Store events and process everything due in one batch."""
        for event in events:
            await self.inbox.record(event)
        return await self.work()

    async def arrive_all(self, events: Sequence[ProviderEvent], *, together: bool) -> None:
        """Process events in one batch or each by itself, and then everything that becomes due."""
        for batch in [events] if together else [[event] for event in events]:
            await self.arrive(*batch)
        while await self.work():
            pass

    async def work(self) -> Sequence[Outcome]:
        """Process everything due in one batch."""
        return await self.batches().process(await self.inbox.claim(limit=1000, lease=timedelta(seconds=60)))

    async def hand_over(self, *events: ProviderEvent) -> Sequence[Outcome]:
        """Store events and process them in one batch as a server does: translated at intake."""
        batches, handed = self.batches(), []
        for event in events:
            receipt = await self.inbox.record(event, lease=timedelta(minutes=1))
            assert receipt.claim is not None
            handed.append(batches.read_ahead(receipt.claim))
        read = {claim.dispatch_id: translation for claim, translation in handed if translation is not None}
        return await batches.process([claim for claim, _ in handed], read)

    async def replay(self, event: ProviderEvent) -> Sequence[Outcome]:
        """Process a stored event again, as an operator would."""
        row = self.row(event)
        due = attrs.evolve(row, disposition=Disposition.DUE, due_at=self.clock.now())
        self.database.tables.dispatch[row.dispatch_id] = due
        return await self.work()

    def row(self, event: ProviderEvent) -> Dispatch:
        """Return the dispatch row of an event."""
        return self.database.tables.dispatch[self.database.numbers[event.key]]

    def attribution(self, event: ProviderEvent) -> tuple[CustomerId | None, TenantId | None]:
        """Return the customer and the tenant that stand in the dispatch row of an event."""
        outcome = self.row(event).outcome
        return (None, None) if outcome is None else (outcome.customer_id, outcome.tenant_id)

    async def payloads(self, tenant_id: TenantId = ACME) -> list[BillingEventPayload]:
        """Return all messages of a tenant."""
        events = await self.history.events(tenant_id, after=0, limit=10_000)
        return [loads(event.payload) for event in events]

    async def notified(self, tenant_id: TenantId = ACME) -> list[str]:
        """Return the types of all messages of a tenant."""
        return [payload.event_type for payload in await self.payloads(tenant_id)]

    async def subscription(self, subscription_id: str = "sub_1") -> SubscriptionSnapshot:
        """Return the stored state of a subscription."""
        return self.database.tables.subscriptions[SubscriptionId(subscription_id)].snapshot

    async def invoice(self, invoice_id: str = "in_1") -> InvoiceSnapshot:
        """Return the stored state of an invoice."""
        return self.database.tables.invoices[InvoiceId(invoice_id)].snapshot

    async def usage(self, tenant_id: TenantId = ACME) -> Sequence[UsageRecord]:
        """Return all billed usage of a tenant."""
        return await self.repository.usage(tenant_id, limit=1000)


async def until(done: Callable[[], bool]) -> None:
    """Let other tasks run until a condition holds."""
    async with asyncio.timeout(PATIENCE):
        while not done():  # noqa: ASYNC110 - the condition sets no event
            await asyncio.sleep(0.002)


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop with an open catalog, in live mode. No test may see a message before its commit."""
    loop = Loop()
    yield loop
    assert loop.uncommitted == []
