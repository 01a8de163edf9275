"""Fold one snapshot into the state of its tenant: resolve, compare, keep, and say what is news."""

import attrs

from billing_core.events import Effect
from billing_core.model import (
    CustomerSnapshot,
    InvoiceSnapshot,
    PaymentMethodSnapshot,
    PlanCatalog,
    RecordSnapshot,
    ScheduleSnapshot,
    Snapshot,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantId,
    TenantRecord,
    TenantSubscription,
    UnownedSnapshot,
    merge_metered_prices,
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
from billing_core.state.announcing import Folded
from billing_core.state.billed_usage import BilledUsage
from billing_core.state.copies import CopiedSnapshot, Copies
from billing_core.state.ownership import Ownership
from billing_core.state.precedence import Evidence, resolve
from billing_core.state.reading import Statement
from billing_core.state.renewals import has_new_items
from billing_core.state.shelf import Shelves
from billing_core.state.standing_views import StandingViews
from billing_core.state.verdicts import Verdicts
from billing_core.state.visibility import Visibility


class SnapshotFolder:
    """Folds the snapshots of statements into the objects of a ledger."""

    def __init__(
        self,
        shelves: Shelves,
        *,
        views: StandingViews,
        visibility: Visibility,
        copies: Copies,
        ownership: Ownership,
        verdicts: Verdicts,
        usage: BilledUsage,
        evidence: Evidence,
        catalog: PlanCatalog,
    ) -> None:
        self._subscriptions = shelves.subscriptions
        self._invoices = shelves.invoices
        self._customers = shelves.customers
        self._records = shelves.records
        self._views = views
        self._visibility = visibility
        self._copies = copies
        self._ownership = ownership
        self._verdicts = verdicts
        self._usage = usage
        self._evidence = evidence
        self._catalog = catalog

    def fold(self, tenant_id: TenantId, seen: Snapshot, statement: Statement) -> Folded:
        """Fold a snapshot of a locked tenant's object.

        The state of an object that is out of scope is kept, so that it is right whichever event came first; there is
        no news of it but that a subscription left.
        """
        if isinstance(seen, SubscriptionSnapshot):
            return self._fold_subscription(tenant_id, seen, statement)
        folded = self._fold_other(tenant_id, seen, statement)
        return Folded(folded.effect) if self._visibility.is_hidden(seen.object_id) else folded

    def _fold_other(
        self, tenant_id: TenantId, seen: InvoiceSnapshot | CustomerSnapshot | RecordSnapshot, statement: Statement
    ) -> Folded:
        match seen:
            case InvoiceSnapshot():
                return self._fold_invoice(tenant_id, seen, statement)
            case CustomerSnapshot():
                return self.fold_customer(seen, statement)
            case _:
                return self.fold_record(tenant_id, seen, statement)

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
        if not self._views.end(after, seen, statement) and not kept:
            return Folded(resolution.effect)
        self._verdicts.include(after)
        new_items = has_new_items(before, after.snapshot)
        usage = self._usage.rate_again(after, rated_by)
        now = self._visibility.subscription(seen.subscription_id) or after.snapshot
        if now.out_of_scope:
            left = shown is not None and not shown.out_of_scope and not shown.ended
            return Folded(Effect.CHANGED, departure_announcement(shown) if shown and left else None)
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
        if not self._views.end(after, seen, statement) and not kept:
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

    def fold_customer(self, seen: CustomerSnapshot, statement: Statement) -> Folded:
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

    def fold_record(self, tenant_id: TenantId | None, seen: RecordSnapshot, statement: Statement) -> Folded:
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
            self._views.end(after, after.snapshot, statement)
            now = self._visibility.subscription(held.object_id) or after.snapshot
            announcement = None if shown.out_of_scope else subscription_announcement(shown, now)
            if announcement is not None:
                news.append(Folded(Effect.CHANGED, announcement, subscription=now))
        return tuple(news)

    def _correct_usage(self, invoice: SubscriptionInvoice, statement: Statement) -> Folded | None:
        """Correct the stored usage of an invoice that rests on a replayed event; None if it is right."""
        if statement.event_id not in invoice.provenance.event_ids:
            return None
        usage = self._usage.correct(invoice)
        if usage is None:
            return None
        seen = self._visibility.invoice(invoice.object_id) or invoice.snapshot
        return Folded(Effect.CHANGED, usage_announcement(seen), invoice=seen, usage=usage)


def _as_shown(known: TenantSubscription | None) -> TenantSubscription | None:
    """Return a subscription as its own events show it: without what was copied from other objects."""
    if known is None or not (known.snapshot.planned or known.snapshot.payment_method):
        return known
    return attrs.evolve(known, snapshot=attrs.evolve(known.snapshot, planned=(), payment_method=None))
