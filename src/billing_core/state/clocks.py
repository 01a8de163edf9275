"""Load test clocks, and the tenants with subscriptions on them.

A clock has no tenant whose lock covers it: like the catalog it is read and written under a lock of its own. That lock
also keeps a clock from moving while another unit of work gives it a tenant that was not there before.
"""

from collections.abc import Collection, Iterable, Sequence

from billing_core.model import ClockSnapshot, Snapshot, SubscriptionSnapshot, TenantId, TenantRecord, TenantSubscription
from billing_core.state.ports import BillingTransaction, StateReader


async def tenants_on_shown(transaction: BillingTransaction, snapshots: Iterable[Snapshot]) -> Collection[TenantId]:
    """Return the tenants with subscriptions on the test clocks that events show."""
    shown = {seen.clock_id for seen in snapshots if isinstance(seen, ClockSnapshot)}
    return await transaction.tenants_on(shown) if shown else ()


async def lock_clocks(
    transaction: BillingTransaction, snapshots: Sequence[Snapshot], locked: Collection[TenantId]
) -> bool:
    """Lock test clocks if events show one, or a subscription on one; the tenants are locked already.

    Returns False if another tenant got a subscription on one of the shown clocks meanwhile. Start over then.
    """
    if any(isinstance(seen, ClockSnapshot) or _clock_of(seen) is not None for seen in snapshots):
        await transaction.lock_catalog()
    return set(await tenants_on_shown(transaction, snapshots)) <= set(locked)


async def read_clocks(
    state: StateReader, subscriptions: Iterable[TenantSubscription], snapshots: Iterable[Snapshot] = ()
) -> Sequence[TenantRecord]:
    """Return the test clocks of subscriptions, of those that events show too, as far as events showed them."""
    named = {clock for each in subscriptions if (clock := each.snapshot.test_clock) is not None}
    named |= {clock for seen in snapshots if (clock := _clock_of(seen)) is not None}
    return await state.records(named) if named else ()


def _clock_of(seen: Snapshot) -> str | None:
    return seen.test_clock if isinstance(seen, SubscriptionSnapshot) else None
