"""Every error of the billing loop, each with a stable code and whether a retry can help."""

from datetime import timedelta
from typing import Final


class BillingError(Exception):
    """Base of all our errors.

    `code` is snake_case and stable: it is the metric label and the CLI's exit text.
    `retryable` tells whether the same call can succeed later without any change.
    """

    code: str = "billing_error"
    retryable: bool = False


# --- intake -----------------------------------------------------------------------------------------------------


class WebhookError(BillingError):
    """A webhook that must not be stored: the sender is not the provider, or the signed body is no event."""

    code = "webhook_error"


class SignatureVerificationError(WebhookError):
    """No configured secret matches the signature, or none is configured. The sender or a secret is wrong."""

    code = "bad_signature"


class StaleSignatureError(SignatureVerificationError):
    """The signature matches but its timestamp is outside the tolerance: a replayed request, or a wrong clock."""

    code = "stale_signature"


class MalformedEventError(WebhookError):
    """Signed bytes that are no event envelope: a bug at the sender, or a secret in the wrong hands."""

    code = "malformed_event"


# --- storage and bus --------------------------------------------------------------------------------------------


class StoreUnavailableError(BillingError):
    """The database did not answer in time, or refused to write. The provider will deliver again."""

    code, retryable = "store_unavailable", True


class EventBusUnavailableError(BillingError):
    """The bus did not accept or return entries in time. The history in the repository is complete all the same."""

    code, retryable = "event_bus_unavailable", True


# --- gateway ----------------------------------------------------------------------------------------------------


class GatewayError(BillingError):
    """The provider did not carry out a request. The text names our operation, never the provider's own words."""

    code = "gateway_error"


class GatewayUnavailableError(GatewayError):
    """The provider could not be reached, or kept failing until attempts or time ran out."""

    code, retryable = "gateway_unavailable", True


class GatewayRateLimitedError(GatewayError):
    """The provider asks us to slow down for longer than one call can wait, by `retry_after` if it named a time."""

    code, retryable = "gateway_rate_limited", True

    def __init__(self, *args: object, retry_after: timedelta | None = None) -> None:
        super().__init__(*args)
        self.retry_after = retry_after


class GatewayUnauthorizedError(GatewayError):
    """Our key is wrong, revoked, or lacks a permission. An operator has to correct the key or its permissions."""

    code = "gateway_unauthorized"


class GatewayRejectedError(GatewayError):
    """The provider understood the request and refused it; it would refuse the same request again."""

    code = "gateway_rejected"


# --- folding ----------------------------------------------------------------------------------------------------


class FoldingError(BillingError):
    """An event that contradicts our state. Nothing of it is applied; an operator decides."""

    code = "folding_error"


class TenantConflictError(FoldingError):
    """The event names another tenant than the one its customer is linked to. Neither tenant is touched."""

    code = "tenant_conflict"


class LinkRefusedError(BillingError):
    """An operator's decision about a link that cannot be carried out. Nothing has changed; the text says what to do."""

    code = "link_refused"


class ConfigurationError(BillingError):
    """The process cannot start as configured. The text names the setting and what to do."""

    code = "configuration_error"


# --- dead letters -----------------------------------------------------------------------------------------------

DEAD_REASONS: Final = frozenset(
    {
        "transient",  # a retryable error, in every attempt
        "permanent",  # a retry cannot help: the provider refuses, the key lacks a permission, the body is gone
        "unmapped_customer",
        "tenant_conflict",
        "unknown_price",  # of earlier releases: no event dies for its price any more
        "unsupported",
        "livemode",
        "bug",  # ours: an unforeseen error, or a process that died of the event each time
    }
)
"""The reasons for a dead event. A closed set: it is a metric label, a runbook's title and a filter of replays."""


def dead_reason(error: Exception) -> str:
    """Return the reason to bury an event that failed with this error."""
    if not isinstance(error, BillingError):
        return "bug"
    if error.code in DEAD_REASONS:
        return error.code
    return "transient" if error.retryable else "permanent"
