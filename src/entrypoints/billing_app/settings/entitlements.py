"""Entitlements kept in memory: how many, and how old an answer may be."""

from datetime import timedelta

import attrs

from billing_app.settings.declaration import seconds, whole
from billing_core.entitlements.cache import CachePolicy


@attrs.frozen(kw_only=True)
class EntitlementSettings(CachePolicy):
    """The bounds of the entitlements that a process keeps."""

    capacity: int = whole(
        "BILLING_ENTITLEMENTS_CACHED_TENANTS",
        50_000,
        "Most tenants whose entitlements a process keeps in memory; a thousand take about a megabyte.",
        maximum=10_000_000,
    )
    live_for: timedelta = seconds(
        "BILLING_ENTITLEMENTS_MAX_AGE_SECONDS",
        60,
        "Age at which a tenant's entitlements are read again although no message told of a change.",
        minimum=0.1,
        maximum=3600,
    )
    stale_for: timedelta = seconds(
        "BILLING_ENTITLEMENTS_STALE_SECONDS",
        900,
        "How long the last known entitlements answer while Postgres is unavailable; each such answer says so.",
        minimum=0,
        maximum=86400,
    )
