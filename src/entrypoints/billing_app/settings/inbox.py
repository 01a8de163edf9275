"""The inbox, which stores many webhooks in one commit."""

from datetime import timedelta

import attrs

from billing_app.settings.declaration import seconds, whole


@attrs.frozen(kw_only=True)
class InboxSettings:
    """Limits of the group commit."""

    timeout: timedelta = seconds(
        "BILLING_STORE_TIMEOUT_SECONDS",
        4,
        "Time to store a webhook; after it the answer is 503 and Stripe sends the webhook again.",
        minimum=0.05,
        maximum=60,
    )
    queue_limit: int = whole(
        "BILLING_STORE_QUEUE_LIMIT",
        2048,
        "Webhooks that may wait to be stored; further ones are answered 503.",
        maximum=100_000,
    )
    batch: int = whole("BILLING_STORE_BATCH", 256, "Most webhooks that share one commit.", maximum=10_000)
    flushes: int = whole("BILLING_STORE_FLUSHES", 2, "Commits that may run at the same time.", maximum=32)
