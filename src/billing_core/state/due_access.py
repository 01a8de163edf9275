"""Changes of access without an event: an end was reached, the policy is another one, or an operator grants it."""

from collections.abc import Sequence

import attrs

from billing_core.events import BillingEvent, MessageSource, SourceKind
from billing_core.model import (
    AccessGrant,
    AccessPolicy,
    AccessState,
    AnnouncedAccess,
    InvoiceSnapshot,
    RulesInForce,
    TenantId,
    view_invoices,
    view_subscriptions,
)
from billing_core.state.announcements import access_announcement, grant_announcement
from billing_core.state.clocks import read_clocks
from billing_core.state.messages import billing_event
from billing_core.state.ports import BillingTransaction, Changes, LockedTenants
from billing_core.state.rules import require_current
from billing_core.state.shelf import Shelf
from billing_core.state.verdicts import Verdicts


@attrs.frozen(kw_only=True)
class DueAccess:
    """Tenants that were due and are locked, and what has to be written of them."""

    count: int = 0
    changes: Changes = attrs.field(factory=Changes)
    """With a message to each of those whose access is another one than it knew."""
    states: Sequence[AccessState] = ()
    """The state that each of these messages tells."""


async def decide_due(transaction: BillingTransaction, rules: RulesInForce, *, limit: int) -> DueAccess:
    """Lock tenants that are due, and decide on their access by what is stored and the store's time.

    Raises: RulesMovedError.
    """
    policy = rules.policy
    tenants = await transaction.lock_due(policy=policy.fingerprint, limit=limit)
    require_current(rules, tenants)
    if not tenants.counters:
        return DueAccess()
    verdicts = await _load(transaction, policy, tenants)
    wrong = [
        (tenant_id, known)
        for tenant_id, known in sorted(tenants.announced.items())
        if known.verdict != verdicts.of(tenant_id)
    ]
    events = [_message(tenant_id, known, tenants, verdicts, rules) for tenant_id, known in wrong]
    return DueAccess(
        count=len(tenants.counters),
        changes=Changes(events=events, access=verdicts.changes(tenants.counters)),
        states=[verdicts.of(tenant_id).state for tenant_id, _ in wrong],
    )


async def change_grant(
    transaction: BillingTransaction, policy: AccessPolicy, grant: AccessGrant, tenants: LockedTenants
) -> Changes:
    """Return what a new or revoked grant of a locked tenant changes."""
    others = [each for each in tenants.grants.get(grant.tenant_id, ()) if each.grant_id != grant.grant_id]
    tenants = attrs.evolve(tenants, grants={grant.tenant_id: [*others, grant]})
    verdicts = await _load(transaction, policy, tenants)
    message = billing_event(
        grant_announcement(grant),
        MessageSource(kind=SourceKind.GRANT, id=grant.grant_id),
        occurred_at=grant.revoked_at or grant.granted_at,
        tenant_id=grant.tenant_id,
        sequence=tenants.counters[grant.tenant_id] + 1,
        subscription=None,
        invoice=None,
        usage=(),
        access=verdicts.tell(grant.tenant_id),
    )
    return Changes(grants=[grant], events=[message], access=verdicts.changes([grant.tenant_id]))


async def _load(transaction: BillingTransaction, policy: AccessPolicy, tenants: LockedTenants) -> Verdicts:
    views = [view for views in tenants.views.values() for view in views]
    rows = await transaction.deciding_subscriptions(
        tenants=tenants.counters, ids={view.object_id for view in views}, each_of=policy.grace_statuses
    )
    subscriptions = view_subscriptions(views, rows)
    in_grace = {each.snapshot.subscription_id for each in subscriptions if policy.counts_grace(each.snapshot)}
    viewed = {view.snapshot.invoice_id for view in views if isinstance(view.snapshot, InvoiceSnapshot)}
    invoices = view_invoices(views, await transaction.invoices(ids=viewed, subscriptions=in_grace))
    disputes = () if policy.open_dispute is None else await transaction.disputes(tenants.counters)
    records = [*disputes, *await read_clocks(transaction, subscriptions)]
    return Verdicts(Shelf(subscriptions), Shelf(invoices), Shelf(records), policy=policy, tenants=tenants)


def _message(
    tenant_id: TenantId, known: AnnouncedAccess, tenants: LockedTenants, verdicts: Verdicts, rules: RulesInForce
) -> BillingEvent:
    verdict = verdicts.tell(tenant_id)
    source, occurred_at = MessageSource(kind=SourceKind.CLOCK, id=None), tenants.now
    if known.due_at is not None and known.due_at <= tenants.now:
        occurred_at = known.due_at
    elif known.policy not in (None, rules.policy.fingerprint):
        source = MessageSource(kind=SourceKind.CATALOG, id=str(rules.generation))
    return billing_event(
        access_announcement(verdict),
        source,
        occurred_at=occurred_at,
        tenant_id=tenant_id,
        sequence=tenants.counters[tenant_id] + 1,
        subscription=None,
        invoice=None,
        usage=(),
        access=verdict,
    )
