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
        "Grace after a missed payment, from the oldest open invoice's due date, else from its first failed payment.",
        minimum=0,
        maximum=365,
    )
    trial_overdue_after: timedelta = duration(
        "BILLING_TRIAL_OVERDUE_HOURS",
        "hours",
        AccessPolicy().trial_overdue_after,
        "How long a trial that is over keeps its access while Stripe has not said what follows.",
        minimum=0,
        maximum=8760,
    )
