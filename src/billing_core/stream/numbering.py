"""Numbering of a tenant's messages: ascending, without gaps."""

from collections.abc import Iterable, Mapping

from billing_core.events import BillingEvent
from billing_core.model import TenantId


def numbers_by_tenant(events: Iterable[BillingEvent]) -> Mapping[TenantId, range]:
    """Return the range of numbers that each tenant's messages take. Raises ValueError if a range has a gap."""
    firsts: dict[TenantId, int] = {}
    lasts: dict[TenantId, int] = {}
    for event in events:
        last = lasts.get(event.tenant_id)
        if last is None:
            firsts[event.tenant_id] = event.sequence
        elif event.sequence != last + 1:
            raise ValueError(f"message {event.sequence} of {event.tenant_id} follows number {last}")
        lasts[event.tenant_id] = event.sequence
    return {tenant_id: range(first, lasts[tenant_id] + 1) for tenant_id, first in firsts.items()}
