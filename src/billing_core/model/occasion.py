"""Occasions that a tenant's events reported: a failed payment, the end of a trial, a renewal."""

import attrs

from billing_core.model.identifiers import TenantId


@attrs.frozen(kw_only=True)
class TenantOccasion:
    """One occasion of a tenant. Its key never comes back, so that it is announced at most once."""

    tenant_id: TenantId
    key: str
    """The kind of occasion, its object, and what sets it apart from the object's others."""
    sequence: int | None
    """The message that announced it; None if it was over by then, or nothing was announced."""
