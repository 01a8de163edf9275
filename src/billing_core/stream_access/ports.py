"""Who may open a stream, and how many of them: what stands between a request and a tenant's messages."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol, runtime_checkable

import attrs

from billing_core.model import TenantId
from billing_core.model.time import aware


@attrs.frozen(kw_only=True)
class Principal:
    """Who asks, as a valid proof says it."""

    tenant_id: TenantId
    role: str
    expires_at: datetime = attrs.field(validator=aware)
    """When the proof stops being valid; an open stream ends then."""
    token_id: str | None = None
    """The name of the token, by which it can be revoked."""
    issued_at: datetime | None = attrs.field(default=None, validator=attrs.validators.optional(aware))


@runtime_checkable
class StreamTickets(Protocol):
    """Tickets that let somebody in once, in place of a token that must not stand in an address.

    Only digests come here: whoever reads the store cannot use what is in it. Time is the store's own.
    """

    async def put(self, digest: bytes, principal: Principal, *, ttl: timedelta) -> None:
        """Keep a ticket for whoever brings it within `ttl`. Raises StoreUnavailableError."""
        ...

    async def take(self, digest: bytes) -> Principal | None:
        """Whom a ticket lets in; None for one that is unknown, too old or was taken before.

        Of many that bring the same ticket at once one gets in. Raises StoreUnavailableError.
        """
        ...


@attrs.frozen(kw_only=True)
class QuotaPolicy:
    """What each tenant may have, counted over all servers. 0 switches a limit off."""

    rate_per_minute: int
    """Streams opened; so many at once, and then evenly spread."""
    concurrent: int
    """Streams open at a time."""
    lease: timedelta
    """How long a stream counts as open unless its server says that it still is."""


@attrs.frozen(kw_only=True)
class QuotaRefusal:
    """Which limit was reached, and when to try again."""

    limit: Literal["rate", "concurrent"]
    retry_after: timedelta


Leases = Mapping[TenantId, Collection[str]]
"""Names of open streams, unique over all servers, by tenant."""


@runtime_checkable
class StreamQuota(Protocol):
    """Counts each tenant's streams over all servers. Every method raises EventBusUnavailableError."""

    async def enter(self, tenant_id: TenantId, lease: str) -> QuotaRefusal | None:
        """Take a place for one stream; what is refused counts for nothing."""
        ...

    async def keep(self, leases: Leases) -> None:
        """Say that streams are still open: again, where the count was lost."""
        ...

    async def leave(self, leases: Leases) -> None:
        """Free places. Streams of a server that died free theirs when their leases run out."""
        ...


@attrs.frozen(kw_only=True)
class Revocation:
    """Proofs that are not to be taken any more although they have not expired."""

    subject: Literal["token", "tenant"]
    """What `name` names: one token by its id, or a tenant, of whom everything issued so far is meant."""
    name: str
    revoked_at: datetime = attrs.field(validator=aware)
    kept_until: datetime = attrs.field(validator=aware)
    """When the last proof that it can concern has expired, and it is forgotten."""


@runtime_checkable
class Revocations(Protocol):
    """What was revoked. Every method raises StoreUnavailableError."""

    async def revoke(self, revocation: Revocation) -> None:
        """Remember one; of two about the same subject the later instants hold."""
        ...

    async def current(self) -> Sequence[Revocation]:
        """Those that are to be kept still, by subject and name."""
        ...
