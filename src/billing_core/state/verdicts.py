"""Access verdicts of the tenants of a batch, by the state as it is folded so far."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

from billing_core.model import (
    AccessFacts,
    AccessPolicy,
    AccessVerdict,
    AnnouncedAccess,
    ClockSnapshot,
    DisputeSnapshot,
    InvoiceId,
    SubscriptionId,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantId,
    TenantRecord,
    TenantSubscription,
    Uncertainty,
    any_open,
    clock_times,
)
from billing_core.state.ports import LockedTenants
from billing_core.state.shelf import Objects, T

_NO_CLOCKS: Final[Mapping[str, datetime]] = MappingProxyType({})


class Verdicts:
    """Decides on the access of locked tenants at the instant of their locks, and knows what they were told of it."""

    def __init__(
        self,
        subscriptions: Objects[TenantSubscription],
        invoices: Objects[SubscriptionInvoice],
        records: Objects[TenantRecord],
        *,
        policy: AccessPolicy,
        tenants: LockedTenants,
    ) -> None:
        """Take over objects as tenants see them: access follows what is shown."""
        self._subscriptions = subscriptions
        self._invoices = invoices
        self._records = records
        self._policy = policy
        self._now = tenants.now
        self._announced = tenants.announced
        self._grants = tenants.grants
        self._latest: dict[TenantId, AccessVerdict] = {}
        self._decided: dict[TenantId, AccessVerdict] = {}
        """Until an object of the tenant changes."""
        self._subscriptions_of: defaultdict[TenantId, set[SubscriptionId]] = defaultdict(set)
        self._invoices_of: defaultdict[TenantId, set[InvoiceId]] = defaultdict(set)
        self._disputes_of: defaultdict[TenantId, set[str]] = defaultdict(set)
        for subscription in subscriptions.all():
            self.include(subscription)
        for invoice in invoices.all():
            self.include(invoice)
        for record in records.all():
            self.include(record)

    def include(self, held: TenantSubscription | SubscriptionInvoice | TenantRecord) -> None:
        """Let an object count for its tenant, as it stands now. Of records only disputes and test clocks do."""
        if held.tenant_id is not None:
            self._decided.pop(held.tenant_id, None)
        if isinstance(held, TenantSubscription):
            self._subscriptions_of[held.tenant_id].add(held.snapshot.subscription_id)
        elif isinstance(held, SubscriptionInvoice):
            self._invoices_of[held.tenant_id].add(held.snapshot.invoice_id)
        elif isinstance(held.snapshot, ClockSnapshot):
            self._decided.clear()  # it has no tenant of its own
        elif isinstance(held.snapshot, DisputeSnapshot) and held.tenant_id is not None:
            self._disputes_of[held.tenant_id].add(held.object_id)

    def of(self, tenant_id: TenantId) -> AccessVerdict:
        """Return a tenant's access as its state stands now."""
        verdict = self._decided.get(tenant_id)
        if verdict is None:
            verdict = self._decided[tenant_id] = self._decide(tenant_id)
        return verdict

    def _decide(self, tenant_id: TenantId) -> AccessVerdict:
        subscriptions = _found(self._subscriptions, self._subscriptions_of[tenant_id])
        invoices: Sequence[SubscriptionInvoice] = ()
        if any(map(self._policy.counts_grace, [each.snapshot for each in subscriptions])):
            invoices = _found(self._invoices, self._invoices_of[tenant_id])
        disputes = self._disputes_of.get(tenant_id)
        basis = AccessFacts(
            subscriptions=subscriptions,
            invoices=invoices,
            disputed=disputes is not None and any_open(_found(self._records, disputes)),
            grants=self._grants.get(tenant_id, ()),
            clocks=self._clocks(subscriptions),
        )
        return self._policy.evaluate(basis, self._now)

    def _clocks(self, subscriptions: Iterable[TenantSubscription]) -> Mapping[str, datetime]:
        named = {clock for each in subscriptions if (clock := each.snapshot.test_clock) is not None}
        return clock_times(_found(self._records, named)) if named else _NO_CLOCKS

    def concerned_by(self, records: Iterable[TenantRecord]) -> Iterator[TenantId]:
        """Yield the tenants on whose access these records decide: that of a dispute, all who live by a test clock."""
        for each in records:
            if isinstance(each.snapshot, DisputeSnapshot) and each.tenant_id is not None:
                yield each.tenant_id
            elif isinstance(each.snapshot, ClockSnapshot):
                held = self._subscriptions.all()
                yield from (on.tenant_id for on in held if self._lives_by(on.snapshot, each.object_id))

    def _lives_by(self, seen: SubscriptionSnapshot, clock_id: str) -> bool:
        """Tell whether a test clock decides on what a subscription gives: on an ended one only in grace."""
        return seen.test_clock == clock_id and (not seen.ended or self._policy.counts_grace(seen))

    def without_missed_payment(self, changed: Iterable[TenantSubscription]) -> Iterable[Uncertainty]:
        """Yield those of these subscriptions that are in grace although no invoice of them says since when.

        Their invoice was not delivered yet, or their status has changed again: the provider is asked.
        """
        for each in changed:
            seen = each.snapshot
            if not self._policy.counts_grace(seen):
                continue
            invoices = _found(self._invoices, self._invoices_of[each.tenant_id])
            if AccessFacts(invoices=invoices, clocks=self._clocks([each])).missed_at(seen) is None:
                yield Uncertainty(kind=seen.kind, object_id=seen.subscription_id, basis=each.provenance)

    def tell(self, tenant_id: TenantId) -> AccessVerdict:
        """Return a tenant's access for a message, which tells the tenant."""
        verdict = self._latest[tenant_id] = self.of(tenant_id)
        return verdict

    def changes(self, tenants: Collection[TenantId]) -> Mapping[TenantId, AnnouncedAccess]:
        """Return the access that these tenants know of, where that or its end is no longer as stored.

        An end by a test clock is never due: the clock's events say when it is reached.
        A verdict that no message tells is due at once. A tenant that was never told of any has nothing to compare.
        """
        changed = {}
        for tenant_id in sorted(tenants):
            before, verdict = self._announced.get(tenant_id), self.of(tenant_id)
            known = self._latest.get(tenant_id) or (verdict if before is None else before.verdict)
            due_at = verdict.until if verdict.test_clock is None else None
            if known != verdict:
                since = None if before is None else before.due_at
                due_at = self._now if since is None else min(since, self._now)
            after = AnnouncedAccess(verdict=known, due_at=due_at, policy=self._policy.fingerprint)
            if after != before:
                changed[tenant_id] = after
        return changed


def _found(shelf: Objects[T], ids: Iterable[str]) -> Sequence[T]:
    return [held for id_ in ids if (held := shelf.get(id_)) is not None]
