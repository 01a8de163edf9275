"""Tickets that sign a browser in to one tenant of the demo, by a link.

A ticket is `base64url(tenant).expiry.hmac`: no token, useless after its minutes, and only the demo takes it.
"""

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Final

from billing_app.secret import Secret
from billing_core.model import TenantId

_MAX_LENGTH: Final = 1024


def make_ticket(secret: Secret, tenant_id: TenantId, *, expires_at: datetime) -> str:
    """A ticket for /demo/sign-in?ticket=…"""
    tenant = base64.urlsafe_b64encode(tenant_id.encode()).decode().rstrip("=")
    claim = f"{tenant}.{int(expires_at.timestamp())}"
    return f"{claim}.{_signature(secret, claim)}"


def read_ticket(secret: Secret, ticket: str, *, now: datetime) -> TenantId | None:
    """The tenant of a ticket; None for one that is forged, broken or too old."""
    claim, _, signature = ticket.rpartition(".")
    if len(ticket) > _MAX_LENGTH or not hmac.compare_digest(
        signature.encode(errors="replace"), _signature(secret, claim).encode()
    ):
        return None
    # Signed by us, so it is well formed from here on.
    tenant, _, expiry = claim.partition(".")
    if int(expiry) <= now.timestamp():
        return None
    return TenantId(base64.urlsafe_b64decode(tenant + "=" * (-len(tenant) % 4)).decode())


def _signature(secret: Secret, claim: str) -> str:
    return hmac.new(secret.reveal().encode(), claim.encode(errors="replace"), hashlib.sha256).hexdigest()
