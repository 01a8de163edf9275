"""Folding: provider events into the state of tenants, in memory and without I/O.

`BillingService` loads a `Ledger` under locks, folds a batch of events into it and saves what changed. The order of
events in a batch changes which messages are made, never the state they end in.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

import attrs

from billing_core.errors import FoldingError, TenantConflictError, dead_reason
from billing_core.events import THIN, BillingEvent, Claim, Disposition, Effect, Outcome, Snapshot, Translation
from billing_core.model import (
    AccessPolicy,
    CatalogSnapshot,
    CustomerId,
    CustomerSnapshot,
    EventId,
    InvoiceId,
    InvoiceSnapshot,
    PriceId,
    RecordSnapshot,
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
    billed_usage,
    invoice_of,
    merge_metered_prices,
    payment_object_id,
)
from billing_core.payloads import (
    SCHEMA_VERSION,
    BillingEventPayload,
    access_section,
    dumps,
    invoice_section,
    subscription_section,
    usage_sections,
)
from billing_core.state.announcements import (
    LINKED,
    Announcement,
    customer_announcement,
    invoice_announcement,
    notice_announcement,
    rated_announcement,
    record_announcement,
    subscription_announcement,
    usage_announcement,
)
from billing_core.state.diff import ObjectChange, changed_object, object_id
from billing_core.state.ports import Changes
from billing_core.state.precedence import Evidence, ProviderAnswer, Statement, Work, resolve, uncertainty_of

_NO_USAGE: Final[Mapping[InvoiceId, Sequence[UsageRecord]]] = MappingProxyType({})
_NOBODY: Final[Mapping[str, TenantId]] = MappingProxyType({})


@attrs.frozen
class _FoldedSnapshot:
    """What one snapshot did to the ledger."""

    effect: Effect
    announcement: Announcement | None = None
    subscription: SubscriptionSnapshot | None = None
    invoice: InvoiceSnapshot | None = None
    usage: tuple[UsageRecord, ...] = ()


class Ledger:
    """The loaded state of the tenants a batch concerns, and everything folding changed of it."""

    def __init__(
        self,
        *,
        customers: Mapping[CustomerId, TenantCustomer],
        counters: Mapping[TenantId, int],
        subscriptions: Iterable[TenantSubscription],
        invoices: Iterable[SubscriptionInvoice],
        evidence: Evidence,
        policy: AccessPolicy,
        now: datetime,
        records: Iterable[TenantRecord] = (),
        owners: Mapping[str, TenantId] = _NOBODY,
        notified: Collection[tuple[TenantId, EventId]] = (),
        usage: Mapping[InvoiceId, Sequence[UsageRecord]] = _NO_USAGE,
        notify: bool = True,
    ) -> None:
        self._customers = dict(customers)
        self._counters = dict(counters)
        self._subscriptions: dict[SubscriptionId, TenantSubscription] = {}
        self._invoices = {invoice.snapshot.invoice_id: invoice for invoice in invoices}
        self._records = {record.snapshot.object_id: record for record in records}
        self._owners = dict(owners)
        self._notified = notified
        self._of_tenant: dict[TenantId, set[SubscriptionId]] = {}
        self._evidence = evidence
        self._policy = policy
        self._now = now
        self._stored_usage: dict[InvoiceId, Sequence[UsageRecord]] = dict(usage)
        """Of invoices that replayed events show: it is compared with what their lines say."""
        self._notify = notify
        self._changed_customers: set[CustomerId] = set()
        self._changed_subscriptions: set[SubscriptionId] = set()
        self._changed_invoices: set[InvoiceId] = set()
        self._changed_records: set[str] = set()
        self._usage: dict[InvoiceId, tuple[UsageRecord, ...]] = {}
        self.events: list[BillingEvent] = []
        for subscription in subscriptions:
            self._keep(subscription)
        self._loaded = self._everything()

    # --- the batch ----------------------------------------------------------------------------------------------

    def link_customers(self, batch: Iterable[Work]) -> Mapping[int, CustomerId]:
        """Give customers without a tenant the one that the first event names which contradicts nothing we know.

        Returns: the events whose word it was, by their dispatch ids, and the customers they linked.
        """
        founders: dict[int, CustomerId] = {}
        for work in batch:
            customer_id, hint = work.translation.customer_id, work.translation.tenant_hint
            if customer_id is None or hint is None or self._customers[customer_id].tenant_id is not None:
                continue
            if self._contradiction(hint, work.translation) is None:
                self._customers[customer_id] = attrs.evolve(self._customers[customer_id], tenant_id=hint)
                self._changed_customers.add(customer_id)
                founders[work.claim.dispatch_id] = customer_id
        return founders

    def fold(self, work: Work, *, linked_here: bool = False) -> Outcome:
        """Fold one event; what contradicts our links is buried and leaves no trace.

        Args:
            work: the event.
            linked_here: this event is the one its customer's link was made from.
        """
        translation = work.translation
        if translation.ignored is not None and work.claim.applied:
            # It was applied when it said something: the provider forgets, and settings differ. That stays on record.
            return Outcome(claim=work.claim, disposition=Disposition.APPLIED, effect=Effect.CONFIRMED)
        if translation.ignored == THIN:
            return Outcome(claim=work.claim, disposition=Disposition.PARKED, reason=THIN)
        if translation.ignored is not None:
            return Outcome(
                claim=work.claim,
                disposition=Disposition.IGNORED,
                reason=translation.ignored,
                error=translation.detail,
            )
        if translation.customer_id is None:
            return self._fold_without_customer(work)
        tenant_id = self._customers[translation.customer_id].tenant_id or translation.tenant_hint
        if tenant_id is None:
            return Outcome(
                claim=work.claim,
                disposition=Disposition.PARKED,
                reason="unmapped_customer",
                parked_on=translation.customer_id,
                customer_id=translation.customer_id,
            )
        return self._fold_for(tenant_id, work, linked_here=linked_here)

    def settle(self, tenant_id: TenantId, answer: ProviderAnswer) -> None:
        """Put what was found in place of what was doubted."""
        for snapshot in answer.translation.snapshots:
            folded = self._fold_snapshot(tenant_id, snapshot, answer)
            if folded.announcement is not None:
                self._announce(tenant_id, answer, folded.announcement, [folded])

    def uncertainties(self) -> Sequence[Uncertainty]:
        """What changed and may be wrong: the provider knows better."""
        return [
            *(
                uncertainty
                for id_ in sorted(self._changed_subscriptions)
                if (uncertainty := uncertainty_of(self._subscriptions[id_]))
            ),
            *(
                uncertainty
                for id_ in sorted(self._changed_invoices)
                if (uncertainty := uncertainty_of(self._invoices[id_]))
            ),
            *(
                uncertainty
                for id_ in sorted(self._changed_customers)
                if (uncertainty := uncertainty_of(self._customers[id_]))
            ),
            *(
                uncertainty
                for id_ in sorted(self._changed_records)
                if (uncertainty := uncertainty_of(self._records[id_]))
            ),
        ]

    def changes(self) -> Changes:
        """Everything that has to be written."""
        return Changes(
            customers=[self._customers[id_] for id_ in sorted(self._changed_customers)],
            subscriptions=[self._subscriptions[id_] for id_ in sorted(self._changed_subscriptions)],
            invoices=[self._invoices[id_] for id_ in sorted(self._changed_invoices)],
            usage=self._usage,
            records=[self._records[id_] for id_ in sorted(self._changed_records)],
            events=self.events,
        )

    def differences(self) -> Sequence[ObjectChange]:
        """What the changes come to, object by object and field by field."""
        now = self._everything()
        changed = [
            *self._changed_customers,
            *self._changed_subscriptions,
            *self._changed_invoices,
            *self._changed_records,
        ]
        return [change for id_ in sorted(changed) if (change := changed_object(self._loaded.get(id_), now[id_]))]

    def _everything(self) -> dict[str, Tracked]:
        """Every object of the ledger by its id, which is unique over all kinds."""
        held: list[Tracked] = [
            *self._customers.values(),
            *self._subscriptions.values(),
            *self._invoices.values(),
            *self._records.values(),
        ]
        return {object_id(one): one for one in held}

    # --- one event ----------------------------------------------------------------------------------------------

    def _fold_without_customer(self, work: Work) -> Outcome:
        """An event that names objects in place of their customer, or shows the catalog, which is nobody's."""
        about = work.translation.about
        if not about:
            return self._fold_catalog(work)
        owners = {id_: owner for id_ in about if (owner := self._owner(id_)) is not None}
        if not owners:
            return Outcome(
                claim=work.claim,
                disposition=Disposition.PARKED,
                reason="unmapped_object",
                parked_on=about[0],
                waits_for=about,
            )
        if len(set(owners.values())) > 1:
            return buried(work.claim, TenantConflictError(f"{', '.join(owners)} belong to different tenants"))
        return self._fold_for(next(iter(owners.values())), work)

    def _fold_catalog(self, work: Work) -> Outcome:
        shown = [seen for seen in work.translation.snapshots if isinstance(seen, CatalogSnapshot)]
        if not shown:
            return Outcome(claim=work.claim, disposition=Disposition.IGNORED, reason="no_customer")
        effect = _strongest(self._fold_record(None, seen, work).effect for seen in shown)
        return Outcome(claim=work.claim, disposition=Disposition.APPLIED, effect=effect)

    def _owner(self, id_: str) -> TenantId | None:
        """Whose object this is, as stored or as folded here; nobody's whose tenant is not locked."""
        if id_ in self._owners:
            return self._owners[id_]
        held = (
            self._subscriptions.get(SubscriptionId(id_))
            or self._invoices.get(InvoiceId(id_))
            or self._records.get(id_)
            or self._records.get(payment_object_id(id_))
        )
        return held.tenant_id if held is not None and held.tenant_id in self._counters else None

    def _fold_for(self, tenant_id: TenantId, work: Work, *, linked_here: bool = False) -> Outcome:
        contradiction = self._contradiction(tenant_id, work.translation)
        if contradiction is not None:
            owner = None if work.translation.customer_id is None else tenant_id
            return buried(work.claim, contradiction, customer_id=work.translation.customer_id, tenant_id=owner)
        return self._apply(tenant_id, work, linked_here=linked_here)

    def _contradiction(self, tenant_id: TenantId, translation: Translation) -> TenantConflictError | None:
        """Why this cannot be said of the tenant: metadata moves no link, and an object never changes hands."""
        hint = translation.tenant_hint
        if hint is not None and hint != tenant_id:
            return TenantConflictError(
                f"{translation.customer_id or translation.about[0]} is of {tenant_id!r}, the event names {hint!r}"
            )
        for snapshot in translation.snapshots:
            known = self._known(snapshot)
            if known is not None and known.tenant_id not in (None, tenant_id):
                return TenantConflictError(f"{snapshot.object_id} belongs to {known.tenant_id!r}, not to {tenant_id!r}")
        return None

    def _apply(self, tenant_id: TenantId, work: Work, *, linked_here: bool) -> Outcome:
        repeated = work.claim.applied or self._rests_on(work) or (tenant_id, work.event_id) in self._notified
        folded = [self._fold_snapshot(tenant_id, snapshot, work) for snapshot in work.translation.snapshots]
        effect = _strongest(result.effect for result in folded)
        announcements = [result.announcement for result in folded if result.announcement is not None]
        notice = work.translation.notice
        if not announcements and notice is not None and effect is not Effect.STALE and not repeated:
            announcements = [notice_announcement(notice)]
        if not announcements and linked_here:
            announcements = [LINKED]
        sequence = self._announce(tenant_id, work, announcements[0], folded) if announcements and self._notify else None
        return Outcome(
            claim=work.claim,
            disposition=Disposition.APPLIED,
            effect=Effect.CHANGED if announcements else effect,
            tenant_id=tenant_id,
            customer_id=work.translation.customer_id,
            sequence=sequence,
        )

    def _rests_on(self, work: Work) -> bool:
        """Whether this very event has been counted in before: a replay."""
        known = [self._known(snapshot) for snapshot in work.translation.snapshots]
        return any(held and held.provenance and work.event_id in held.provenance.event_ids for held in known)

    def _fold_snapshot(self, tenant_id: TenantId, snapshot: Snapshot, work: Statement) -> _FoldedSnapshot:
        match snapshot:
            case SubscriptionSnapshot():
                return self._fold_subscription(tenant_id, snapshot, work)
            case InvoiceSnapshot():
                return self._fold_invoice(tenant_id, snapshot, work)
            case CustomerSnapshot():
                return self._fold_customer(snapshot, work)
            case _:
                return self._fold_record(tenant_id, snapshot, work)

    def _fold_subscription(self, tenant_id: TenantId, seen: SubscriptionSnapshot, work: Statement) -> _FoldedSnapshot:
        known = self._subscriptions.get(seen.subscription_id)
        before = known.snapshot if known else None
        resolution = resolve(before, known.provenance if known else None, seen, work, self._evidence)
        metered_prices = known.metered_prices if known else {}
        after = TenantSubscription(
            tenant_id=tenant_id,
            snapshot=resolution.snapshot,
            provenance=resolution.provenance,
            metered_prices=merge_metered_prices(metered_prices, seen.metered_prices),
        )
        if after == known:
            return _FoldedSnapshot(resolution.effect)
        self._keep(after)
        self._changed_subscriptions.add(seen.subscription_id)
        usage = self._rate_invoices_again(after, metered_prices)
        announcement = subscription_announcement(before, after.snapshot) or (
            rated_announcement(after.snapshot) if usage else None
        )
        if announcement is None:
            return _FoldedSnapshot(resolution.effect)
        return _FoldedSnapshot(Effect.CHANGED, announcement, subscription=after.snapshot, usage=usage)

    def _fold_invoice(self, tenant_id: TenantId, seen: InvoiceSnapshot, work: Statement) -> _FoldedSnapshot:
        known = self._invoices.get(seen.invoice_id)
        before = known.snapshot if known else None
        resolution = resolve(before, known.provenance if known else None, seen, work, self._evidence)
        after = SubscriptionInvoice(
            tenant_id=tenant_id, snapshot=resolution.snapshot.completed_by(before), provenance=resolution.provenance
        )
        if after == known:
            return self._check_usage(after, work) or _FoldedSnapshot(resolution.effect)
        self._invoices[seen.invoice_id] = after
        self._changed_invoices.add(seen.invoice_id)
        announcement = invoice_announcement(before, after.snapshot)
        if announcement is None:
            return _FoldedSnapshot(resolution.effect)
        usage = self._billed_usage(after)
        if usage != (self._billed_usage(known) if known else ()):
            self._usage[seen.invoice_id] = usage
        return _FoldedSnapshot(Effect.CHANGED, announcement, invoice=after.snapshot, usage=usage)

    def _check_usage(self, invoice: SubscriptionInvoice, work: Statement) -> _FoldedSnapshot | None:
        """Put right the stored usage of an invoice that rests on a replayed event; None if nothing is wrong with it."""
        seen = invoice.snapshot
        if seen.invoice_id not in self._stored_usage or work.event_id not in invoice.provenance.event_ids:
            return None
        usage = self._billed_usage(invoice)
        if set(usage) == set(self._stored_usage[seen.invoice_id]):
            return None
        self._stored_usage[seen.invoice_id] = self._usage[seen.invoice_id] = usage
        return _FoldedSnapshot(Effect.CHANGED, usage_announcement(seen), invoice=seen, usage=usage)

    def _fold_customer(self, seen: CustomerSnapshot, work: Statement) -> _FoldedSnapshot:
        known = self._customers[seen.customer_id]
        resolution = resolve(known.snapshot, known.provenance, seen, work, self._evidence)
        after = attrs.evolve(known, snapshot=resolution.snapshot, provenance=resolution.provenance)
        if after == known:
            return _FoldedSnapshot(resolution.effect)
        self._customers[seen.customer_id] = after
        self._changed_customers.add(seen.customer_id)
        if after.snapshot == known.snapshot:
            return _FoldedSnapshot(resolution.effect)
        return _FoldedSnapshot(Effect.CHANGED, customer_announcement(known.snapshot, resolution.snapshot))

    def _fold_record(self, tenant_id: TenantId | None, seen: RecordSnapshot, work: Statement) -> _FoldedSnapshot:
        known = self._records.get(seen.object_id)
        before = known.snapshot if known else None
        resolution = resolve(before, known.provenance if known else None, seen, work, self._evidence)
        after = TenantRecord(
            tenant_id=None if isinstance(seen, CatalogSnapshot) else tenant_id,
            snapshot=resolution.snapshot,
            provenance=resolution.provenance,
        )
        if after == known:
            return _FoldedSnapshot(resolution.effect)
        self._records[seen.object_id] = after
        self._changed_records.add(seen.object_id)
        if after.snapshot == before:
            return _FoldedSnapshot(resolution.effect)
        return _FoldedSnapshot(
            Effect.CHANGED, record_announcement(before, after.snapshot), invoice=self._invoice_of(after)
        )

    # --- consequences -------------------------------------------------------------------------------------------

    def _announce(
        self, tenant_id: TenantId, work: Statement, announcement: Announcement, folded: Sequence[_FoldedSnapshot]
    ) -> int:
        """Number a fact and encode it for the tenant."""
        sequence = self._counters[tenant_id] + 1
        self._counters[tenant_id] = sequence
        snapshots = [self._subscriptions[id_].snapshot for id_ in self._of_tenant.get(tenant_id, ())]
        subscription = next((result.subscription for result in folded if result.subscription), None)
        invoice = next((result.invoice for result in folded if result.invoice), None)
        if subscription is None and invoice is None:
            subscription, invoice = self._subject(work.translation)
        subject = subscription or invoice
        payload = BillingEventPayload(
            schema_version=SCHEMA_VERSION,
            sequence=sequence,
            tenant_id=tenant_id,
            event_type=announcement.event_type.value,
            stripe_event_id=work.event_id,
            occurred_at=work.created_at,
            summary=announcement.summary,
            status=subject.status if subject else None,
            subscription=subscription_section(subscription) if subscription else None,
            invoice=invoice_section(invoice) if invoice else None,
            usage=usage_sections(record for result in folded for record in result.usage),
            access=access_section(self._policy.evaluate(snapshots, self._now)),
        )
        self.events.append(
            BillingEvent(
                tenant_id=tenant_id,
                sequence=sequence,
                event_type=payload.event_type,
                event_id=work.event_id,
                occurred_at=payload.occurred_at,
                payload=dumps(payload),
            )
        )
        return sequence

    def _subject(self, translation: Translation) -> tuple[SubscriptionSnapshot | None, InvoiceSnapshot | None]:
        """Our present view of what a notice is about."""
        for snapshot in translation.snapshots:
            known = self._known(snapshot)
            if isinstance(known, TenantSubscription):
                return known.snapshot, None
            if isinstance(known, SubscriptionInvoice):
                return None, known.snapshot
        return None, None

    def _rate_invoices_again(
        self, subscription: TenantSubscription, before: Mapping[PriceId, str]
    ) -> tuple[UsageRecord, ...]:
        """Newly known metered prices say which lines of earlier invoices were usage."""
        if subscription.metered_prices == before:
            return ()
        changed: list[UsageRecord] = []
        for invoice_id, invoice in self._invoices.items():
            if _is_of(invoice, subscription):
                usage = billed_usage(invoice, subscription.metered_prices)
                if usage != billed_usage(invoice, before):
                    self._usage[invoice_id] = usage
                    changed.extend(usage)
        return tuple(changed)

    def _billed_usage(self, invoice: SubscriptionInvoice) -> tuple[UsageRecord, ...]:
        id_ = invoice.snapshot.subscription_id
        subscription = None if id_ is None else self._subscriptions.get(id_)
        if subscription is None or not _is_of(invoice, subscription):
            return billed_usage(invoice, {})
        return billed_usage(invoice, subscription.metered_prices)

    def _invoice_of(self, record: TenantRecord) -> InvoiceSnapshot | None:
        """Our present view of the invoice that a record concerns."""
        invoice_id = invoice_of(record.snapshot, self._find_record)
        invoice = None if invoice_id is None else self._invoices.get(invoice_id)
        return None if invoice is None or invoice.tenant_id != record.tenant_id else invoice.snapshot

    def _find_record(self, object_id: str) -> RecordSnapshot | None:
        held = self._records.get(object_id)
        return None if held is None else held.snapshot

    def _keep(self, subscription: TenantSubscription) -> None:
        id_ = subscription.snapshot.subscription_id
        self._subscriptions[id_] = subscription
        self._of_tenant.setdefault(subscription.tenant_id, set()).add(id_)

    def _known(self, snapshot: Snapshot) -> Tracked | None:
        match snapshot:
            case SubscriptionSnapshot():
                return self._subscriptions.get(snapshot.subscription_id)
            case InvoiceSnapshot():
                return self._invoices.get(snapshot.invoice_id)
            case CustomerSnapshot():
                return self._customers.get(snapshot.customer_id)
            case _:
                return self._records.get(snapshot.object_id)


def buried(
    claim: Claim, error: FoldingError, *, customer_id: CustomerId | None = None, tenant_id: TenantId | None = None
) -> Outcome:
    """The outcome of an event that an operator has to look at.

    Args:
        claim: the event.
        error: what is wrong with it.
        customer_id: the customer it names.
        tenant_id: whose customer that is: nothing of the tenant changes, but its history shows the event.
    """
    return Outcome(
        claim=claim,
        disposition=Disposition.DEAD,
        reason=dead_reason(error),
        error=str(error),
        customer_id=customer_id,
        tenant_id=tenant_id,
    )


def _is_of(invoice: SubscriptionInvoice, subscription: TenantSubscription) -> bool:
    return (
        invoice.snapshot.subscription_id == subscription.snapshot.subscription_id
        and invoice.tenant_id == subscription.tenant_id
    )


def _strongest(effects: Iterable[Effect]) -> Effect:
    """Changed beats confirmed beats stale; nothing to fold confirms."""
    found = set(effects)
    if Effect.CHANGED in found:
        return Effect.CHANGED
    return Effect.STALE if found == {Effect.STALE} else Effect.CONFIRMED
