"""Every error of the billing loop: a stable code, and whether trying again can help."""

from datetime import timedelta
from typing import ClassVar, Final


class BillingError(Exception):
    """Base of all our errors.

    `code` is snake_case and stable: it is the metric label, the dispatch reason's neighbour and the CLI's word.
    `retryable` says whether the same call can succeed later without anybody changing anything.
    """

    code: ClassVar[str] = "billing_error"
    retryable: ClassVar[bool] = False


# --- intake -----------------------------------------------------------------------------------------------------


class WebhookError(BillingError):
    """A webhook that must not be stored: the sender is not the provider, or what it signed is no event."""

    code = "webhook_error"


class SignatureVerificationError(WebhookError):
    """No configured secret matches the signature, or there is none. Somebody else sent this, or a secret is wrong."""

    code = "bad_signature"


class StaleSignatureError(SignatureVerificationError):
    """The signature is right but its timestamp is outside the tolerance: a recorded request, or a wrong clock."""

    code = "stale_signature"


class MalformedEventError(WebhookError):
    """Signed bytes that are no event envelope: a bug at the sender, or a secret in the wrong hands."""

    code = "malformed_event"


# --- storage and bus --------------------------------------------------------------------------------------------


class StoreUnavailableError(BillingError):
    """The database did not answer in time, or refused to write. The provider will deliver again."""

    code, retryable = "store_unavailable", True


class EventBusUnavailableError(BillingError):
    """The bus did not take or give entries in time. The history in the repository is complete all the same."""

    code, retryable = "event_bus_unavailable", True


# --- gateway ----------------------------------------------------------------------------------------------------


class GatewayError(BillingError):
    """The provider did not do what it was asked. The text names our operation, never what the provider wrote back."""

    code = "gateway_error"


class GatewayUnavailableError(GatewayError):
    """The provider could not be reached, or kept failing until attempts or time ran out."""

    code, retryable = "gateway_unavailable", True


class GatewayRateLimitedError(GatewayError):
    """The provider asks us to slow down, for longer than one call can wait. `retry_after` is what it asked for."""

    code, retryable = "gateway_rate_limited", True

    def __init__(self, *args: object, retry_after: timedelta | None = None) -> None:
        super().__init__(*args)
        self.retry_after = retry_after


class GatewayUnauthorizedError(GatewayError):
    """Our key is wrong, revoked, or may not do this. An operator mends the key or its permissions."""

    code = "gateway_unauthorized"


class GatewayRejectedError(GatewayError):
    """The provider understood the request and refuses it: the same request will be refused again."""

    code = "gateway_rejected"


# --- folding ----------------------------------------------------------------------------------------------------


class FoldingError(BillingError):
    """An event that contradicts what we know. Nothing of it is applied; an operator decides."""

    code = "folding_error"


class TenantConflictError(FoldingError):
    """The event names another tenant than the one its customer is linked to. Neither tenant is touched."""

    code = "tenant_conflict"


class UnknownPriceError(FoldingError):
    """No price of the subscription is in the price map: add it to STRIPE_PRODUCT_PRICE_MAP, then replay."""

    code = "unknown_price"


class ConfigurationError(BillingError):
    """The process cannot start as configured. The text names the setting and what to do."""

    code = "configuration_error"


# --- dead letters -----------------------------------------------------------------------------------------------

DEAD_REASONS: Final = frozenset(
    {
        "transient",  # what should have passed did not, in any attempt
        "permanent",  # will be so again: the provider refuses, the key lacks a right, the body is gone
        "unmapped_customer",
        "tenant_conflict",
        "unknown_price",
        "unsupported",
        "livemode",
        "bug",  # ours: an error nobody foresaw, or a process that died of the event each time
    }
)
"""Why an event can be dead. A closed set: it is a metric label, what runbooks are filed under and replays ask for."""


def dead_reason(error: Exception) -> str:
    """The reason to bury an event by that failed with this."""
    if not isinstance(error, BillingError):
        return "bug"
    if error.code in DEAD_REASONS:
        return error.code
    return "transient" if error.retryable else "permanent"
