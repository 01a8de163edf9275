"""Knows what was revoked without asking the store for every request."""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime, timedelta

from billing_core.periodic import Periodic
from billing_core.stream_access.ports import Principal, Revocation, Revocations


class RevocationList(Periodic[Sequence[Revocation]]):
    """The current revocations, read every so often. While the store is away the last ones hold."""

    def __init__(self, *, revocations: Revocations, every: timedelta) -> None:
        super().__init__(every=every, observe=self._take)
        self._revocations = revocations
        self._tokens: Set[str] = frozenset()
        self._tenants: Mapping[str, datetime] = {}

    async def look(self) -> Sequence[Revocation]:
        """Read them."""
        return await self._revocations.current()

    async def load(self) -> None:
        """Know them from now on. Raises StoreUnavailableError."""
        self._take(await self.look())

    def covers(self, principal: Principal) -> bool:
        """Whether a proof was revoked. One that does not say when it was issued counts as older than any revocation."""
        if principal.token_id is not None and principal.token_id in self._tokens:
            return True
        revoked_at = self._tenants.get(principal.tenant_id)
        return revoked_at is not None and (principal.issued_at is None or principal.issued_at <= revoked_at)

    def _take(self, current: Sequence[Revocation]) -> None:
        self._tokens = {each.name for each in current if each.subject == "token"}
        self._tenants = {each.name: each.revoked_at for each in current if each.subject == "tenant"}
