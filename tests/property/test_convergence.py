"""Events converge: in any order, number and batches, tenants end in the state in which the provider left them.

Lives of customers, subscriptions, invoices, refunds, disputes, prices and test clocks are simulated step by step. Every
step shows, as the provider does, the object after it and the values it overwrote, with times in whole seconds.
Meanwhile operators link, move and unlink customers, in an order of their own that the events may fall into anywhere.
The state and the messages are then compared with the simulated objects.
"""

import asyncio
import operator
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.containers import container_with
from tests.databases import Databases
from tests.property.choices import choices, scaled, shrinks_slowly

from billing_app.container import Adapters, memory_adapters, postgres_adapters
from billing_app.settings import DispatchSettings, Settings
from billing_core.events import Claim, Disposition, EventKey, Outcome, ProviderEvent, Translation
from billing_core.inbox.batch import ProcessingReport
from billing_core.inbox.policy import Scope
from billing_core.model import (
    DELETED,
    AccessFacts,
    AccessPolicy,
    ChargeSnapshot,
    ClockSnapshot,
    CreditNoteSnapshot,
    CustomerId,
    CustomerSnapshot,
    DisputeSnapshot,
    InvoiceId,
    InvoiceLine,
    InvoiceSnapshot,
    ItemId,
    ItemSnapshot,
    LineId,
    LinkAction,
    LinkDecision,
    PaymentSnapshot,
    Period,
    PlanCatalog,
    PriceId,
    PriceSnapshot,
    RecordSnapshot,
    RefundSnapshot,
    Snapshot,
    SubscriptionId,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantCustomer,
    TenantId,
    TenantRecord,
    TenantSubscription,
    Tracked,
    UsageRecord,
    clock_times,
    standings,
)
from billing_core.payloads import (
    BillingEventPayload,
    InvoiceSection,
    SubscriptionSection,
    access_section,
    invoice_section,
    loads,
    subscription_section,
    usage_section,
)
from billing_core.testing.scripted import ScriptedProvider
from billing_memory.clock import ManualClock
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.pool import Database

START = datetime(2026, 3, 1, tzinfo=UTC)
MONTH = Period(start=START, end=START + timedelta(days=31))
TENANTS = (TenantId("acme"), TenantId("globex"), TenantId("initech"))
CALLS, STORAGE = PriceId("price_calls"), PriceId("price_storage")
CLOCKS = ("clock_1", "clock_2")
FEATURES = {CALLS: "api_calls", STORAGE: STORAGE}
"""Storage has no feature key of its own."""
SETTINGS = Settings(dispatch=DispatchSettings(batch=16, backoff_base=timedelta(0), max_attempts=1_000))


OpenAdapters = Callable[[], AbstractAsyncContextManager[Adapters]]
"""Opens empty adapters for one history."""


@asynccontextmanager
async def in_memory() -> AsyncIterator[Adapters]:
    """Open adapters in process."""
    yield memory_adapters(SETTINGS, clock=ManualClock(START))


# --- the lives ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Step:
    """One event of an object's life: the snapshot after it and, for an update, the one before."""

    after: Snapshot
    before: Snapshot | None = None
    creation: bool = False
    about: tuple[str, ...] = ()
    """Objects that the event names instead of the customer."""


@attrs.define(kw_only=True)
class Life:
    """An object, and all its steps with their times."""

    tenant_id: TenantId | None
    unowned: bool = False
    """Whether it belongs to no tenant: prices and test clocks."""
    steps: list[tuple[datetime, Step]] = attrs.field(factory=list)

    @property
    def kept(self) -> bool:
        """Tell whether its owner can be known."""
        return self.unowned or self.tenant_id is not None

    @property
    def truth(self) -> Snapshot:
        """Return the object as the provider left it."""
        return self.steps[-1][1].after

    @property
    def last_second(self) -> Sequence[Step]:
        """Return the steps among which the last one has to be found."""
        last = max((step.after.precedence, at) for at, step in self.steps)
        return [step for at, step in self.steps if (step.after.precedence, at) == last]

    @property
    def undecidable(self) -> bool:
        """Tell whether the steps of the last second form a cycle, so that none of them is known to be the last."""
        edges = [step for step in self.last_second if step.before is not None]
        return bool(edges) and edges[0].before == self.truth and not any(step.creation for step in self.last_second)


class World:
    """A random history of a few tenants at a provider, with its events."""

    def __init__(self, lives: Sequence[Random], rest: Random, operators: Random | None = None) -> None:
        """Play the life of one customer for each of `lives`, then `rest`: prices, clocks and foreign events.

        Without `operators` there are no decisions about links.
        """
        self._now = START
        self.provider = ScriptedProvider()
        self.events: list[ProviderEvent] = []
        self.ignored: list[ProviderEvent] = []
        self.lives: dict[str, Life] = {}
        self.features: dict[SubscriptionId, dict[PriceId, str]] = {}
        """Every metered price that each subscription has had."""
        self.decisions: list[LinkDecision] = []
        self._theirs: dict[CustomerId, list[Life]] = {}
        for number, random in enumerate(lives):
            self._random = random
            self._live(number)
        self._random = rest
        self._sell()
        self._advance()
        self._make_noise()
        if operators is not None:
            self._decide(operators)

    def usage(self) -> set[UsageRecord]:
        """Return the usage that invoices billed."""
        return {
            UsageRecord(
                tenant_id=life.tenant_id,
                invoice_id=seen.invoice_id,
                line_id=line.line_id,
                subscription_id=seen.subscription_id,
                feature_key=features[line.price_id],
                quantity=line.exact_quantity,
                amount=line.amount,
                currency=seen.currency,
                period=line.period,
            )
            for life in self.lives.values()
            if life.tenant_id is not None and isinstance(seen := life.truth, InvoiceSnapshot)
            if seen.status in ("open", "paid", "uncollectible") and seen.subscription_id is not None
            for features in [self.features[seen.subscription_id]]
            for line in seen.lines
            if line.price_id in features
        }

    def _live(self, number: int) -> None:
        """Play one customer, its subscriptions and their invoices, whose steps alternate."""
        customer_id = CustomerId(f"cus_{number}")
        lives = [self._customer(customer_id)] if self._random.random() < 0.6 else []
        for nth in range(self._random.randint(1, 2)):
            subscription_id = SubscriptionId(f"sub_{number}_{nth}")
            lives.append(self._subscription(customer_id, subscription_id))
            for each in range(self._random.randint(0, 2)):
                name = f"{number}_{nth}_{each}"
                lives.append(self._invoice(customer_id, subscription_id, InvoiceId(f"in_{name}")))
                if self._random.random() < 0.4:
                    lives += self._adjustments(name)
        steps: list[tuple[datetime, Step]] = []
        while lives:
            life = self._random.choice(lives)
            step = next(life, None)
            if step is None:
                lives.remove(life)
                continue
            self._now += timedelta(seconds=self._random.choice((0, 0, 0, 1, 40)))
            steps.append((self._now, step))
            if step.before is not None and self._random.random() < 0.3:
                # The twin of an update: payment_failed, paused, paid …
                steps.append((self._now, Step(step.after, about=step.about)))
        self._announce(customer_id, self._random.choice([*TENANTS, None]), steps)

    def _announce(
        self, customer_id: CustomerId, tenant_id: TenantId | None, steps: Sequence[tuple[datetime, Step]]
    ) -> None:
        """Create an event for every step. Some name the tenant; if none does, it stays unknown."""
        naming = [tenant_id is not None and not step.about and self._random.random() < 0.3 for _, step in steps]
        owner = tenant_id if any(naming) else None
        for (at, step), names in zip(steps, naming, strict=True):
            life = self.lives.setdefault(step.after.object_id, Life(tenant_id=owner))
            life.steps.append((at, step))
            self._theirs.setdefault(customer_id, []).append(life)
            says = Translation(
                customer_id=None if step.about else customer_id,
                about=step.about,
                tenant_hint=owner if names and not step.about else None,
                snapshots=(step.after,),
                creation=step.creation,
            )
            self.events.append(self.provider.event(self._event_id(), says, at=at, before=step.before))

    def _decide(self, operators: Random) -> None:
        """Let operators decide about some customers, also about those that nothing names."""
        for _ in range(operators.randint(0, 4)):
            customer_id, tenant_id = operators.choice(list(self._theirs)), operators.choice(TENANTS)
            action = operators.choice((LinkAction.MOVE, LinkAction.MOVE, LinkAction.UNLINK))
            ends = {"from_tenant": tenant_id} if action is LinkAction.UNLINK else {"to_tenant": tenant_id}
            self.decisions.append(LinkDecision(action=action, object_id=customer_id, actor="zoë", **ends))
        for customer_id, standing in standings(self.decisions).items():
            for life in self._theirs[CustomerId(customer_id)]:
                named = life.tenant_id if life.tenant_id not in standing.refused else None
                life.tenant_id = standing.tenant_id or named

    def _sell(self) -> None:
        """Change prices, which belong to no tenant."""
        for number in range(self._random.randint(0, 2)):
            before, seen = None, PriceSnapshot(price_id=PriceId(f"price_{number}"))
            life = self.lives.setdefault(seen.object_id, Life(tenant_id=None, unowned=True))
            for amount in range(self._random.randint(1, 3)):
                self._now += timedelta(seconds=self._random.choice((0, 1)))
                step = Step(seen, before, creation=before is None)
                life.steps.append((self._now, step))
                says = Translation(snapshots=(seen,), creation=step.creation)
                self.events.append(self.provider.event(self._event_id(), says, at=self._now, before=before))
                before, seen = seen, attrs.evolve(seen, unit_amount=amount)

    def _advance(self) -> None:
        """Advance test clocks, some of them past the end of the month."""
        for clock_id in CLOCKS:
            frozen_at = START
            for _ in range(self._random.randint(0, 3)):
                seen = ClockSnapshot(clock_id=clock_id, frozen_at=frozen_at)
                self._now += timedelta(seconds=self._random.choice((0, 1)))
                life = self.lives.setdefault(seen.object_id, Life(tenant_id=None, unowned=True))
                life.steps.append((self._now, Step(seen)))
                self.events.append(self.provider.event(self._event_id(), Translation(snapshots=(seen,)), at=self._now))
                frozen_at += timedelta(days=self._random.choice((0, 20, 40)))

    def _make_noise(self) -> None:
        """Add events that are not for us: test mode, and unhandled types."""
        for _ in range(self._random.randint(0, 2)):
            foreign = Translation(customer_id=CustomerId("cus_0"), tenant_hint=TENANTS[0])
            self.ignored.append(self.provider.event(self._event_id(), foreign, at=self._now, livemode=False))
            unhandled = Translation(ignored="unhandled_type")
            self.ignored.append(self.provider.event(self._event_id(), unhandled, at=self._now))

    def _event_id(self) -> str:
        """Return a unique id that reveals nothing about the order of events."""
        return f"evt_{self._random.getrandbits(8):02x}_{len(self.events) + len(self.ignored)}"

    def _customer(self, customer_id: CustomerId) -> Iterator[Step]:
        seen = CustomerSnapshot(customer_id=customer_id)
        yield Step(seen, creation=True)
        for _ in range(self._random.randint(0, 3)):
            before, seen = seen, attrs.evolve(seen, name=self._random.choice([n for n in "ABC" if n != seen.name]))
            yield Step(seen, before)
        if self._random.random() < 0.3:
            yield Step(CustomerSnapshot(customer_id=customer_id, deleted=True))

    def _subscription(self, customer_id: CustomerId, subscription_id: SubscriptionId) -> Iterator[Step]:
        base = ItemSnapshot(item_id=ItemId("si_base"), price_id=PriceId("price_pro"), quantity=1, period=MONTH)
        features = self.features[subscription_id] = {}
        seen = SubscriptionSnapshot(
            subscription_id=subscription_id,
            customer_id=customer_id,
            status="incomplete",
            items=(base,),
            test_clock=self._random.choice((None, *CLOCKS)),
        )
        yield Step(_as_read(seen), creation=True)
        for _ in range(self._random.randint(0, 6)):
            before, seen = seen, self._change(seen)
            if seen == before:
                continue
            features.update({item.price_id: FEATURES[item.price_id] for item in seen.items if item is not base})
            yield Step(_as_read(seen), _as_read(before))
        if self._random.random() < 0.4:
            before, seen = seen, attrs.evolve(seen, status="canceled", ended_at=self._now)
            yield Step(_as_read(seen))
            if self._random.random() < 0.3:
                before, seen = seen, attrs.evolve(seen, collection_method="send_invoice")
                yield Step(_as_read(seen), _as_read(before))

    def _change(self, seen: SubscriptionSnapshot) -> SubscriptionSnapshot:
        base = seen.items[0]
        metered = ItemSnapshot(
            item_id=ItemId("si_metered"),
            price_id=(price := self._random.choice((CALLS, STORAGE))),
            lookup_key=None if FEATURES[price] == price else FEATURES[price],
            usage_type="metered",
            period=MONTH,
        )
        return self._random.choice(
            (
                attrs.evolve(seen, status=self._random.choice(("active", "past_due", "paused"))),
                attrs.evolve(seen, cancel_at_period_end=not seen.cancel_at_period_end),
                attrs.evolve(seen, items=(base, metered)),
                attrs.evolve(seen, items=(base,)),
            )
        )

    def _invoice(
        self, customer_id: CustomerId, subscription_id: SubscriptionId, invoice_id: InvoiceId
    ) -> Iterator[Step]:
        lines = tuple(
            InvoiceLine(line_id=LineId(f"il_{price}"), price_id=price, amount=40, quantity=20, period=MONTH)
            for price in (PriceId("price_pro"), CALLS, STORAGE)
            if self._random.random() < 0.7
        )
        seen = InvoiceSnapshot(
            invoice_id=invoice_id,
            customer_id=customer_id,
            subscription_id=subscription_id,
            status="draft",
            currency="usd",
            lines=lines,
        )
        yield Step(seen, creation=True)
        for _ in range(self._random.randint(0, 2)):
            before, seen = seen, attrs.evolve(seen, total=seen.total + self._random.choice((-40, 40)))
            yield Step(seen, before)
        for change in self._random.choice(_INVOICE_ENDS):
            if change.get("status") == DELETED:
                yield Step(attrs.evolve(seen, status=DELETED, lines=()))
                return
            before, seen = seen, attrs.evolve(seen, **change)
            yield Step(seen, before)

    def _adjustments(self, name: str) -> Iterable[Iterator[Step]]:
        """Play adjustments of a paid invoice. Some of their events name the customer, others only related objects.

        A payment names its invoice, a refund the payment and its charge: a chain that arrives in any order. Where no
        event shows the payment, the charge has to unpark everything that waits for it.
        """
        invoice_id, payment_id, charge_id = InvoiceId(f"in_{name}"), f"pi_{name}", f"ch_{name}"
        payment = PaymentSnapshot(
            payment_id=payment_id, invoice_id=invoice_id, amount_paid=100, currency="usd", status="paid"
        )
        charge = ChargeSnapshot(
            charge_id=charge_id, payment_id=payment_id, amount=100, amount_refunded=0, currency="usd"
        )
        refund = RefundSnapshot(
            refund_id=f"re_{name}", payment_id=payment_id, amount=40, currency="usd", status="pending"
        )
        dispute = DisputeSnapshot(
            dispute_id=f"dp_{name}", charge_id=charge_id, amount=100, currency="usd", status="needs_response"
        )
        credit_note = CreditNoteSnapshot(
            credit_note_id=f"cn_{name}", invoice_id=invoice_id, amount=40, currency="usd", status="issued"
        )
        paid = self._random.random() < 0.7
        either = self._random.choice(((payment_id, charge_id), (charge_id, payment_id), (charge_id,)))
        refunded: list[Mapping[str, Any]] = [{"amount_refunded": 40}, {"amount_refunded": 100}, {"disputed": True}]
        argued = [{"status": status} for status in ("under_review", "needs_response", "won")]
        if paid:
            yield self._record(payment, [], about=(invoice_id,))
        yield self._record(charge, refunded, about=())
        yield self._record(refund, [{"status": "succeeded"}, {"status": "failed"}], about=either)
        yield self._record(dispute, argued, about=(payment_id, charge_id))
        yield self._record(credit_note, [{"status": "void"}], about=())

    def _record(
        self, seen: RecordSnapshot, changes: Sequence[Mapping[str, Any]], *, about: tuple[str, ...]
    ) -> Iterator[Step]:
        yield Step(seen, creation=True, about=about)
        for change in changes[: self._random.randint(0, len(changes))]:
            before, seen = seen, attrs.evolve(seen, **change)
            yield Step(seen, before, about=about)


_OPEN = {"status": "open", "number": "A-1", "amount_remaining": 100}
_FAILED_ONCE = {"attempt_count": 1}
_FAILED_TWICE = {"attempt_count": 2}
_PAID = {"status": "paid", "amount_remaining": 0, "amount_paid": 100}
_INVOICE_ENDS: Sequence[Sequence[Mapping[str, Any]]] = (
    (),
    ({"status": DELETED},),
    (_OPEN,),
    (_OPEN, _PAID),
    (_OPEN, _FAILED_ONCE, _FAILED_TWICE),
    (_OPEN, _FAILED_ONCE, _FAILED_TWICE, _PAID),
    (_OPEN, {"due_at": MONTH.end}, {"due_at": None}, _PAID, {"hosted_invoice_url": "https://pay.stripe.com/i"}),
    (_OPEN, _FAILED_ONCE, {"status": "uncollectible"}),
    (_OPEN, {"status": "uncollectible"}, _PAID),
    (_OPEN, {"status": "void", "amount_remaining": 0}),
)


def _as_read(seen: SubscriptionSnapshot) -> SubscriptionSnapshot:
    """Read the subscription with an open catalog."""
    return PlanCatalog().read_subscription(seen)


# --- the delivery -------------------------------------------------------------------------------------------------


@attrs.frozen
class Unreliable:
    """A translator that fails on some events until they are fixed."""

    provider: ScriptedProvider
    broken: set[EventKey]

    def translate(self, event: ProviderEvent) -> Translation:
        """Raise for a broken event."""
        if event.key in self.broken:
            raise RuntimeError("cannot read this yet")
        return self.provider.translate(event)

    def translate_previous(self, event: ProviderEvent) -> Translation | None:
        """See EventTranslator."""
        return self.provider.translate_previous(event)


class Delivery:
    """Delivery of a world's events in some order, some of them repeatedly, in batches that overlap or fail."""

    def __init__(self, world: World, adapters: Adapters, random: Random) -> None:
        self._random = random
        self._adapters = adapters
        self._events = [*world.events, *world.ignored]
        self._unreliable = Unreliable(world.provider, {event.key for event in self._events if random.random() < 0.1})
        with container_with(
            **adapters,
            settings=SETTINGS,
            translator=self._unreliable,
            scope=Scope(livemode=True),
            publish=lambda _: None,
            observers=SimpleNamespace(processed=self._note),
        ) as container:
            self._batches = container.batches()
            self._service = container.service()
        self._decisions = list(world.decisions)
        self._outcomes: dict[EventKey, Outcome] = {}
        self._held: list[tuple[Sequence[Claim], Mapping[int, Translation]]] = []
        """Claimed batches, and the translations that are known already."""

    def _note(self, report: ProcessingReport) -> None:
        self._outcomes.update({outcome.claim.event.key: outcome for outcome in report.outcomes})

    async def run(self) -> Mapping[EventKey, Outcome]:
        """Deliver everything and continue until nothing is due. Returns the outcome of each event."""
        repeated = self._random.sample(self._events, self._random.randint(0, len(self._events)))
        arrivals = [*self._events, *repeated]
        self._random.shuffle(arrivals)
        for event in arrivals:
            if self._random.random() < 0.1:
                await self._decide()
            handed_over = timedelta(0) if self._random.random() < 0.4 else None
            receipt = await self._adapters["inbox"].record(event, lease=handed_over)
            if receipt.claim:
                self._hand_over(receipt.claim)
            if self._random.random() < 0.4:
                await self._work()
        self._unreliable.broken.clear()
        for claims, found in self._held:
            await self._batches.process(claims, found)
        while self._decisions:
            await self._decide()
        while claims := await self._claim():
            await self._batches.process(claims)
        assert await self._adapters["queue"].unpark() == 0
        while (await self._service.review_access()).count:
            pass
        return self._outcomes

    async def _decide(self) -> None:
        """Carry out the next decision of an operator, if there is one."""
        if not self._decisions:
            return
        decision = self._decisions.pop(0)
        if decision.from_tenant is not None:
            await self._service.unlink(decision.object_id, decision.from_tenant, actor=decision.actor)
        elif decision.to_tenant is not None:
            await self._service.move(decision.object_id, decision.to_tenant, actor=decision.actor)

    async def _work(self) -> None:
        """Claim a batch and process it, either now or after other workers have had it, or process an earlier one."""
        self._held.append((await self._claim(), {}))
        if self._random.random() < 0.8:
            await self._batches.process(*self._held.pop(self._random.randrange(len(self._held))))

    def _hand_over(self, claim: Claim) -> None:
        """Keep the translation instead of the body, in a batch of its own or in that of the previous event."""
        claim, translation = self._batches.read_ahead(claim)
        claims: Sequence[Claim] = [claim]
        found: Mapping[int, Translation] = {} if translation is None else {claim.dispatch_id: translation}
        if self._held and self._held[-1][1] and self._random.random() < 0.7:
            before, known = self._held.pop()
            claims, found = [*before, *claims], {**known, **found}
        self._held.append((claims, found))

    async def _claim(self) -> Sequence[Claim]:
        """Claim with a lease that ends at once, so that the next worker may take the events away."""
        return await self._adapters["queue"].claim(limit=self._random.randint(1, 12), lease=timedelta(0))


# --- the comparison -----------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Rows:
    """All stored rows of all tenants."""

    subscriptions: Mapping[str, TenantSubscription]
    invoices: Mapping[str, SubscriptionInvoice]
    customers: Mapping[str, TenantCustomer]
    records: Mapping[str, TenantRecord]
    usage: frozenset[UsageRecord]

    @classmethod
    async def read(cls, adapters: Adapters, world: World) -> "Rows":
        """Read all rows; deleted drafts by their ids, since the tenant does not see them."""
        reader = adapters["tenant_reader"]
        subscriptions = [row for tenant in TENANTS for row in await reader.subscriptions(tenant)]
        usage = [row for tenant in TENANTS for row in await reader.usage(tenant, limit=1000)]
        async with adapters["unit_of_work"].transaction() as transaction:
            ids = world.lives.keys()
            invoices = await transaction.invoices(ids={InvoiceId(id_) for id_ in ids})
            customers = await transaction.customers({CustomerId(id_) for id_ in ids})
            records = await transaction.records(ids)
        return cls(
            subscriptions={row.snapshot.object_id: row for row in subscriptions},
            invoices={row.snapshot.object_id: row for row in invoices},
            customers={str(id_): row for id_, row in customers.items()},
            records={row.snapshot.object_id: row for row in records},
            usage=frozenset(usage),
        )

    def of(self, object_id: str) -> Tracked | None:
        """Return the row of one object."""
        subscription, invoice = self.subscriptions.get(object_id), self.invoices.get(object_id)
        return subscription or invoice or self.customers.get(object_id) or self.records.get(object_id)


def assert_correct(rows: Rows, world: World) -> None:
    """Assert that every object is as the provider left it, or marked as uncertain where no event can decide."""
    for object_id, life in world.lives.items():
        row = rows.of(object_id)
        if not life.kept:
            assert row is None or row == TenantCustomer(customer_id=CustomerId(object_id))
            continue
        assert row is not None
        assert row.tenant_id == life.tenant_id
        assert row.provenance is not None
        assert row.provenance.ambiguous == life.undecidable
        if life.undecidable:
            assert row.snapshot in [step.after for step in life.last_second]
        else:
            assert row.snapshot == life.truth
    if not any(life.undecidable for life in world.lives.values()):
        assert rows.usage == world.usage()


def assert_ended(outcomes: Mapping[EventKey, Outcome], world: World) -> None:
    """Assert that every event has the expected outcome and none is left over."""
    for event in world.ignored:
        assert outcomes[event.key].disposition is Disposition.IGNORED
    linked = {object_id: life.kept for object_id, life in world.lives.items()}
    for event in world.events:
        (shown,) = world.provider.translate(event).snapshots
        expected = Disposition.APPLIED if linked[shown.object_id] else Disposition.PARKED
        assert outcomes[event.key].disposition is expected


async def assert_published(adapters: Adapters, rows: Rows) -> None:
    """Assert that messages are numbered from 1 without a gap, and that reading all of them yields the state."""
    for tenant_id in TENANTS:
        state = await adapters["tenant_reader"].state(tenant_id)
        history = await adapters["history"].events(tenant_id, after=0, limit=10_000)
        assert [event.sequence for event in history] == list(range(1, state.sequence + 1))
        payloads = [loads(event.payload) for event in history]
        assert [payload.sequence for payload in payloads] == list(range(1, state.sequence + 1))
        held = [row for row in rows.subscriptions.values() if row.tenant_id == tenant_id]
        subscriptions = [row.snapshot for row in held]
        billed = [row for row in rows.invoices.values() if row.tenant_id == tenant_id]
        invoices = [row.snapshot for row in billed]
        # Objects that came from another tenant are in the next state only; of those that left no message is left.
        moved = any(payload.source.kind == "link" for payload in payloads)
        compare = operator.le if moved else operator.eq
        sections = {seen.subscription_id: subscription_section(seen) for seen in subscriptions}
        assert compare(_last(payload.subscription for payload in payloads).items(), sections.items())
        bills = {seen.invoice_id: invoice_section(seen) for seen in invoices}
        assert compare(_last(payload.invoice for payload in payloads).items(), bills.items())
        usage = {row for row in rows.usage if row.tenant_id == tenant_id}
        assert_usage_published(payloads, usage, invoices, compare)
        if payloads:
            known = AccessFacts(subscriptions=held, invoices=billed, clocks=clock_times(rows.records.values()))
            assert payloads[-1].access == access_section(AccessPolicy().evaluate(known, adapters["clock"].now()))


def assert_usage_published(
    payloads: Sequence[BillingEventPayload],
    usage: Iterable[UsageRecord],
    invoices: Iterable[InvoiceSnapshot],
    compare: Callable[[Any, Any], bool],
) -> None:
    """Assert that the last message about every line of a valid invoice equals the stored usage."""
    notified = {(section.invoice_id, section.line_id): section for payload in payloads for section in payload.usage}
    counting = {seen.invoice_id for seen in invoices if seen.status in ("open", "paid", "uncollectible")}
    last = {key: section for key, section in notified.items() if key[0] in counting}
    assert compare(last.items(), {(row.invoice_id, row.line_id): usage_section(row) for row in usage}.items())


def _last(sections: Iterable[SubscriptionSection | InvoiceSection | None]) -> Mapping[str, object]:
    """Return the last section of each object."""
    return {
        section.invoice_id if isinstance(section, InvoiceSection) else section.subscription_id: section
        for section in sections
        if section is not None
    }


async def check(world: World, deliveries: Sequence[Random], open_adapters: OpenAdapters) -> None:
    """Deliver one world several times and assert that every delivery ends in the same, correct rows."""
    ends = []
    for random in deliveries:
        async with open_adapters() as adapters:
            outcomes = await Delivery(world, adapters, random).run()
            rows = await Rows.read(adapters, world)
            assert_ended(outcomes, world)
            assert_correct(rows, world)
            await assert_published(adapters, rows)
            ends.append(rows)
    assert all(rows == ends[0] for rows in ends)


def worlds(customers: int = 3) -> st.SearchStrategy[World]:
    """Draw a world of at most so many customers; in half of them operators decide about links."""
    operators = st.none() | choices(32)
    return st.builds(World, st.lists(choices(), min_size=1, max_size=customers), choices(32), operators)


@shrinks_slowly
@settings(max_examples=scaled(300))
@given(world=worlds(), deliveries=st.tuples(choices(), choices()))
def test_every_delivery_ends_where_the_provider_left_its_objects(
    world: World, deliveries: tuple[Random, Random]
) -> None:
    """State, usage, messages and numbers are a function of the set of events, and of the decisions in their order."""
    asyncio.run(check(world, deliveries, in_memory))


@pytest.mark.postgres
@shrinks_slowly
@settings(max_examples=scaled(15))
@given(world=worlds(customers=2), deliveries=st.tuples(choices(), choices()))
async def test_every_delivery_to_postgres_ends_there_too(
    databases: Databases, world: World, deliveries: tuple[Random, Random]
) -> None:
    """The same, on Postgres."""

    @asynccontextmanager
    async def on_postgres() -> AsyncIterator[Adapters]:
        async with (
            databases.fresh() as url,
            await (database := Database(url=url)).open_pool(size=2) as pool,
            PostgresEventInbox(database, pool) as inbox,
        ):
            # Messages show access at the database's time, so it is compared at the present time, too.
            yield postgres_adapters(SETTINGS, database=database, writers=pool, inbox=inbox)

    await check(world, deliveries, on_postgres)
