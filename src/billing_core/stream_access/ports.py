"""Ports of stream access: tickets, quotas and revocations. The docstrings are the contracts."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol, runtime_checkable

import attrs

from billing_core.model import TenantId
from billing_core.model.time import aware


@attrs.frozen(kw_only=True)
class Principal:
    """The authenticated caller, as a valid token describes it."""

    tenant_id: TenantId
    role: str
    subject: str | None = attrs.field(default=None, eq=False)
    """The person or program that the token was issued to, for the record; None if it names none, or for a ticket."""
    expires_at: datetime = attrs.field(validator=aware)
    """When the token expires; an open stream ends then."""
    token_id: str | None = None
    """The token's id, by which it can be revoked; None if the token has none."""
    issued_at: datetime | None = attrs.field(default=None, validator=attrs.validators.optional(aware))


@runtime_checkable
class StreamTickets(Protocol):
    """Single-use tickets that replace a token where it would have to stand in a URL.

    Only digests are stored, so a reader of the store cannot use a ticket. The store's clock decides about expiry.
    """

    async def put(self, digest: bytes, principal: Principal, *, ttl: timedelta) -> None:
        """Store a ticket that is valid for `ttl`. Raises StoreUnavailableError."""
        ...

    async def take(self, digest: bytes) -> Principal | None:
        """Use up a ticket and return its principal; None if it is unknown, expired or already used.

        Of concurrent calls with one ticket exactly one succeeds. Raises StoreUnavailableError.
        """
        ...


@attrs.frozen(kw_only=True)
class QuotaPolicy:
    """Limits per tenant, counted over all servers. 0 disables a limit."""

    rate_per_minute: int
    """Streams opened: as many at once as a burst, then evenly spread over the minute."""
    concurrent: int
    """Streams open at the same time."""
    lease: timedelta
    """How long a stream counts as open after its server last confirmed it."""
    life: timedelta = timedelta(seconds=5)
    """How long a server counts as alive after it last showed it; streams of one that does not are no longer counted."""


@attrs.frozen(kw_only=True)
class QuotaRefusal:
    """The limit that was reached, and when to try again."""

    limit: Literal["rate", "concurrent"]
    retry_after: timedelta


Leases = Mapping[TenantId, Collection[str]]
"""Names of open streams by tenant; each name is unique over all servers."""


@runtime_checkable
class StreamQuota(Protocol):
    """Counts each tenant's streams over all servers. Every method raises EventBusUnavailableError."""

    async def enter(self, tenant_id: TenantId, lease: str) -> QuotaRefusal | None:
        """Count one more stream and return None, or return the refusal. A refused stream counts towards no limit."""
        ...

    async def keep(self, leases: Leases) -> None:
        """Confirm that streams are still open. Streams whose count was lost are counted again."""
        ...

    async def beat(self, tenants: Collection[TenantId]) -> None:
        """Show that this server is alive, to the tenants whose streams it serves. `enter` shows it, too.

        A server that does not for `life` of the policy loses its places to streams that ask for them.
        """
        ...

    async def leave(self, leases: Leases) -> None:
        """Stop counting streams. Those of a server that died stop counting by themselves."""
        ...


@attrs.frozen(kw_only=True)
class Revocation:
    """The withdrawal of one token, or of all tokens that were issued to a tenant until now."""

    subject: Literal["token", "tenant"]
    name: str
    """The token's id, or the tenant's id: then every token issued up to `revoked_at` is revoked."""
    revoked_at: datetime = attrs.field(validator=aware)
    kept_until: datetime = attrs.field(validator=aware)
    """When the last token it can concern has expired, and the revocation is deleted."""


@runtime_checkable
class Revocations(Protocol):
    """The stored revocations. Every method raises StoreUnavailableError."""

    async def revoke(self, revocation: Revocation) -> None:
        """Store a revocation. A second one of the same subject keeps the later of each instant."""
        ...

    async def current(self) -> Sequence[Revocation]:
        """Return the revocations that still have to be kept, ordered by subject and name."""
        ...
