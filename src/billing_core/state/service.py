"""The single writer: every change of a tenant's billing goes through `BillingService`, whatever caused it."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import cast

import attrs

from billing_core.cooperate import cooperate
from billing_core.errors import FoldingError, TenantConflictError
from billing_core.events import (
    BillingEvent,
    Claim,
    EventKey,
    Outcome,
    ProviderEvent,
    Snapshot,
    Translation,
)
from billing_core.model import (
    AccessPolicy,
    CatalogSnapshot,
    CustomerId,
    CustomerSnapshot,
    EventId,
    InvoiceId,
    InvoiceSnapshot,
    Order,
    PlanCatalog,
    Provenance,
    RecordSnapshot,
    Sighting,
    SubscriptionId,
    SubscriptionSnapshot,
    TenantCustomer,
    TenantId,
    TenantRecord,
    TenantSubscription,
    Tracked,
    Uncertainty,
    compare,
    invoice_of,
    leads_to,
    merge_metered_prices,
)
from billing_core.state.diff import ObjectChange
from billing_core.state.ledger import Ledger, buried
from billing_core.state.ports import BillingTransaction, Changes, Clock, EventTranslator, UnitOfWork
from billing_core.state.precedence import ProviderAnswer, S, Work, needs_no_evidence, uncertainty_of


@attrs.frozen(kw_only=True)
class AppliedBatch:
    """What one batch did, after its commit."""

    outcomes: Sequence[Outcome]
    """One for each claim that was still ours."""
    events: Sequence[BillingEvent]
    """The new messages, each tenant's in order of their numbers."""
    linked: Sequence[CustomerId]
    """Customers that got a tenant: what waited for them is due now."""
    uncertainties: Sequence[Uncertainty] = ()
    """What changed and may be wrong: for whoever can ask the provider."""


@attrs.frozen(kw_only=True)
class DryRun:
    """What applying a batch would do. Nothing of it has happened."""

    outcomes: Sequence[Outcome]
    """One for each event that nobody works on right now."""
    events: Sequence[BillingEvent]
    """The messages it would make, with the numbers they would get as things stand."""
    differences: Sequence[ObjectChange]


class RefetchResult(Enum):
    """What became of a doubt once the provider was asked."""

    REFETCHED = "refetched"
    """The provider's word stands, whether it changed anything or not."""
    OVERTAKEN = "overtaken"
    """The object changed while the provider was asked: this doubt is settled, and there may be a new one."""
    INCOMPLETE = "incomplete"
    """The provider's word stands, but it was not whole either."""
    UNKNOWN = "unknown"
    """The provider does not show the object, or an earlier stage of its life: the doubt stays."""


@attrs.frozen(kw_only=True)
class RefetchOutcome:
    """The end of one attempt to settle a doubt, after its commit."""

    result: RefetchResult
    events: Sequence[BillingEvent] = ()


@attrs.frozen(kw_only=True)
class _Batch:
    """Claimed events read in our terms, in the order of the provider's clock; what cannot be read is settled."""

    work: Sequence[Work]
    settled: Sequence[Outcome]


@attrs.frozen(kw_only=True)
class _FoldedBatch:
    """A folded batch, before its commit."""

    ledger: Ledger
    outcomes: Sequence[Outcome]
    linked: Sequence[CustomerId]


class _RollBack(Exception):  # noqa: N818 - a signal, not an error
    """Ends a rehearsal: what was written is rolled back."""


class BillingService:
    """Folds provider events into the state of tenants and numbers what follows for each of them.

    A batch is one transaction: state, messages, counters and the dispatch rows commit together or not at all.
    """

    def __init__(
        self,
        *,
        unit_of_work: UnitOfWork,
        translator: EventTranslator,
        catalog: PlanCatalog,
        policy: AccessPolicy,
        clock: Clock,
        notify: bool = True,
    ) -> None:
        """Tie everything together.

        Args:
            unit_of_work: begins transactions.
            translator: reads events again where a tie asks for it.
            catalog: which prices make which plan.
            policy: who has access.
            clock: tells when access is judged.
            tells: whether tenants get messages of what changes. Without it state is written and no number is used.
        """
        self._unit_of_work = unit_of_work
        self._translator = translator
        self._catalog = catalog
        self._policy = policy
        self._clock = clock
        self._notify = notify

    async def apply(self, translated: Sequence[tuple[Claim, Translation]]) -> AppliedBatch:
        """Apply claimed events. Those whose lease was lost meanwhile are left to their new holder.

        Raises: StoreUnavailableError, TenantConflictError when an object turned out to be another tenant's while
        saving. Nothing is written then.
        """
        batch = await self._read(translated)
        async with self._unit_of_work.transaction() as transaction:
            held = await transaction.hold([claim for claim, _ in translated])
            folded = await self._fold(transaction, batch, held)
        ledger = folded.ledger
        return AppliedBatch(
            outcomes=folded.outcomes, events=ledger.events, linked=folded.linked, uncertainties=ledger.uncertainties()
        )

    async def dry_run(self, translated: Sequence[tuple[Claim, Translation]]) -> DryRun:
        """Do what `apply` does to stored events, whatever became of them, and take it all back.

        The claims need not be held: events that nobody works on are taken for as long as it lasts.
        Raises: as `apply`.
        """
        batch = await self._read(translated)
        trial = DryRun(outcomes=(), events=(), differences=())
        with contextlib.suppress(_RollBack):
            async with self._unit_of_work.transaction() as transaction:
                taken = await transaction.take([claim for claim, _ in translated])
                folded = await self._fold(transaction, batch, taken)
                ledger = folded.ledger
                trial = DryRun(outcomes=folded.outcomes, events=ledger.events, differences=ledger.differences())
                raise _RollBack
        return trial

    async def _fold(self, transaction: BillingTransaction, batch: "_Batch", held: Sequence[Claim]) -> "_FoldedBatch":
        """Fold those events of a batch that are held, and save what follows."""
        ours = {claim.dispatch_id for claim in held}
        work = [one for one in batch.work if one.claim.dispatch_id in ours]
        customers = await self._lock_customers(transaction, work)
        ledger = await self._load(transaction, work, customers)
        founders = ledger.link_customers(work)
        outcomes = [ledger.fold(one, linked_here=one.claim.dispatch_id in founders) async for one in cooperate(work)]
        outcomes += [outcome for outcome in batch.settled if outcome.claim.dispatch_id in ours]
        await transaction.save(ledger.changes())
        await transaction.settle(outcomes)
        return _FoldedBatch(ledger=ledger, outcomes=outcomes, linked=list(founders.values()))

    async def apply_refetch(self, uncertainty: Uncertainty, found: Translation) -> RefetchOutcome:
        """Put what the provider said when it was asked in place of what was doubted, unless that has changed since.

        The state keeps the stamp of the events it rests on, so that later ones outrank it as before.
        Raises: StoreUnavailableError; FoldingError when the object cannot be read in our terms. Nothing is written.
        """
        seen = self._find_in_our_terms(found, uncertainty.object_id)
        if seen is None:
            return RefetchOutcome(result=RefetchResult.UNKNOWN)
        async with self._unit_of_work.transaction() as transaction:
            held = await self._lock_uncertain(transaction, uncertainty)
            if held is None or uncertainty_of(held) != uncertainty or held.tenant_id is None or held.snapshot is None:
                return RefetchOutcome(result=RefetchResult.OVERTAKEN)
            if seen.precedence < held.snapshot.precedence:
                return RefetchOutcome(result=RefetchResult.UNKNOWN)
            ledger = await self._load_around(transaction, held.tenant_id, seen)
            ledger.settle(
                held.tenant_id,
                ProviderAnswer(translation=attrs.evolve(found, snapshots=(seen,)), basis=uncertainty.basis),
            )
            await transaction.save(ledger.changes())
        return RefetchOutcome(
            result=RefetchResult.INCOMPLETE if ledger.uncertainties() else RefetchResult.REFETCHED, events=ledger.events
        )

    async def link(self, customer_id: CustomerId, tenant_id: TenantId) -> bool:
        """Say whose customer this is; what waited for it is due then. False when that was known already.

        Raises: TenantConflictError when the customer is another tenant's; StoreUnavailableError.
        """
        async with self._unit_of_work.transaction() as transaction:
            customer = (await transaction.lock_customers([customer_id]))[customer_id]
            if customer.tenant_id == tenant_id:
                return False
            if customer.tenant_id is not None:
                raise TenantConflictError(f"customer {customer_id} is of {customer.tenant_id!r}; a link is never moved")
            await transaction.lock_tenants([tenant_id])
            await transaction.save(Changes(customers=[attrs.evolve(customer, tenant_id=tenant_id)]))
        return True

    # --- before the transaction ---------------------------------------------------------------------------------

    async def _read(self, translated: Sequence[tuple[Claim, Translation]]) -> _Batch:
        work, settled = [], []
        async for claim, translation in cooperate(translated):
            try:
                snapshots = tuple([self._in_our_terms(snapshot) for snapshot in translation.snapshots])
            except FoldingError as error:
                settled.append(buried(claim, error))
            else:
                work.append(Work(claim=claim, translation=translation.showing(snapshots)))
        work.sort(key=lambda one: (one.claim.event.created_at, one.claim.dispatch_id))
        # Of what was applied before, the last word first: should a row be wrong, one message puts it right. Events that
        # name no customer follow in their order: each may need the object that an earlier one shows.
        again = [one for one in reversed(work) if one.claim.applied and one.translation.customer_id is not None]
        last_words = {one.claim.dispatch_id for one in again}
        return _Batch(work=[*again, *(one for one in work if one.claim.dispatch_id not in last_words)], settled=settled)

    def _in_our_terms(self, snapshot: Snapshot) -> Snapshot:
        match snapshot:
            case SubscriptionSnapshot():
                return self._catalog.read_subscription(snapshot)
            case InvoiceSnapshot():
                return self._catalog.read_invoice(snapshot)
            case _:
                return snapshot

    # --- loading, under locks -----------------------------------------------------------------------------------

    async def _lock_customers(
        self, transaction: BillingTransaction, work: Sequence[Work]
    ) -> Mapping[CustomerId, TenantCustomer]:
        """Whose customers these are. One nobody has claimed yet is locked, so that no event parks past its link."""
        ids = {id_ for one in work if (id_ := one.translation.customer_id) is not None}
        known = dict(await transaction.customers(ids))
        unclaimed = [id_ for id_ in ids if id_ not in known or known[id_].tenant_id is None]
        if unclaimed:
            known.update(await transaction.lock_customers(unclaimed))
        return known

    async def _load(
        self, transaction: BillingTransaction, work: Sequence[Work], customers: Mapping[CustomerId, TenantCustomer]
    ) -> Ledger:
        snapshots = [snapshot for one in work for snapshot in one.translation.snapshots]
        owners = await self._find_owners(transaction, work)
        counters = await transaction.lock_tenants(_tenants(customers, work) | set(owners.values()))
        records = await self._load_records(transaction, snapshots)
        customers = await self._read_again(transaction, customers, snapshots)
        subscriptions = await transaction.subscriptions(
            tenants=counters.keys(),
            ids={seen.subscription_id for seen in snapshots if isinstance(seen, SubscriptionSnapshot)},
        )
        invoices = await transaction.invoices(
            ids={seen.invoice_id for seen in snapshots if isinstance(seen, InvoiceSnapshot)} | records.invoices,
            subscriptions=_newly_metered(snapshots, subscriptions),
        )
        tracked: list[Tracked] = [*subscriptions, *invoices, *customers.values(), *records.known]
        evidence = await self._gather_evidence(transaction, work, tracked)
        replayed = {
            seen.invoice_id
            for one in work
            if one.claim.applied
            for seen in one.translation.snapshots
            if isinstance(seen, InvoiceSnapshot)
        }
        bare = {one.event_id for one in work if one.translation.notice is not None and not one.translation.snapshots}
        return Ledger(
            notified=await transaction.notified(bare)
            if bare
            else (),  # no snapshot of theirs says that they were counted in
            records=records.known,
            owners=owners,
            customers=customers,
            counters=counters,
            subscriptions=subscriptions,
            invoices=invoices,
            evidence=evidence.sighting,
            usage=await transaction.usage(replayed) if replayed else {},
            policy=self._policy,
            now=self._clock.now(),
            notify=self._notify,
        )

    async def _lock_uncertain(self, transaction: BillingTransaction, uncertainty: Uncertainty) -> Tracked | None:
        """The object of a doubt once its tenant is locked; None when there is no such object of a tenant."""
        held = await self._read_uncertain(transaction, uncertainty)
        if held is None or held.tenant_id is None:
            return None
        await transaction.lock_tenants([held.tenant_id])
        return await self._read_uncertain(transaction, uncertainty)

    async def _read_uncertain(self, transaction: BillingTransaction, uncertainty: Uncertainty) -> Tracked | None:
        match uncertainty.kind:
            case "subscription":
                subscriptions = await transaction.subscriptions(tenants=(), ids=[SubscriptionId(uncertainty.object_id)])
                return next(iter(subscriptions), None)
            case "invoice":
                return next(iter(await transaction.invoices(ids=[InvoiceId(uncertainty.object_id)])), None)
            case "customer":
                return (await transaction.customers([CustomerId(uncertainty.object_id)])).get(
                    CustomerId(uncertainty.object_id)
                )
            case "entitlements":
                return next(iter(await transaction.records([uncertainty.object_id])), None)

    async def _load_around(self, transaction: BillingTransaction, tenant_id: TenantId, seen: Snapshot) -> Ledger:
        """The state that a change of one object of a locked tenant concerns."""
        customers = [seen.customer_id] if isinstance(seen, CustomerSnapshot) else []
        subscriptions = await transaction.subscriptions(tenants=[tenant_id], ids=())
        invoices = await transaction.invoices(
            ids=[seen.invoice_id] if isinstance(seen, InvoiceSnapshot) else (),
            subscriptions=_newly_metered([seen], subscriptions),
        )
        return Ledger(
            records=await transaction.records([seen.object_id]) if isinstance(seen, RecordSnapshot) else (),
            customers=await transaction.customers(customers),
            counters=await transaction.lock_tenants([tenant_id]),
            subscriptions=subscriptions,
            invoices=invoices,
            evidence=_no_evidence,
            policy=self._policy,
            now=self._clock.now(),
            notify=self._notify,
        )

    async def _find_owners(self, transaction: BillingTransaction, work: Sequence[Work]) -> Mapping[str, TenantId]:
        """Whose the objects are that events name in place of a customer."""
        named = {id_ for one in work if one.translation.customer_id is None for id_ in one.translation.about}
        return await transaction.owners(named) if named else {}

    async def _load_records(self, transaction: BillingTransaction, snapshots: Sequence[Snapshot]) -> "_Records":
        """The records that events show, and those that lead from them to the invoices they concern: usually none."""
        shown = {seen.object_id: seen for seen in snapshots if isinstance(seen, RecordSnapshot)}
        if not shown:
            return _Records()
        if any(isinstance(seen, CatalogSnapshot) for seen in shown.values()):
            await transaction.lock_catalog()
        asked = {*shown, *(id_ for seen in shown.values() for id_ in leads_to(seen))}
        known = [*await transaction.records(asked)]
        further = {id_ for record in known for id_ in leads_to(record.snapshot)} - asked
        if further:
            known += await transaction.records(further)
        found = {**{record.snapshot.object_id: record.snapshot for record in known}, **shown}
        invoices = {invoice_of(seen, found.get) for seen in found.values()}
        return _Records(known=known, invoices=frozenset(id_ for id_ in invoices if id_ is not None))

    async def _read_again(
        self,
        transaction: BillingTransaction,
        customers: Mapping[CustomerId, TenantCustomer],
        snapshots: Iterable[Snapshot],
    ) -> Mapping[CustomerId, TenantCustomer]:
        """The customers as they are now that nobody else can change them.

        Those with a tenant were read before its lock was ours. Their link stands for ever, but somebody may have
        written a newer snapshot of them meanwhile.
        """
        shown = {seen.customer_id for seen in snapshots if isinstance(seen, CustomerSnapshot)}
        return {**customers, **await transaction.customers(shown)} if shown else customers

    async def _gather_evidence(
        self,
        transaction: BillingTransaction,
        work: Sequence[Work],
        tracked: Iterable[Tracked],
    ) -> "_Evidence":
        """The events that share a second with one of the batch, read back from the store: usually none."""
        known: dict[str, tuple[Snapshot, Provenance]] = {}
        for held in tracked:
            if held.snapshot is not None and held.provenance is not None:
                known[held.snapshot.object_id] = (held.snapshot, held.provenance)
        wanted = _rivals_in(work)
        for one in work:
            for seen in one.translation.snapshots:
                if rivals := _rivals(known.get(seen.object_id), seen, one):
                    wanted |= {one.claim.event.key, *rivals}
        in_batch = {one.claim.event.key: one.claim.event for one in work if one.claim.event.body}
        missing = wanted - in_batch.keys()
        stored = await transaction.stored_events(missing) if missing else ()
        return _Evidence(self, [*in_batch.values(), *stored])

    def read_sighting(self, event: ProviderEvent, object_id: str) -> Sighting[Snapshot] | None:
        """What one event said of one object, and what it replaced; None if it does not show that object."""
        translation = self._translator.translate(event)
        after = self._find(translation, object_id)
        if after is None:
            return None
        previous = self._translator.translate_previous(event)
        before = None if previous is None else self._find(previous, object_id)
        return Sighting(event_id=event.event_id, after=after, before=before, creation=translation.creation)

    def _find(self, translation: Translation, object_id: str) -> Snapshot | None:
        try:
            return self._find_in_our_terms(translation, object_id)
        except FoldingError:
            return None

    def _find_in_our_terms(self, translation: Translation, object_id: str) -> Snapshot | None:
        for snapshot in translation.snapshots:
            if snapshot.object_id == object_id:
                return self._in_our_terms(snapshot)
        return None


@attrs.frozen(kw_only=True)
class _Records:
    """The records that a batch concerns, and the invoices they concern."""

    known: Sequence[TenantRecord] = ()
    invoices: frozenset[InvoiceId] = frozenset()


class _Evidence:
    """Reads events again when a tie asks for them; each at most once per object."""

    def __init__(self, service: BillingService, events: Iterable[ProviderEvent]) -> None:
        self._service = service
        self._events = {event.event_id: event for event in events}
        self._read: dict[tuple[EventId, str], Sighting[Snapshot] | None] = {}

    def sighting(self, event_id: EventId, snapshot: S) -> Sighting[S] | None:
        """What the event said of the snapshot's object."""
        event = self._events.get(event_id)
        if event is None:
            return None
        key = event_id, snapshot.object_id
        if key not in self._read:
            self._read[key] = self._service.read_sighting(event, snapshot.object_id)
        # An id belongs to one kind of object, so what was found under it is of the kind asked for.
        return cast("Sighting[S] | None", self._read[key])


def _no_evidence(event_id: EventId, snapshot: S) -> Sighting[S] | None:
    """What the provider said last needs none."""
    return None


def _tenants(customers: Mapping[CustomerId, TenantCustomer], work: Iterable[Work]) -> set[TenantId]:
    """Every tenant the batch may write to: those of its customers, and those its events name for the others."""
    tenants = {tenant_id for customer in customers.values() if (tenant_id := customer.tenant_id) is not None}
    for one in work:
        customer_id, hint = one.translation.customer_id, one.translation.tenant_hint
        if customer_id is not None and hint is not None and customers[customer_id].tenant_id is None:
            tenants.add(hint)
    return tenants


def _rivals_in(batch: Iterable[Work]) -> set[EventKey]:
    """Keys of the events in a batch that show one object in one second."""
    moments: dict[tuple[str, datetime], list[EventKey]] = {}
    for one in batch:
        event = one.claim.event
        for seen in one.translation.snapshots:
            moments.setdefault((seen.object_id, event.created_at), []).append(event.key)
    return {key for keys in moments.values() if len(keys) > 1 for key in keys}


def _rivals(known: tuple[Snapshot, Provenance] | None, seen: Snapshot, one: Work) -> set[EventKey]:
    """Keys of the stored events that a tie between the known and the seen snapshot is decided by."""
    if known is None:
        return set()
    snapshot, provenance = known
    event = one.claim.event
    again = event.event_id in provenance.event_ids
    if not again and compare(snapshot, provenance.observed_at, seen, event.created_at) is not Order.TIE:
        return set()
    if needs_no_evidence(snapshot, provenance, seen):
        return set()
    return {attrs.evolve(event.key, event_id=id_) for id_ in provenance.event_ids}


def _newly_metered(snapshots: Iterable[Snapshot], subscriptions: Iterable[TenantSubscription]) -> set[SubscriptionId]:
    """Subscriptions whose earlier invoices have to be rated again, now that their metered prices are known."""
    known = {subscription.snapshot.subscription_id: subscription.metered_prices for subscription in subscriptions}
    found = set()
    for seen in snapshots:
        if isinstance(seen, SubscriptionSnapshot) and seen.metered_prices:
            metered_prices = known.get(seen.subscription_id, {})
            if merge_metered_prices(metered_prices, seen.metered_prices) != metered_prices:
                found.add(seen.subscription_id)
    return found
