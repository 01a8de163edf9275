"""Tickets, quotas and revocations inside one process."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from operator import itemgetter

import attrs

from billing_core.model import TenantId
from billing_core.state.ports import Clock
from billing_core.stream_access.ports import Leases, Principal, QuotaPolicy, QuotaRefusal, Revocation

_MINUTE = timedelta(minutes=1)


class MemoryStreamTickets:
    """A `StreamTickets`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[bytes, tuple[datetime, Principal]] = {}

    async def put(self, digest: bytes, principal: Principal, *, ttl: timedelta) -> None:
        """See StreamTickets."""
        now = self._clock.now()
        self._kept = {each: kept for each, kept in self._kept.items() if kept[0] > now}
        self._kept[digest] = (now + ttl, principal)

    async def take(self, digest: bytes) -> Principal | None:
        """See StreamTickets."""
        until, principal = self._kept.pop(digest, (None, None))
        return None if until is None or until <= self._clock.now() else principal


class MemoryStreamQuota:
    """A `StreamQuota` of one server: where there is no Redis, each counts its own streams."""

    def __init__(self, clock: Clock, policy: QuotaPolicy) -> None:
        self._now: Callable[[], datetime] = clock.now
        self._policy = policy
        self._used: dict[TenantId, datetime] = {}
        """The instant up to which a tenant's allowance is used; a minute may be used ahead of time."""
        self._streams: dict[TenantId, dict[str, datetime]] = {}

    async def enter(self, tenant_id: TenantId, lease: str) -> QuotaRefusal | None:
        """See StreamQuota."""
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
        """See StreamQuota."""
        until = self._now() + self._policy.lease
        for tenant_id, names in leases.items():
            self._streams.setdefault(tenant_id, {}).update(dict.fromkeys(names, until))

    async def leave(self, leases: Leases) -> None:
        """See StreamQuota."""
        for tenant_id, names in leases.items():
            left = {each: until for each, until in self._streams.pop(tenant_id, {}).items() if each not in names}
            if left:
                self._streams[tenant_id] = left


class MemoryRevocations:
    """A `Revocations` of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], Revocation] = {}

    async def revoke(self, revocation: Revocation) -> None:
        """See Revocations."""
        key = (revocation.subject, revocation.name)
        known = self._known.get(key, revocation)
        self._known[key] = attrs.evolve(
            revocation,
            revoked_at=max(known.revoked_at, revocation.revoked_at),
            kept_until=max(known.kept_until, revocation.kept_until),
        )

    async def current(self) -> Sequence[Revocation]:
        """See Revocations."""
        now = self._clock.now()
        return [each for _, each in sorted(self._known.items(), key=itemgetter(0)) if each.kept_until > now]
