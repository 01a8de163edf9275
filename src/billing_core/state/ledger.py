"""Fold provider events into the state of tenants, in memory and without I/O.

`BillingService` loads a `Ledger` under locks, folds a batch of events into it and saves what changed. The order of
events in a batch changes which messages are created, never the state they end in.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

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
    LinkStanding,
    PlanCatalog,
    ProvisionalView,
    Snapshot,
    SubscriptionInvoice,
    TenantCustomer,
    TenantId,
    TenantRecord,
    TenantSubscription,
    Uncertainty,
    UnownedSnapshot,
    UsageRecord,
    operation_of,
    uncertainty_of,
)
from billing_core.state.announcements import customer_announcement
from billing_core.state.announcing import Announcer
from billing_core.state.billed_usage import BilledUsage
from billing_core.state.copies import Copies
from billing_core.state.diff import ObjectChange, changed_object
from billing_core.state.folding import SnapshotFolder
from billing_core.state.occasion_book import OccasionBook
from billing_core.state.ownership import Ownership
from billing_core.state.ports import Changes, LockedTenants
from billing_core.state.precedence import Evidence
from billing_core.state.provisional import OperationAnswer, ProvisionalBasis
from billing_core.state.reading import ClaimedEvent, ProviderAnswer, RulesChange
from billing_core.state.rereading import Rereader
from billing_core.state.shared_customers import OwnershipBySubscription
from billing_core.state.shelf import Shelves
from billing_core.state.standing_views import StandingViews
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
        shelves = Shelves(customers=customers, subscriptions=subscriptions, invoices=invoices, records=records)
        copies = Copies(shelves.customers, shelves.records)
        views = StandingViews(tenants, shelves, copies)
        shown = Visibility(shelves.subscriptions, shelves.invoices, shelves.records, views.shelf)
        self._shelves = shelves
        self._tenants = tenants
        self._shared = shared
        self._views = views
        self._visibility = shown
        ownership = OwnershipBySubscription if shared else Ownership
        self._ownership = ownership(shelves=shelves, owners=owners, decided=decided, locked=tenants.counters.keys())
        self._catalog = catalog
        self._verdicts = Verdicts(shown.subscriptions, shown.invoices, shelves.records, policy=policy, tenants=tenants)
        self._usage = BilledUsage(invoices=shelves.invoices, subscriptions=shelves.subscriptions, stored=usage)
        self._folder = SnapshotFolder(
            shelves,
            views=views,
            visibility=shown,
            copies=copies,
            ownership=self._ownership,
            verdicts=self._verdicts,
            usage=self._usage,
            evidence=evidence,
            catalog=catalog,
        )
        self._announcer = Announcer(
            visibility=shown,
            verdicts=self._verdicts,
            occasions=OccasionBook(
                shelves.subscriptions, shelves.invoices, visibility=shown, catalog=catalog, known=occasions
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
            self._shelves.subscriptions,
            self._shelves.invoices,
            self._views.shelf,
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
        folded = [self._folder.fold(tenant_id, snapshot, answer) for snapshot in answer.translation.snapshots]
        self._announcer.publish(tenant_id, answer, folded, linked=False)

    def show(self, answer: Answer, basis: ProvisionalBasis, echoes: Iterable[Answer]) -> ProvisionalView | None:
        """Let the provider's answer to an operation stand beside its row, and return the view if it awaits its events.

        It does not if the row is later, or one of the `echoes` is equal to the answer. These are what events of the
        operation that were applied showed of the object.
        """
        tenant_id, object_id = basis.tenant_id, answer.object_id
        before = self._visibility.either(object_id)
        left = self._views.show(tenant_id, answer, basis, echoes)
        shown = self._visibility.subscriptions.get(object_id) or self._visibility.invoices.get(object_id)
        if shown is not None:
            self._verdicts.include(shown)
        if basis.answered_at is not None:
            cause = OperationAnswer(operation_key=basis.operation_key, created_at=basis.answered_at)
            self._announcer.announce_shown(tenant_id, cause, before, object_id)
        return None if left is None or left.confirmed else left

    def uncertainties(self) -> Sequence[Uncertainty]:
        """Return the changed objects that need a refetch."""
        return [uncertainty for each in self._shelves.changed() if (uncertainty := uncertainty_of(each))]

    def due_refetch(self, view: ProvisionalView) -> Sequence[Uncertainty]:
        """Return the refetch that a provisional view is due for now, if its object has a row to write under."""
        due = self._views.due_refetch(view)
        return () if due is None else (due,)

    def unexplained_grace(self) -> Sequence[Uncertainty]:
        """Return the changed subscriptions whose grace no invoice explains; they are worth one refetch."""
        unexplained = [*self._verdicts.without_missed_payment(self._shelves.subscriptions.changed())]
        uncertain = self.uncertainties() if unexplained else ()
        return [each for each in unexplained if each not in uncertain]

    def changes(self) -> Changes:
        """Return everything that has to be written."""
        subscriptions, invoices = self._shelves.subscriptions.changed(), self._shelves.invoices.changed()
        records, views = self._shelves.records.changed(), self._views.shelf.changed()
        touched = {*(each.tenant_id for each in subscriptions), *(each.tenant_id for each in invoices)}
        touched.update(each.tenant_id for each in self.events)
        touched.update(views)
        touched.update(self._verdicts.concerned_by(records))
        return Changes(
            customers=self._shelves.customers.changed(),
            subscriptions=subscriptions,
            invoices=invoices,
            usage=self._usage.changed,
            records=records,
            read_by=dict.fromkeys(self._tenants.behind, self._tenants.generation),
            occasions=self._announcer.kept,
            events=self.events,
            access=self._verdicts.changes(touched),
            views=views,
            echoes=self._echoes,
        )

    def differences(self) -> Sequence[ObjectChange]:
        """Return the changes object by object and field by field, by object id."""
        changes = (changed_object(*change) for change in self._shelves.changes())
        return sorted((change for change in changes if change), key=lambda change: change.object_id)

    # --- one event ----------------------------------------------------------------------------------------------

    def _fold_unowned(self, event: ClaimedEvent) -> Outcome:
        """Fold an event that shows the catalog or a test clock, which have no tenant."""
        shown = [seen for seen in event.translation.snapshots if isinstance(seen, UnownedSnapshot)]
        if not shown:
            return Outcome(claim=event.claim, disposition=Disposition.IGNORED, reason="no_customer")
        effect = _strongest(self._folder.fold_record(None, seen, event).effect for seen in shown)
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
        effect = self._folder.fold_customer(deleted, event).effect if own is None else outcome.effect
        news = customer_announcement(None, deleted)
        if effect is Effect.CHANGED and news is not None:
            held = self._shelves.subscriptions.all()
            payees = {each.tenant_id for each in held if each.snapshot.customer_id == deleted.customer_id}
            payees.update(self._payees.get(deleted.customer_id, ()))
            for tenant_id in sorted(payees - {own}):
                self._announcer.announce(tenant_id, event, news)
        if own is not None:
            return outcome
        return Outcome(
            claim=event.claim,
            disposition=Disposition.APPLIED,
            effect=effect,
            customer_id=deleted.customer_id,
        )

    def _apply(self, tenant_id: TenantId, event: ClaimedEvent) -> Outcome:
        claim, translation = event.claim, event.translation
        folded = [self._folder.fold(tenant_id, snapshot, event) for snapshot in translation.snapshots]
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


def _is_deletion(snapshot: Snapshot) -> bool:
    return isinstance(snapshot, CustomerSnapshot) and snapshot.deleted


def _strongest(effects: Iterable[Effect]) -> Effect:
    """Pick the effect of an event: changed beats confirmed beats stale; nothing to fold confirms."""
    found = set(effects)
    if Effect.CHANGED in found:
        return Effect.CHANGED
    return Effect.STALE if found == {Effect.STALE} else Effect.CONFIRMED
