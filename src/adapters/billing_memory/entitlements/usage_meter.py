"""Measured usage, in process."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime

from billing_core.model import Period, Quantity, TenantId


class MemoryUsageMeter:
    """A `UsageMeter` of some features, for tests and examples."""

    def __init__(self, features: Collection[str]) -> None:
        """Measure these features; of others billed usage counts."""
        self._features = frozenset(features)
        self._recorded: defaultdict[tuple[TenantId, str], list[tuple[datetime, Quantity]]] = defaultdict(list)

    def record(self, tenant_id: TenantId, feature: str, quantity: Quantity, at: datetime) -> None:
        """Record that a tenant used so much of a feature at an instant."""
        self._recorded[tenant_id, feature].append((at, quantity))

    async def used(self, tenant_id: TenantId, windows: Mapping[str, Period]) -> Mapping[str, Quantity]:
        """Return how much of each measured feature was used within its window."""
        return {
            feature: sum(quantity for at, quantity in self._recorded.get((tenant_id, feature), ()) if at in window)
            for feature, window in windows.items()
            if feature in self._features
        }
