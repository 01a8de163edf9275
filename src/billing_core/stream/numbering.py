"""Numbering of a tenant's messages: ascending, without gaps."""

from collections.abc import Iterable, Mapping

from billing_core.events import BillingEvent
from billing_core.model import TenantId


def numbers_by_tenant(events: Iterable[BillingEvent]) -> Mapping[TenantId, range]:
    """Return the range of numbers that each tenant's messages take. Raises ValueError if a range has a gap."""
    runs: dict[TenantId, range] = {}
    for event in events:
        run = runs.get(event.tenant_id, range(event.sequence, event.sequence))
        if event.sequence != run.stop:
            raise ValueError(f"message {event.sequence} of {event.tenant_id} follows number {run.stop - 1}")
        runs[event.tenant_id] = range(run.start, run.stop + 1)
    return runs
