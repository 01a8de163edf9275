"""Requests that carry a webhook."""

from datetime import timedelta

import attrs

from billing_app.settings.declaration import seconds, whole


@attrs.frozen(kw_only=True)
class WebhookSettings:
    """Limits on reading a webhook."""

    body_limit: int = whole(
        "BILLING_BODY_LIMIT_BYTES",
        2 * 1024 * 1024,
        "Largest webhook body that is accepted. An invoice of ten lines with full metadata has more than 600 kB.",
        minimum=1024,
        maximum=16 * 1024 * 1024,
    )
    read_timeout: timedelta = seconds(
        "BILLING_READ_TIMEOUT_SECONDS", 5, "Time to read a webhook body.", minimum=0.05, maximum=60
    )
    refusals_per_minute: int = whole(
        "BILLING_WEBHOOK_REFUSALS_PER_MINUTE",
        60,
        "Refused webhooks per minute and client address, before unsigned ones are answered 429 unread; 0 for no limit. "
        "A correctly signed webhook is never refused for this.",
        minimum=0,
        maximum=1_000_000,
    )
