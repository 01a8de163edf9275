"""Load the state that a batch concerns, under locks.

The one lock order is: hold the claims, then customers, tenants and the catalog, then read. Every unit of work uses it,
so that no two deadlock; the service holds the claims, everything after that happens here.
"""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import attrs

from billing_core.errors import TenantConflictError
from billing_core.model import (
    Answer,
    CatalogSnapshot,
    CustomerId,
    CustomerSnapshot,
    EntitlementsSnapshot,
    InvoiceId,
    InvoiceSnapshot,
    LinkStanding,
    PaymentMethodSnapshot,
    RecordSnapshot,
    RulesInForce,
    ScheduleSnapshot,
    Snapshot,
    SubscriptionId,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantCustomer,
    TenantId,
    TenantRecord,
    TenantSubscription,
    Tracked,
    Uncertainty,
    UsageRecord,
    Views,
    invoice_of,
    leads_to,
    merge_metered_prices,
    standings,
)
from billing_core.state.clocks import lock_clocks, read_clocks, tenants_on_shown
from billing_core.state.copies import named_records
from billing_core.state.evidence import gather_evidence, no_evidence
from billing_core.state.ledger import Ledger
from billing_core.state.occasion_book import possible_keys
from billing_core.state.ports import BillingTransaction, EventTranslator, StateReader
from billing_core.state.provisional import read_answer
from billing_core.state.reading import ClaimedEvent, ProviderAnswer, Statement
from billing_core.state.renewals import has_new_items
from billing_core.state.rules import require_current
from billing_core.state.shared_customers import (
    deciding_ids,
    described_subscription,
    names_new_owner,
    objects_of,
    subject_of,
)

_COPIED: Final = (CustomerSnapshot, PaymentMethodSnapshot)
"""Any live subscription of a tenant may show a part of them, and what it is charged to."""


class LinksMovedError(Exception):
    """While a unit of work waited for its locks, it became concerned with other tenants. Roll it back and begin again.

    An operator moved a link, or a tenant got its first subscription on a test clock that the unit of work moves.
    """


@attrs.frozen(kw_only=True)
class _Records:
    """The records that a batch concerns, and the invoices that these concern."""

    known: Sequence[TenantRecord] = ()
    invoices: frozenset[InvoiceId] = frozenset()


class StateLoader:
    """Loads ledgers."""

    def __init__(
        self,
        *,
        translator: EventTranslator,
        rules: RulesInForce,
        notify: bool,
    ) -> None:
        self._translator = translator
        self._rules = rules
        self._catalog = rules.catalog
        self._policy = rules.policy
        self._notify = notify
        self._shared = rules.tenants.link == "subscription"

    async def load(
        self,
        transaction: BillingTransaction,
        events: Sequence[ClaimedEvent],
        *,
        customers: Mapping[CustomerId, TenantCustomer],
        also: Collection[TenantId] = (),
    ) -> Ledger:
        """Lock and load everything that these events concern, and these tenants. The claims are held already.

        Args:
            transaction: the unit of work.
            events: the events of the batch.
            customers: the known ones among their customers, as they were read with the claims.
            also: further tenants.

        Raises: LinksMovedError, RulesMovedError.
        """
        snapshots = [snapshot for event in events for snapshot in event.translation.snapshots]
        customers = await _lock_customers(transaction, events, customers, shared=self._shared)
        owners = await _find_owners(transaction, events, shared=self._shared)
        named = _named_tenants(events, owners) if self._shared else _tenants(customers, events)
        deleted = _deleted_customers(snapshots) if self._shared else set()
        payees = await transaction.tenants_under(deleted) if deleted else {}
        named.update(*payees.values())
        named |= set(await tenants_on_shown(transaction, snapshots))
        decided = await _decided_before(transaction, events, customers, owners, shared=self._shared)
        named |= {each.tenant_id for each in decided.values() if each.tenant_id is not None}
        tenants = await transaction.lock_tenants(named | _linked(customers) | set(owners.values()) | set(also))
        if tenants.overtaken or not await lock_clocks(transaction, snapshots, tenants.counters):
            raise LinksMovedError
        require_current(self._rules, tenants)
        decided = {**decided, **await _outranking(transaction, events, customers, owners, shared=self._shared)}
        customers = await _read_again(transaction, customers, snapshots)
        records = await self._load_records(transaction, snapshots, customers)
        viewed = [view.snapshot for views in tenants.views.values() for view in views if view.snapshot is not None]
        shown_invoices = _invoice_ids([*snapshots, *viewed]) | records.invoices
        read_again = tenants.behind | set(also)
        subscriptions = await transaction.deciding_subscriptions(
            tenants=tenants.counters.keys(),
            ids=_named_subscriptions(events, [*snapshots, *(each.snapshot for each in records.known)], tenants.views),
            billed_by=shown_invoices,
            each_of=self._policy.grace_statuses,
            live_of=tenants.counters.keys() & (read_again | _copying_tenants(events, customers, owners, decided)),
        )
        invoices = await transaction.invoices(
            ids=shown_invoices,
            subscriptions=_newly_metered(snapshots, subscriptions)
            | _with_new_items(snapshots, subscriptions)
            | self._in_grace([*snapshots, *viewed], subscriptions)
            | {each.snapshot.subscription_id for each in subscriptions if each.tenant_id in read_again},
        )
        tracked: list[Tracked] = [*subscriptions, *invoices, *customers.values(), *records.known]
        return Ledger(
            customers=customers.values(),
            tenants=tenants,
            subscriptions=subscriptions,
            invoices=invoices,
            records=[
                *await self._disputes(transaction, tenants.counters),
                *records.known,
                *await read_clocks(transaction, subscriptions, [*snapshots, *viewed]),
            ],
            owners=owners,
            decided=decided,
            payees=payees,
            evidence=await gather_evidence(
                transaction, events, tracked, translator=self._translator, catalog=self._catalog
            ),
            occasions=await _known_occasions(transaction, events, tenants=tenants.counters.keys(), invoices=invoices),
            usage=await _replayed_usage(transaction, events),
            policy=self._policy,
            catalog=self._catalog,
            notify=self._notify,
            shared=self._shared,
        )

    async def load_around(
        self, transaction: BillingTransaction, tenant_id: TenantId, seen: Snapshot, answer: ProviderAnswer | None = None
    ) -> Ledger:
        """Load the state that a change of one object concerns. Its tenant is locked already.

        Args:
            transaction: the unit of work.
            tenant_id: the owner of the object.
            seen: the object as the provider shows it.
            answer: the answer to a refetch that shows it, if its occasions are going to be announced.

        Raises: RulesMovedError.
        """
        tenants = await transaction.lock_tenants([tenant_id])
        require_current(self._rules, tenants)
        viewed = [view.snapshot for view in tenants.views.get(tenant_id, ()) if view.snapshot is not None]
        await lock_clocks(transaction, [seen], tenants.counters)
        shown_invoices = _invoice_ids([seen, *viewed])
        subscriptions = await transaction.deciding_subscriptions(
            tenants=[tenant_id],
            ids=_named_subscriptions((), [seen], tenants.views),
            billed_by=shown_invoices,
            each_of=self._policy.grace_statuses,
            live_of=[tenant_id] if isinstance(seen, _COPIED) else (),
        )
        invoices = await transaction.invoices(
            ids=shown_invoices,
            subscriptions=_newly_metered([seen], subscriptions)
            | _with_new_items([seen], subscriptions)
            | self._in_grace([seen, *viewed], subscriptions),
        )
        payer = seen.customer_id if isinstance(seen, CustomerSnapshot | SubscriptionSnapshot) else None
        customers = {} if payer is None else await transaction.customers([payer])
        return Ledger(
            customers=customers.values(),
            tenants=attrs.evolve(tenants, behind=frozenset()),  # not all that rereading needs is loaded
            subscriptions=subscriptions,
            invoices=invoices,
            records=[
                *await self._disputes(transaction, [tenant_id]),
                *(await self._load_records(transaction, [seen], customers)).known,
                *await read_clocks(transaction, subscriptions, [seen, *viewed]),
            ],
            evidence=no_evidence,
            policy=self._policy,
            catalog=self._catalog,
            occasions=()
            if answer is None
            else await _known_occasions(transaction, [answer], tenants=[tenant_id], invoices=invoices),
            notify=self._notify,
        )

    async def lock_owner(self, transaction: BillingTransaction, tenant_id: TenantId, seen: Answer) -> None:
        """Lock the tenant that an operation was made for.

        Raises: TenantConflictError if its object is another tenant's, or the customer of an object without a row is.
        """
        await transaction.lock_tenants([tenant_id])
        owner = (await transaction.owners([seen.object_id])).get(seen.object_id)
        if owner is None and not self._shared and seen.customer_id is not None:
            customer = (await transaction.customers([seen.customer_id])).get(seen.customer_id)
            owner = None if customer is None else customer.tenant_id
        if owner not in (None, tenant_id):
            raise TenantConflictError(f"{seen.object_id} belongs to {owner!r}")

    async def shown_by_operation(
        self, transaction: BillingTransaction, operation_key: str, object_id: str
    ) -> Sequence[Answer]:
        """Return what the applied events of an operation showed of a subscription or an invoice."""
        events = await transaction.echoes(operation_key)
        found = [self._translator.translate(event).find(object_id) for event in events]
        shown = [seen for seen in found if isinstance(seen, SubscriptionSnapshot | InvoiceSnapshot)]
        return [read_answer(seen, self._catalog) for seen in shown]

    async def _load_records(
        self,
        transaction: BillingTransaction,
        snapshots: Sequence[Snapshot],
        customers: Mapping[CustomerId, TenantCustomer],
    ) -> _Records:
        """Load records, with the plans of coming phases as the catalog says now."""
        payers = [customer.snapshot for customer in customers.values() if customer.snapshot is not None]
        found = await _load_records(transaction, snapshots, payers if _concern_payment(snapshots) else ())
        known = [
            attrs.evolve(record, snapshot=self._catalog.read_schedule(record.snapshot))
            if isinstance(record.snapshot, ScheduleSnapshot)
            else record
            for record in found.known
        ]
        return attrs.evolve(found, known=known)

    async def _disputes(self, transaction: BillingTransaction, tenants: Collection[TenantId]) -> Sequence[TenantRecord]:
        """Return the disputes of these tenants, if they decide on access."""
        return () if self._policy.open_dispute is None else await transaction.disputes(tenants)

    def _in_grace(
        self, snapshots: Iterable[Snapshot], subscriptions: Iterable[TenantSubscription]
    ) -> set[SubscriptionId]:
        """Return the subscriptions whose invoices decide on access, before the batch or after it, or by a view."""
        shown = [snapshot for snapshot in snapshots if isinstance(snapshot, SubscriptionSnapshot)]
        candidates = [*shown, *(each.snapshot for each in subscriptions)]
        return {each.subscription_id for each in candidates if self._policy.counts_grace(each)}


async def lock_uncertain(transaction: BillingTransaction, uncertainty: Uncertainty) -> Tracked | None:
    """Lock the tenant of an uncertain object, then read the object; None if no tenant has it, or another one by now."""
    held = await _read_refetchable(transaction, uncertainty)
    if held is None or held.tenant_id is None:
        return None
    await transaction.lock_tenants([held.tenant_id])
    locked = await _read_refetchable(transaction, uncertainty)
    return None if locked is None or locked.tenant_id != held.tenant_id else locked


async def _read_refetchable(state: StateReader, uncertainty: Uncertainty) -> Tracked | None:
    id_ = uncertainty.object_id
    match uncertainty.kind:
        case SubscriptionSnapshot.kind:
            return next(iter(await state.subscriptions(tenants=(), ids=[SubscriptionId(id_)])), None)
        case InvoiceSnapshot.kind:
            return next(iter(await state.invoices(ids=[InvoiceId(id_)])), None)
        case CustomerSnapshot.kind:
            return (await state.customers([CustomerId(id_)])).get(CustomerId(id_))
        case EntitlementsSnapshot.kind:
            return next(iter(await state.records([id_])), None)
        case kind:
            raise LookupError(f"a {kind} cannot be fetched again")


# --- parts of a batch -----------------------------------------------------------------------------------------------


async def _lock_customers(
    transaction: BillingTransaction,
    events: Iterable[ClaimedEvent],
    known: Mapping[CustomerId, TenantCustomer],
    *,
    shared: bool,
) -> Mapping[CustomerId, TenantCustomer]:
    """Lock the customers of a batch that have no tenant, so that no event parks past their link; return all of them.

    Shared customers are always locked: no other batch then finds an owner for a subscription that is unknown here.
    """
    ids = {id_ for event in events if (id_ := event.translation.customer_id) is not None}
    if shared:
        return await transaction.lock_customers(ids) if ids else {}
    linked = {id_: known[id_] for id_ in ids if id_ in known and known[id_].tenant_id is not None}
    unlinked = ids - linked.keys()
    locked = await transaction.lock_customers(unlinked) if unlinked else {}
    if locked.keys() < unlinked:  # the tenant of one was erased while this unit of work waited for its lock
        raise LinksMovedError
    return {**linked, **locked}


async def _read_again(
    transaction: BillingTransaction, customers: Mapping[CustomerId, TenantCustomer], snapshots: Iterable[Snapshot]
) -> Mapping[CustomerId, TenantCustomer]:
    """Read the customers of a batch again, under the locks of their tenants, if their snapshots decide on anything.

    A linked customer was read before its tenant was locked. Its link is still the same, but another process may have
    written a newer snapshot of it in between.
    """
    concerned = bool(customers) and _concern_payment(snapshots)
    return await transaction.customers(customers.keys()) if concerned else customers


def _concern_payment(snapshots: Iterable[Snapshot]) -> bool:
    """Tell whether a batch shows customers, or what their default payment method may be charged for."""
    for seen in snapshots:
        if isinstance(seen, SubscriptionSnapshot):
            if seen.payment_method_id is None and seen.charged:
                return True
        elif isinstance(seen, _COPIED):
            return True
    return False


def _named_subscriptions(
    events: Iterable[ClaimedEvent], snapshots: Iterable[Snapshot], views: Views
) -> Collection[str]:
    """Return the ids of all subscriptions that may change, and of those that events are about, among other ids."""
    named = {id_ for event in events for id_ in event.translation.about}
    for seen in snapshots:
        if isinstance(seen, SubscriptionSnapshot | InvoiceSnapshot | ScheduleSnapshot) and seen.subscription_id:
            named.add(seen.subscription_id)
    for view in itertools.chain.from_iterable(views.values()):
        named.add(view.object_id)
        if isinstance(view.snapshot, InvoiceSnapshot) and view.snapshot.subscription_id is not None:
            named.add(view.snapshot.subscription_id)
    return named


def _invoice_ids(snapshots: Iterable[Snapshot]) -> set[InvoiceId]:
    return {seen.invoice_id for seen in snapshots if isinstance(seen, InvoiceSnapshot)}


def _copying_tenants(
    events: Iterable[ClaimedEvent],
    customers: Mapping[CustomerId, TenantCustomer],
    owners: Mapping[str, TenantId],
    decided: Mapping[str, LinkStanding],
) -> set[TenantId]:
    """Return the tenants, as far as an event may belong to them, whose live subscriptions show a part of its object."""
    found: list[TenantId | None] = []
    for event in events:
        translation, customer_id = event.translation, event.translation.customer_id
        if any(isinstance(seen, _COPIED) for seen in translation.snapshots):
            found.append(translation.tenant_hint)
            found += [owners.get(id_) for id_ in deciding_ids(translation)]
            if customer_id is not None:
                found.append(customers[customer_id].tenant_id)
                found.append(decided[customer_id].tenant_id if customer_id in decided else None)
    return {tenant_id for tenant_id in found if tenant_id is not None}


async def _find_owners(
    transaction: BillingTransaction, events: Sequence[ClaimedEvent], *, shared: bool
) -> Mapping[str, TenantId]:
    """Find the tenants of the objects that events name in place of a customer; of all objects, if those are shared."""
    named = {id_ for event in events if event.translation.customer_id is None for id_ in event.translation.about}
    if shared:
        named |= objects_of(events)
    return await transaction.owners(named) if named else {}


def _tenants(customers: Mapping[CustomerId, TenantCustomer], events: Iterable[ClaimedEvent]) -> set[TenantId]:
    """Return the tenants that events name for customers without one."""
    tenants = set()
    for event in events:
        customer_id, hint = event.translation.customer_id, event.translation.tenant_hint
        if customer_id is not None and hint is not None and customers[customer_id].tenant_id is None:
            tenants.add(hint)
    return tenants


def _linked(customers: Mapping[CustomerId, TenantCustomer]) -> set[TenantId]:
    return {tenant_id for customer in customers.values() if (tenant_id := customer.tenant_id) is not None}


async def _decided_before(
    transaction: BillingTransaction,
    events: Iterable[ClaimedEvent],
    customers: Mapping[CustomerId, TenantCustomer],
    owners: Mapping[str, TenantId],
    *,
    shared: bool,
) -> Mapping[str, LinkStanding]:
    """Read what operators decided about objects without a tenant. Their customers are locked, so it stays true."""
    ids: set[str] = {customer_id for customer_id, customer in customers.items() if customer.tenant_id is None}
    if shared:
        described = (described_subscription(event.translation) for event in events)
        ids |= {id_ for id_ in described if id_ is not None and id_ not in owners}
    return standings(await transaction.decisions(ids)) if ids else {}


async def _outranking(
    transaction: BillingTransaction,
    events: Iterable[ClaimedEvent],
    customers: Mapping[CustomerId, TenantCustomer],
    owners: Mapping[str, TenantId],
    *,
    shared: bool,
) -> Mapping[str, LinkStanding]:
    """Read what operators decided about objects that events name another tenant for. Those tenants are locked."""
    ids: set[str] = set()
    for event in events:
        id_ = subject_of(event.translation) if shared else event.translation.customer_id
        hint = event.translation.tenant_hint
        if id_ is None or hint is None:
            continue
        customer = customers.get(CustomerId(id_))
        tenant_id = owners.get(id_) if customer is None else customer.tenant_id
        if tenant_id not in (None, hint):
            ids.add(id_)
    return standings(await transaction.decisions(ids)) if ids else {}


def _deleted_customers(snapshots: Iterable[Snapshot]) -> set[CustomerId]:
    return {seen.customer_id for seen in snapshots if isinstance(seen, CustomerSnapshot) and seen.deleted}


def _named_tenants(events: Iterable[ClaimedEvent], owners: Mapping[str, TenantId]) -> set[TenantId]:
    """Return the tenants that events name for their subscriptions or customers, where those may be without one."""
    return {
        hint
        for event in events
        if (hint := event.translation.tenant_hint) is not None
        if names_new_owner(event.translation, owners)
    }


async def _load_records(
    transaction: BillingTransaction, snapshots: Sequence[Snapshot], payers: Iterable[CustomerSnapshot]
) -> _Records:
    """Load the records that events show, those that lead from them to the invoices they concern, and the schedules and
    payment methods that subscriptions show a part of."""
    shown = {seen.object_id: seen for seen in snapshots if isinstance(seen, RecordSnapshot)}
    copied = {object_id for seen in (*snapshots, *payers) for object_id in named_records(seen)}
    if not shown and not copied:
        return _Records()
    if any(isinstance(seen, CatalogSnapshot) for seen in shown.values()):
        await transaction.lock_catalog()
    asked = {*shown, *copied, *(id_ for seen in shown.values() for id_ in leads_to(seen))}
    known = [*await transaction.records(asked)]
    further = {id_ for record in known for id_ in leads_to(record.snapshot)} - asked
    if further:
        known += await transaction.records(further)
    found = {**{record.object_id: record.snapshot for record in known}, **shown}
    invoices = {invoice_of(seen, found.get) for seen in found.values()}
    return _Records(known=known, invoices=frozenset(id_ for id_ in invoices if id_ is not None))


def _newly_metered(snapshots: Iterable[Snapshot], subscriptions: Iterable[TenantSubscription]) -> set[SubscriptionId]:
    """Return the subscriptions whose earlier invoices have to be rated again, by newly known metered prices."""
    known = {subscription.snapshot.subscription_id: subscription.metered_prices for subscription in subscriptions}
    found = set()
    for seen in snapshots:
        if isinstance(seen, SubscriptionSnapshot) and seen.metered_prices:
            metered_prices = known.get(seen.subscription_id, {})
            if merge_metered_prices(metered_prices, seen.metered_prices) != metered_prices:
                found.add(seen.subscription_id)
    return found


async def _known_occasions(
    transaction: BillingTransaction,
    statements: Iterable[Statement],
    *,
    tenants: Collection[TenantId],
    invoices: Iterable[SubscriptionInvoice],
) -> Collection[tuple[TenantId, str]]:
    """Find the occasions that an earlier batch kept, among those that these statements may report."""
    keys = possible_keys(statements, invoices)
    return await transaction.occasions(tenants=tenants, keys=keys) if keys and tenants else ()


def _with_new_items(snapshots: Iterable[Snapshot], subscriptions: Iterable[TenantSubscription]) -> set[SubscriptionId]:
    """Return the subscriptions whose paid invoices may turn out to be renewals, by items that were not known."""
    known = {subscription.snapshot.subscription_id: subscription.snapshot for subscription in subscriptions}
    shown = [seen for seen in snapshots if isinstance(seen, SubscriptionSnapshot)]
    return {seen.subscription_id for seen in shown if has_new_items(known.get(seen.subscription_id), seen)}


async def _replayed_usage(
    transaction: BillingTransaction, events: Iterable[ClaimedEvent]
) -> Mapping[InvoiceId, Sequence[UsageRecord]]:
    """Read the stored usage of the invoices that replayed events show."""
    replayed = {
        seen.invoice_id
        for event in events
        if event.claim.applied
        for seen in event.translation.snapshots
        if isinstance(seen, InvoiceSnapshot)
    }
    return await transaction.usage(replayed) if replayed else {}
