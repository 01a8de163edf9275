"""Port of metered usage. The docstring is the contract."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from billing_core.model import Period, Quantity, TenantId


@runtime_checkable
class UsageMeter(Protocol):
    """Measured usage of metered features, where it is known sooner than the provider bills it."""

    async def used(self, tenant_id: TenantId, windows: Mapping[str, Period]) -> Mapping[str, Quantity]:
        """Return how much of each of these features a tenant used within its window, `[start, end)`.

        A feature that is not measured here is left out, and billed usage counts; one that was not used yet is 0.
        Reading changes nothing. Raises StoreUnavailableError.
        """
        ...
