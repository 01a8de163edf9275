"""The revocations as one process knows them, without a query per request."""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime, timedelta

from billing_core.periodic import Periodic
from billing_core.stream_access.ports import Principal, Revocation, Revocations


class RevocationList(Periodic[Sequence[Revocation]]):
    """The current revocations, reloaded at an interval. The last known ones apply while the store is unavailable."""

    def __init__(self, *, revocations: Revocations, every: timedelta) -> None:
        super().__init__(every=every, observe=self._replace)
        self._revocations = revocations
        self._tokens: Set[str] = frozenset()
        self._tenants: Mapping[str, datetime] = {}

    async def run_once(self) -> Sequence[Revocation]:
        """Read the current revocations."""
        return await self._revocations.current()

    async def load(self) -> None:
        """Load the revocations now; call it before the first request. Raises StoreUnavailableError."""
        self._replace(await self.run_once())

    def covers(self, principal: Principal) -> bool:
        """Return whether a token was revoked. A token without an issue time counts as older than any revocation."""
        if self.covers_token(principal.token_id):
            return True
        revoked_at = self._tenants.get(principal.tenant_id)
        return revoked_at is not None and (principal.issued_at is None or principal.issued_at <= revoked_at)

    def covers_token(self, token_id: str | None) -> bool:
        """Return whether the token with this id was revoked by it; one without an id cannot be."""
        return token_id is not None and token_id in self._tokens

    def _replace(self, current: Sequence[Revocation]) -> None:
        self._tokens = {each.name for each in current if each.subject == "token"}
        self._tenants = {each.name: each.revoked_at for each in current if each.subject == "tenant"}
