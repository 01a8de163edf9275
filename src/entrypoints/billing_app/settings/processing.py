"""Work on stored events: dispatch with its retries, publishing, retention."""

from datetime import timedelta
from typing import Final

import attrs

from billing_app.settings.declaration import duration, seconds, whole
from billing_core.inbox.policy import DispatchPolicy
from billing_core.stream.publisher import PublishPolicy

_DISPATCH: Final = DispatchPolicy()
_PUBLISH: Final = PublishPolicy()


@attrs.frozen(kw_only=True)
class DispatchSettings(DispatchPolicy):
    """The dispatch policy."""

    batch: int = whole(
        "BILLING_DISPATCH_BATCH", _DISPATCH.batch, "Most events that a worker claims at a time.", maximum=10_000
    )
    lease: timedelta = seconds(
        "BILLING_DISPATCH_LEASE_SECONDS",
        _DISPATCH.lease,
        "Time after which a claimed event without a result is given to another worker.",
        minimum=0.1,
        maximum=3600,
    )
    max_attempts: int = whole(
        "BILLING_DISPATCH_MAX_ATTEMPTS",
        _DISPATCH.max_attempts,
        "Attempts before an event becomes a dead letter.",
        maximum=1000,
    )
    backoff_base: timedelta = seconds(
        "BILLING_DISPATCH_BACKOFF_BASE_SECONDS",
        _DISPATCH.backoff_base,
        "Longest wait before the first retry; it doubles with each further retry.",
        minimum=0,
        maximum=3600,
    )
    backoff_cap: timedelta = seconds(
        "BILLING_DISPATCH_BACKOFF_CAP_SECONDS",
        _DISPATCH.backoff_cap,
        "Longest wait between two retries.",
        minimum=0,
        maximum=86400,
    )
    poll: timedelta = seconds(
        "BILLING_DISPATCH_POLL_SECONDS",
        _DISPATCH.poll,
        "How often a worker looks for due events that it was not notified of.",
        minimum=0.01,
        maximum=300,
    )
    parked_for: timedelta = duration(
        "BILLING_PARKED_DAYS",
        "days",
        _DISPATCH.parked_for / timedelta(days=1),
        "Days after which an event that waits for a tenant is ignored as `no_tenant`. A later link still applies it.",
        minimum=1,
        maximum=3650,
    )


@attrs.frozen(kw_only=True)
class PublishSettings(PublishPolicy):
    """The publishing policy."""

    poll: timedelta = seconds(
        "BILLING_PUBLISH_POLL_SECONDS",
        _PUBLISH.poll,
        "How often the publisher looks for messages left in the outbox.",
        minimum=0.01,
        maximum=300,
    )
    batch: int = whole(
        "BILLING_PUBLISH_BATCH", _PUBLISH.batch, "Most messages sent to Redis at a time.", maximum=10_000
    )


@attrs.frozen(kw_only=True)
class RetentionSettings:
    """Retention of data that processing no longer needs."""

    bodies: timedelta = duration(
        "BILLING_BODY_RETENTION_DAYS",
        "days",
        90,
        "Age from which `billing events prune` deletes the bodies of applied and ignored events.",
        minimum=1,
        maximum=36500,
    )
    operations: timedelta = duration(
        "BILLING_OPERATION_RETENTION_DAYS",
        "days",
        30,
        "Age from which workers delete operations that have an outcome. Until then the same request id gets the same "
        "answer. Contact details are deleted from an operation with its outcome.",
        minimum=2,
        maximum=36500,
    )
