"""The access policy: which subscription states grant access."""

from datetime import timedelta

import attrs

from billing_app.settings.declaration import duration
from billing_core.model import AccessPolicy


@attrs.frozen(kw_only=True)
class AccessSettings(AccessPolicy):
    """The access policy."""

    past_due_grace: timedelta = duration(
        "BILLING_PAST_DUE_GRACE_DAYS",
        "days",
        AccessPolicy().past_due_grace,
        "How long a tenant keeps full access after a failed payment.",
        minimum=0,
        maximum=365,
    )
