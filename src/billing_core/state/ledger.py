"""Fold provider events into the state of tenants, in memory and without I/O.

`BillingService` loads a `Ledger` under locks, folds a batch of events into it and saves what changed. The order of
events in a batch changes which messages are created, never the state they end in.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import attrs

from billing_core.events import BillingEvent, Disposition, Effect, Outcome
from billing_core.model import (
    OUT_OF_SCOPE,
    AccessPolicy,
    AccessVerdict,
    Answer,
    CustomerId,
    CustomerSnapshot,
    InvoiceId,
    InvoiceSnapshot,
    LinkStanding,
    PaymentMethodSnapshot,
    PlanCatalog,
    ProvisionalView,
    RecordSnapshot,
    ScheduleSnapshot,
    Snapshot,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantCustomer,
    TenantId,
    TenantRecord,
    TenantSubscription,
    Tracked,
    Uncertainty,
    UnownedSnapshot,
    UsageRecord,
    merge_metered_prices,
    operation_of,
    uncertainty_of,
)
from billing_core.state.announcements import (
    billed_announcement,
    customer_announcement,
    departure_announcement,
    invoice_announcement,
    rated_announcement,
    record_announcement,
    subscription_announcement,
    usage_announcement,
)
from billing_core.state.announcing import Announcer, Folded
from billing_core.state.billed_usage import BilledUsage
from billing_core.state.copies import CopiedSnapshot, Copies
from billing_core.state.diff import ObjectChange, changed_object
from billing_core.state.occasion_book import OccasionBook
from billing_core.state.ownership import Ownership
from billing_core.state.ports import Changes, LockedTenants
from billing_core.state.precedence import Evidence, resolve
from billing_core.state.provisional import (
    OperationAnswer,
    ProvisionalBasis,
    Row,
    ViewShelf,
    beside,
    is_needless,
    left_of,
    replacement_of,
    succeeds,
    view_of,
)
from billing_core.state.reading import ClaimedEvent, ProviderAnswer, RulesChange, Statement
from billing_core.state.renewals import has_new_items
from billing_core.state.rereading import Rereader
from billing_core.state.shared_customers import OwnershipBySubscription
from billing_core.state.shelf import Shelf
from billing_core.state.verdicts import Verdicts
from billing_core.state.visibility import Visibility

_NO_USAGE: Final[Mapping[InvoiceId, Sequence[UsageRecord]]] = MappingProxyType({})
_NO_OWNERS: Final[Mapping[str, TenantId]] = MappingProxyType({})
_NOTHING_DECIDED: Final[Mapping[str, LinkStanding]] = MappingProxyType({})
_NO_PAYEES: Final[Mapping[CustomerId, Collection[TenantId]]] = MappingProxyType({})


class Ledger:
    """The loaded state of the tenants a batch concerns, and everything that folding changed in it."""

    def __init__(
        self,
        *,
        customers: Iterable[TenantCustomer],
        tenants: LockedTenants,
        subscriptions: Iterable[TenantSubscription],
        invoices: Iterable[SubscriptionInvoice],
        evidence: Evidence,
        policy: AccessPolicy,
        catalog: PlanCatalog,
        records: Iterable[TenantRecord] = (),
        owners: Mapping[str, TenantId] = _NO_OWNERS,
        decided: Mapping[str, LinkStanding] = _NOTHING_DECIDED,
        payees: Mapping[CustomerId, Collection[TenantId]] = _NO_PAYEES,
        occasions: Collection[tuple[TenantId, str]] = (),
        usage: Mapping[InvoiceId, Sequence[UsageRecord]] = _NO_USAGE,
        notify: bool = True,
        shared: bool = False,
    ) -> None:
        """Take over loaded state.

        Args:
            customers: the customers that the batch names.
            tenants: the locked tenants.
            subscriptions: those of these tenants that the batch may change or concerns otherwise, and those that decide
                on their access then, see `StateReader.deciding_subscriptions`.
            invoices: the invoices that the batch shows or may rate again.
            evidence: looks up other events of an object, for ties.
            policy: decides on access.
            catalog: says which lines of an invoice bill a plan.
            records: the records that the batch shows, and those that lead to their invoices or decide on access.
            owners: the tenants of objects that events name in place of a customer.
            decided: what operators decided about customers and subscriptions whose events name a new or another tenant.
            payees: the tenants that deleted customers pay for, as stored.
            occasions: the known occasions among those that the batch may report, by tenant and key.
            usage: the stored usage of invoices that replayed events show; it is compared with their lines.
            notify: whether messages are created. Without it only state changes.
            shared: whether one customer may pay for several tenants, each subscription naming its own.
        """
        self._customers = Shelf(customers)
        self._subscriptions = Shelf(subscriptions)
        self._invoices = Shelf(invoices)
        self._records = Shelf(records)
        self._shelves: tuple[Shelf[Any], ...] = (self._subscriptions, self._invoices, self._customers, self._records)
        self._shelf_of: Mapping[type, Shelf[Any]] = {
            SubscriptionSnapshot: self._subscriptions,
            InvoiceSnapshot: self._invoices,
            CustomerSnapshot: self._customers,
        }
        """By class of snapshot; every other class is a record."""
        self._tenants = tenants
        self._shared = shared
        self._copies = Copies(self._customers, self._records)
        self._views = ViewShelf(tenants.views)
        self._drop_needless_views()
        self._visibility = Visibility(self._subscriptions, self._invoices, self._records, self._views)
        ownership = OwnershipBySubscription if shared else Ownership
        self._ownership = ownership(
            customers=self._customers,
            records=self._records,
            shelves=self._shelves,
            known=self._known,
            owners=owners,
            decided=decided,
            locked=tenants.counters.keys(),
        )
        self._catalog = catalog
        self._evidence = evidence
        shown = self._visibility
        self._verdicts = Verdicts(shown.subscriptions, shown.invoices, self._records, policy=policy, tenants=tenants)
        self._usage = BilledUsage(invoices=self._invoices, subscriptions=self._subscriptions, stored=usage)
        self._announcer = Announcer(
            visibility=shown,
            verdicts=self._verdicts,
            occasions=OccasionBook(
                self._subscriptions, self._invoices, visibility=shown, catalog=catalog, known=occasions
            ),
            tenants=tenants,
            notify=notify,
        )
        self._payees = payees
        self._echoes: dict[int, str] = {}

    @property
    def events(self) -> Sequence[BillingEvent]:
        """The new messages, each tenant's in order of their numbers."""
        return self._announcer.events

    def access(self) -> Mapping[TenantId, AccessVerdict]:
        """Return the access of each locked tenant, as its state stands now."""
        return {tenant_id: self._verdicts.of(tenant_id) for tenant_id in self._tenants.counters}

    # --- rules that changed ---------------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Read the state of tenants that are behind by the rules in force."""
        self.reread(self._tenants.behind)

    def reread(self, tenants: Collection[TenantId]) -> None:
        """Read what is stored of live subscriptions by the rules in force, and notify each change of one."""
        if not tenants:
            return
        cause = RulesChange(generation=self._tenants.generation, created_at=self._tenants.now)
        rereader = Rereader(
            self._subscriptions,
            self._invoices,
            self._views,
            visibility=self._visibility,
            usage=self._usage,
            catalog=self._catalog,
        )
        for news in rereader.reread(tenants):
            self._announcer.create(news.tenant_id, cause, news.announcement, news.subscription, None, usage=news.usage)

    # --- the batch ----------------------------------------------------------------------------------------------

    def link_customers(self, batch: Iterable[ClaimedEvent]) -> None:
        """Link each customer without a tenant to the tenant of the first event that contradicts nothing we know."""
        self._ownership.link_customers(batch)

    def fold(self, event: ClaimedEvent) -> Outcome:
        """Fold one event. An event that contradicts our links ends as dead and leaves no trace.

        One that was applied before stays applied: what cannot be confirmed now was true then.
        """
        return self._fold_event(event).kept

    def _fold_event(self, event: ClaimedEvent) -> Outcome:
        claim, translation = event.claim, event.translation
        unread = translation.thin or translation.ignored is not None
        if unread and claim.applied:
            # It was readable when it was applied; the provider forgets, and settings differ. That stays on record.
            return Outcome(claim=claim, disposition=Disposition.APPLIED, effect=Effect.CONFIRMED)
        if translation.thin:
            return Outcome(claim=claim, disposition=Disposition.PARKED, reason="thin")
        if unread:
            return Outcome(
                claim=claim, disposition=Disposition.IGNORED, reason=translation.ignored, error=translation.detail
            )
        if translation.customer_id is None and not translation.about:
            return self._fold_unowned(event)
        owner = self._ownership.owner_of(event)
        outcome = self._by_scope(event, owner if isinstance(owner, Outcome) else self._apply(owner, event))
        if outcome.disposition is Disposition.APPLIED and translation.tenant_hint not in (None, outcome.tenant_id):
            outcome = attrs.evolve(outcome, outdated_hint=True)
        return self._publish_deletion(event, outcome) if self._shared else outcome

    def settle(self, tenant_id: TenantId, answer: ProviderAnswer) -> None:
        """Replace an uncertain object with the provider's answer."""
        folded = [self._fold_snapshot(tenant_id, snapshot, answer) for snapshot in answer.translation.snapshots]
        self._announcer.publish(tenant_id, answer, folded, linked=False)

    def show(self, answer: Answer, basis: ProvisionalBasis, echoes: Iterable[Answer]) -> ProvisionalView | None:
        """Let the provider's answer to an operation stand beside its row, and return the view if it awaits its events.

        It does not if the row is later, or one of the `echoes` is equal to the answer. These are what events of the
        operation that were applied showed of the object.
        """
        tenant_id, object_id = basis.tenant_id, answer.object_id
        before = self._visibility.either(object_id)
        row, known = self._row(object_id), self._views.get(object_id)
        if isinstance(answer, SubscriptionSnapshot):
            answer = self._copies.with_method(tenant_id, answer)
        new = view_of(answer, basis, now=self._tenants.now)
        view = new if known is None else succeeds(new, known)
        echoed = [self._as_told(tenant_id, echo) for echo in echoes] if view.snapshot == new.snapshot else []
        left = view if row is None else beside(view, row, echoed or None, now=self._tenants.now)
        if left is None:
            self._views.remove(object_id)
        else:
            self._views.put(left)
        shown = self._visibility.subscriptions.get(object_id) or self._visibility.invoices.get(object_id)
        if shown is not None:
            self._verdicts.include(shown)
        if basis.answered_at is not None:
            cause = OperationAnswer(operation_key=basis.operation_key, created_at=basis.answered_at)
            self._announcer.announce_shown(tenant_id, cause, before, object_id)
        return None if left is None or left.confirmed else left

    def uncertainties(self) -> Sequence[Uncertainty]:
        """Return the changed objects that need a refetch."""
        changed = (each for shelf in self._shelves for each in shelf.changed())
        return [uncertainty for each in changed if (uncertainty := uncertainty_of(each))]

    def due_refetch(self, view: ProvisionalView) -> Sequence[Uncertainty]:
        """Return the refetch that a provisional view is due for now, if its object has a row to write under."""
        row = self._row(view.object_id)
        if row is None or view.refetch_due_at > self._tenants.now:
            return ()
        return (replacement_of(view, row),)

    def unexplained_grace(self) -> Sequence[Uncertainty]:
        """Return the changed subscriptions whose grace no invoice explains; they are worth one refetch."""
        unexplained = [*self._verdicts.without_missed_payment(self._subscriptions.changed())]
        uncertain = self.uncertainties() if unexplained else ()
        return [each for each in unexplained if each not in uncertain]

    def changes(self) -> Changes:
        """Return everything that has to be written."""
        subscriptions, invoices = self._subscriptions.changed(), self._invoices.changed()
        touched = {*(each.tenant_id for each in subscriptions), *(each.tenant_id for each in invoices)}
        touched.update(each.tenant_id for each in self.events)
        touched.update(views := self._views.changed())
        touched.update(self._verdicts.concerned_by(self._records.changed()))
        return Changes(
            customers=self._customers.changed(),
            subscriptions=subscriptions,
            invoices=invoices,
            usage=self._usage.changed,
            records=self._records.changed(),
            read_by=dict.fromkeys(self._tenants.behind, self._tenants.generation),
            occasions=self._announcer.kept,
            events=self.events,
            access=self._verdicts.changes(touched),
            views=views,
            echoes=self._echoes,
        )

    def differences(self) -> Sequence[ObjectChange]:
        """Return the changes object by object and field by field, by object id."""
        changes = (changed_object(*change) for shelf in self._shelves for change in shelf.changes())
        return sorted((change for change in changes if change), key=lambda change: change.object_id)

    # --- one event ----------------------------------------------------------------------------------------------

    def _fold_unowned(self, event: ClaimedEvent) -> Outcome:
        """Fold an event that shows the catalog or a test clock, which have no tenant."""
        shown = [seen for seen in event.translation.snapshots if isinstance(seen, UnownedSnapshot)]
        if not shown:
            return Outcome(claim=event.claim, disposition=Disposition.IGNORED, reason="no_customer")
        effect = _strongest(self._fold_record(None, seen, event).effect for seen in shown)
        return Outcome(claim=event.claim, disposition=Disposition.APPLIED, effect=effect)

    def _by_scope(self, event: ClaimedEvent, outcome: Outcome) -> Outcome:
        """End an event of another product as ignored. One that waits for a tenant is ignored until there is one."""
        if outcome.disposition is Disposition.PARKED and event.out_of_scope:
            return attrs.evolve(outcome, disposition=Disposition.IGNORED, reason=OUT_OF_SCOPE, error=None)
        if outcome.disposition is not Disposition.APPLIED or outcome.sequence is not None:
            return outcome
        ids = [seen.object_id for seen in event.translation.snapshots] or event.translation.about
        if not event.out_of_scope and not self._visibility.shows_only_hidden(ids):
            return outcome
        return attrs.evolve(outcome, disposition=Disposition.IGNORED, reason=OUT_OF_SCOPE, effect=None)

    def _publish_deletion(self, event: ClaimedEvent, outcome: Outcome) -> Outcome:
        """Notify all tenants that a deleted customer pays for, beside its own. It may have no tenant of its own."""
        deleted = next(filter(_is_deletion, event.translation.snapshots), None)
        if not isinstance(deleted, CustomerSnapshot) or outcome.disposition is Disposition.DEAD:
            return outcome
        own = outcome.tenant_id
        folded = self._fold_customer(deleted, event) if own is None else Folded(outcome.effect or Effect.CONFIRMED)
        news = customer_announcement(None, deleted)
        if folded.effect is Effect.CHANGED and news is not None:
            held = self._subscriptions.all()
            payees = {each.tenant_id for each in held if each.snapshot.customer_id == deleted.customer_id}
            payees.update(self._payees.get(deleted.customer_id, ()))
            for tenant_id in sorted(payees - {own}):
                self._announcer.announce(tenant_id, event, news)
        if own is not None:
            return outcome
        return Outcome(
            claim=event.claim,
            disposition=Disposition.APPLIED,
            effect=folded.effect,
            customer_id=deleted.customer_id,
        )

    def _apply(self, tenant_id: TenantId, event: ClaimedEvent) -> Outcome:
        claim, translation = event.claim, event.translation
        folded = [self._fold_snapshot(tenant_id, snapshot, event) for snapshot in translation.snapshots]
        messages = self._announcer.events
        before = len(messages)
        published = self._announcer.publish(tenant_id, event, folded, linked=self._ownership.made_link(event))
        if (operation := operation_of(translation.request_key)) is not None:
            self._echoes[claim.dispatch_id] = operation
        return Outcome(
            claim=claim,
            disposition=Disposition.APPLIED,
            effect=Effect.CHANGED if published else _strongest(each.effect for each in folded),
            tenant_id=tenant_id,
            customer_id=translation.customer_id,
            sequence=messages[before].sequence if len(messages) > before else None,
        )

    # --- one snapshot: resolve, compare, keep, announce -----------------------------------------------------------

    def _fold_snapshot(self, tenant_id: TenantId, snapshot: Snapshot, statement: Statement) -> Folded:
        before = self._visibility.subscription(snapshot.object_id)
        folded = self._fold_any(tenant_id, snapshot, statement)
        if not self._visibility.is_hidden(snapshot.object_id):
            return folded
        # State is kept, so that it is right whichever event came first; the tenant is told only that it left.
        left = before is not None and not before.out_of_scope and not before.ended
        return Folded(folded.effect, departure_announcement(before) if before and left else None)

    def _fold_any(self, tenant_id: TenantId, snapshot: Snapshot, statement: Statement) -> Folded:
        match snapshot:
            case SubscriptionSnapshot():
                return self._fold_subscription(tenant_id, snapshot, statement)
            case InvoiceSnapshot():
                return self._fold_invoice(tenant_id, snapshot, statement)
            case CustomerSnapshot():
                return self._fold_customer(snapshot, statement)
            case _:
                return self._fold_record(tenant_id, snapshot, statement)

    def _fold_subscription(self, tenant_id: TenantId, seen: SubscriptionSnapshot, statement: Statement) -> Folded:
        known = self._subscriptions.get(seen.subscription_id)
        before = known.snapshot if known else None
        shown = self._visibility.subscription(seen.subscription_id)
        resolution = resolve(_as_shown(known), seen, statement, self._evidence)
        rated_by = known.metered_prices if known else {}
        read = resolution.snapshot
        if before is not None and before.ended and before.plan_code not in (None, read.plan_code):
            read = self._as_it_ended(before, read)
        after = TenantSubscription(
            tenant_id=tenant_id,
            snapshot=self._copies.complete(tenant_id, read.completed_by(before), before),
            provenance=resolution.provenance,
            metered_prices=merge_metered_prices(rated_by, seen.metered_prices),
        )
        kept = self._subscriptions.keep(after)
        if not self._end_view(after, seen, statement) and not kept:
            return Folded(resolution.effect)
        self._verdicts.include(after)
        new_items = has_new_items(before, after.snapshot)
        usage = self._usage.rate_again(after, rated_by)
        now = self._visibility.subscription(seen.subscription_id) or after.snapshot
        news = subscription_announcement(None if shown is None or shown.out_of_scope else shown, now)
        if news is None and usage:
            news = rated_announcement(now)
        if news is None:
            unchanged = before == after.snapshot
            return Folded(resolution.effect if unchanged else Effect.CHANGED, new_items=new_items)
        return Folded(Effect.CHANGED, news, subscription=now, usage=usage, new_items=new_items)

    def _as_it_ended(self, before: SubscriptionSnapshot, read: SubscriptionSnapshot) -> SubscriptionSnapshot:
        """Return an ended subscription as it was read, if only the rules have changed since: they concern live ones."""
        shown = attrs.evolve(before, planned=read.planned, payment_method=read.payment_method)
        return shown if self._catalog.read_subscription(shown) == read else read

    def _fold_invoice(self, tenant_id: TenantId, seen: InvoiceSnapshot, statement: Statement) -> Folded:
        known = self._invoices.get(seen.invoice_id)
        before = known.snapshot if known else None
        shown = self._visibility.invoice(seen.invoice_id)
        resolution = resolve(known, seen, statement, self._evidence)
        failed_at = known.failed_at if known else ()
        fails_now = statement.translation.payment_failed and statement.created_at not in failed_at
        after = SubscriptionInvoice(
            tenant_id=tenant_id,
            snapshot=resolution.snapshot.completed_by(before),
            provenance=resolution.provenance,
            failed_at=tuple(sorted((*failed_at, statement.created_at))) if fails_now else failed_at,
        )
        kept = self._invoices.keep(after)
        if not self._end_view(after, seen, statement) and not kept:
            return self._correct_usage(after, statement) or Folded(resolution.effect)
        self._verdicts.include(after)
        changed = before != after.snapshot
        rated = self._usage.changed.get(seen.invoice_id)
        usage = self._usage.bill(known, after) if changed else ()
        now = self._visibility.invoice(seen.invoice_id) or after.snapshot
        news = invoice_announcement(shown, now)
        if news is None and self._usage.changed.get(seen.invoice_id) != rated:
            news = billed_announcement(now)
        if news is None:
            return Folded(Effect.CHANGED if changed else resolution.effect)
        return Folded(Effect.CHANGED, news, invoice=now, usage=usage)

    def _fold_customer(self, seen: CustomerSnapshot, statement: Statement) -> Folded:
        known = self._ownership.customer(seen.customer_id)
        resolution = resolve(known, seen, statement, self._evidence)
        after = attrs.evolve(known, snapshot=resolution.snapshot, provenance=resolution.provenance)
        if not self._customers.keep(after) or after.snapshot == known.snapshot:
            return Folded(resolution.effect)
        news = customer_announcement(known.snapshot, resolution.snapshot)
        if after.tenant_id is None:
            return Folded(Effect.CHANGED, news)
        others = self._copy_to_subscriptions(after.tenant_id, resolution.snapshot, statement)
        return Folded(Effect.CHANGED, news, others=others)

    def _fold_record(self, tenant_id: TenantId | None, seen: RecordSnapshot, statement: Statement) -> Folded:
        known = self._records.get(seen.object_id)
        before = known.snapshot if known else None
        resolution = resolve(known, seen, statement, self._evidence)
        after = TenantRecord(
            tenant_id=None if isinstance(seen, UnownedSnapshot) else tenant_id,
            snapshot=resolution.snapshot,
            provenance=resolution.provenance,
        )
        if not self._records.keep(after) or after.snapshot == before:
            return Folded(resolution.effect)
        self._verdicts.include(after)
        if tenant_id is not None and isinstance(after.snapshot, ScheduleSnapshot | PaymentMethodSnapshot):
            return Folded(Effect.CHANGED, others=self._copy_to_subscriptions(tenant_id, after.snapshot, statement))
        news = record_announcement(before, after.snapshot)
        return Folded(Effect.CHANGED, news, invoice=self._visibility.invoice_of(after))

    def _copy_to_subscriptions(
        self, tenant_id: TenantId, changed: CopiedSnapshot, statement: Statement
    ) -> tuple[Folded, ...]:
        """Bring the subscriptions that show a part of an object up to date, and return the news of each."""
        news: list[Folded] = []
        for held in self._subscriptions.all():
            if held.tenant_id != tenant_id:
                continue
            shown = self._visibility.subscription(held.object_id) or held.snapshot
            after = attrs.evolve(held, snapshot=self._copies.follow(tenant_id, held.snapshot, changed))
            if not self._subscriptions.keep(after):
                continue
            self._end_view(after, after.snapshot, statement)
            now = self._visibility.subscription(held.object_id) or after.snapshot
            announcement = None if shown.out_of_scope else subscription_announcement(shown, now)
            if announcement is not None:
                news.append(Folded(Effect.CHANGED, announcement, subscription=now))
        return tuple(news)

    # --- provisional views --------------------------------------------------------------------------------------

    def _end_view(self, row: Row, seen: Answer, statement: Statement) -> bool:
        """Remove the view of an object if a statement that was folded into its row ends it; tell whether it did."""
        view = self._views.get(row.object_id)
        if view is None:
            return False
        left = left_of(view, row, statement, (self._as_told(row.tenant_id, seen),), now=self._tenants.now)
        if left is None:
            return self._views.remove(row.object_id)
        self._views.put(left)
        return False

    def _drop_needless_views(self) -> None:
        for view in [*self._views.all()]:
            if is_needless(view, self._row(view.object_id), now=self._tenants.now):
                self._views.remove(view.object_id)

    def _as_told(self, tenant_id: TenantId, seen: Answer) -> Answer:
        """Return an object as an event tells it, with what a row would have beside that: to compare it with a view."""
        known = self._row(seen.object_id)
        match seen:
            case SubscriptionSnapshot():
                before = known.snapshot if isinstance(known, TenantSubscription) else None
                return self._copies.complete(tenant_id, seen.completed_by(before), before)
            case InvoiceSnapshot():
                return seen.completed_by(known.snapshot if isinstance(known, SubscriptionInvoice) else None)

    def _row(self, object_id: str) -> Row | None:
        return self._subscriptions.get(object_id) or self._invoices.get(object_id)

    # --- consequences -------------------------------------------------------------------------------------------

    def _correct_usage(self, invoice: SubscriptionInvoice, statement: Statement) -> Folded | None:
        """Correct the stored usage of an invoice that rests on a replayed event; None if it is right."""
        if statement.event_id not in invoice.provenance.event_ids:
            return None
        usage = self._usage.correct(invoice)
        if usage is None:
            return None
        seen = self._visibility.invoice(invoice.object_id) or invoice.snapshot
        return Folded(Effect.CHANGED, usage_announcement(seen), invoice=seen, usage=usage)

    def _known(self, snapshot: Snapshot) -> Tracked | None:
        return self._shelf_of.get(type(snapshot), self._records).get(snapshot.object_id)


def _as_shown(known: TenantSubscription | None) -> TenantSubscription | None:
    """Return a subscription as its own events show it: without what was copied from other objects."""
    if known is None or not (known.snapshot.planned or known.snapshot.payment_method):
        return known
    return attrs.evolve(known, snapshot=attrs.evolve(known.snapshot, planned=(), payment_method=None))


def _is_deletion(snapshot: Snapshot) -> bool:
    return isinstance(snapshot, CustomerSnapshot) and snapshot.deleted


def _strongest(effects: Iterable[Effect]) -> Effect:
    """Pick the effect of an event: changed beats confirmed beats stale; nothing to fold confirms."""
    found = set(effects)
    if Effect.CHANGED in found:
        return Effect.CHANGED
    return Effect.STALE if found == {Effect.STALE} else Effect.CONFIRMED
