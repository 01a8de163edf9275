"""Stream quotas inside one process."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from billing_core.model import TenantId
from billing_core.state.ports import Clock
from billing_core.stream_access.ports import Leases, QuotaPolicy, QuotaRefusal

_MINUTE = timedelta(minutes=1)


class MemoryStreamQuota:
    """A `StreamQuota` for one server: without Redis, each server counts its own streams."""

    def __init__(self, clock: Clock, policy: QuotaPolicy) -> None:
        self._now: Callable[[], datetime] = clock.now
        self._policy = policy
        self._used: dict[TenantId, datetime] = {}
        """The instant up to which a tenant's allowance is used; it may be a minute ahead."""
        self._streams: dict[TenantId, dict[str, datetime]] = {}

    async def enter(self, tenant_id: TenantId, lease: str) -> QuotaRefusal | None:
        """Count one more stream, or refuse it."""
        now, rate = self._now(), self._policy.rate_per_minute
        self._used = {tenant: until for tenant, until in self._used.items() if until > now}
        used = self._used.get(tenant_id, now) + (_MINUTE / rate if rate else timedelta())
        if used - now > _MINUTE:
            return QuotaRefusal(limit="rate", retry_after=used - now - _MINUTE)
        streams = {each: until for each, until in self._streams.get(tenant_id, {}).items() if until > now}
        if self._policy.concurrent and len(streams) >= self._policy.concurrent:
            return QuotaRefusal(limit="concurrent", retry_after=min(streams.values()) - now)
        self._streams[tenant_id] = {**streams, lease: now + self._policy.lease}
        if rate:
            self._used[tenant_id] = used
        return None

    async def keep(self, leases: Leases) -> None:
        """Confirm that streams are still open."""
        until = self._now() + self._policy.lease
        for tenant_id, names in leases.items():
            self._streams.setdefault(tenant_id, {}).update(dict.fromkeys(names, until))

    async def beat(self, tenants: Collection[TenantId]) -> None:
        """Show nothing: the count dies with its only server."""

    async def leave(self, leases: Leases) -> None:
        """Stop counting streams."""
        for tenant_id, names in leases.items():
            left = {each: until for each, until in self._streams.pop(tenant_id, {}).items() if each not in names}
            if left:
                self._streams[tenant_id] = left
