"""Access that an operator granted, beside what is paid for."""

from datetime import datetime
from typing import Any

import attrs

from billing_core.model.identifiers import GrantId, TenantId
from billing_core.model.time import aware


def _words(_: object, attribute: "attrs.Attribute[Any]", value: str | None) -> None:
    if value is not None and not value.strip():
        raise ValueError(f"{attribute.name} is blank")


@attrs.frozen(kw_only=True)
class AccessGrant:
    """Full access to a plan for a tenant, with who granted it and why. No event of the provider changes it."""

    grant_id: GrantId
    tenant_id: TenantId
    plan_code: str = attrs.field(validator=_words)
    until: datetime | None = attrs.field(default=None, validator=aware)
    """When it ends by itself; None for never."""
    actor: str
    reason: str = attrs.field(validator=_words)
    granted_at: datetime = attrs.field(validator=aware)
    revoked_at: datetime | None = attrs.field(default=None, validator=aware)
    revoked_by: str | None = None
    revoked_reason: str | None = attrs.field(default=None, validator=_words)

    def holds(self, now: datetime) -> bool:
        """Return whether it gives access at this instant."""
        return self.revoked_at is None and (self.until is None or now < self.until)
