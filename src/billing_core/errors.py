"""Every error of the billing loop, each with a stable code and whether a retry can help."""

from datetime import timedelta
from enum import Enum
from typing import ClassVar, Final, TypedDict, Unpack


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


class SignatureFault(Enum):
    """The faults of a signature. A closed set: the values are metric labels."""

    MISSING = "missing"
    """The request has no signature header."""
    REPEATED = "repeated"
    """It has more than one."""
    MALFORMED = "malformed"
    NO_MATCH = "no_match"
    """No configured secret matches, or none is configured."""
    STALE = "stale"
    """A secret matches, but the timestamp is too old: a replayed request, a slow way, or our clock is ahead."""
    EARLY = "early"
    """A secret matches, but the timestamp is too far ahead: our clock is behind."""


class SignatureVerificationError(WebhookError):
    """No configured secret matches the signature, or none is configured. The sender or a secret is wrong."""

    code = "bad_signature"

    def __init__(self, *args: object, fault: SignatureFault = SignatureFault.NO_MATCH) -> None:
        super().__init__(*args)
        self.fault = fault


class StaleSignatureError(SignatureVerificationError):
    """The signature matches but its timestamp is outside the tolerance: a replayed request, or a wrong clock."""

    code = "stale_signature"


class MalformedEventError(WebhookError):
    """Signed bytes that are no event envelope: a bug at the sender, or a secret in the wrong hands."""

    code = "malformed_event"


class WebhookBodyTooLargeError(WebhookError):
    """The body is larger than any event: nothing of it was looked at."""

    code = "too_large"


# --- storage and bus --------------------------------------------------------------------------------------------


class StoreUnavailableError(BillingError):
    """The database did not answer in time, or refused to write. The provider will deliver again."""

    code, retryable = "store_unavailable", True


class ClaimLostError(BillingError):
    """Another process has taken over a tenant of a consumer, because its lease ran out. What was begun is undone."""

    code, retryable = "claim_lost", True


class TransactionLostError(BillingError):
    """The transaction of a consumer's handler was over, or failed, before the position could be stored in it."""

    code, retryable = "transaction_lost", True


class EventBusUnavailableError(BillingError):
    """The bus did not accept or return entries in time. The history in the repository is complete all the same."""

    code, retryable = "event_bus_unavailable", True


# --- gateway ----------------------------------------------------------------------------------------------------


class GatewayErrorDetails(TypedDict, total=False):
    """Facts about a failed request that every `GatewayError` keeps as attributes; all may be left out."""

    outcome_unknown: bool
    """Whether a write may have been carried out all the same. Never set for reads."""
    replayed: bool
    """Whether this is the stored answer to an earlier request with the same idempotency key."""
    provider_code: str | None
    """The provider's name of the reason, such as `resource_missing`."""
    request_id: str | None
    """The provider's id of the last request."""


class GatewayError(BillingError):
    """The provider did not carry out a request.

    `str()` is for operators: our name of the operation, and the provider's status, codes and request id. `user_text` is
    a sentence for the customer. Neither holds the provider's own words, which may quote keys and people.
    """

    code = "gateway_error"
    _user_text: ClassVar[str] = "The request could not be carried out. Try again later."

    def __init__(self, *args: object, **details: Unpack[GatewayErrorDetails]) -> None:
        super().__init__(*args)
        self.outcome_unknown = details.get("outcome_unknown", False)
        self.replayed = details.get("replayed", False)
        self.provider_code = details.get("provider_code")
        self.request_id = details.get("request_id")

    @property
    def user_text(self) -> str:
        """A sentence that may be shown to the customer as it is."""
        return _OUTCOME_UNKNOWN if self.outcome_unknown else self._user_text


_OUTCOME_UNKNOWN: Final = (
    "The payment provider did not confirm the request, which may have been carried out. Check the result in a few "
    "minutes before you repeat it."
)


class GatewayUnavailableError(GatewayError):
    """The provider could not be reached, or kept failing until attempts or time ran out."""

    code, retryable = "unavailable", True
    _user_text = "The payment provider is not available at the moment. Try again in a few minutes."


class GatewayRateLimitedError(GatewayError):
    """The provider or our own limit asks for a longer wait than one call allows: `retry_after`, if it is known."""

    code, retryable = "rate_limited", True
    _user_text = "There are too many requests at the moment. Try again in a minute."

    def __init__(
        self, *args: object, retry_after: timedelta | None = None, **details: Unpack[GatewayErrorDetails]
    ) -> None:
        super().__init__(*args, **details)
        self.retry_after = retry_after


class GatewayConflictError(GatewayError):
    """A request with the same idempotency key is still in progress at the provider."""

    code, retryable = "conflict", True
    _user_text = "The same request is already in progress. Try again in a minute."


class GatewayIdempotencyConflictError(GatewayError):
    """An idempotency key was used again with other parameters: a bug at the caller. A new decision needs a new key."""

    code = "idempotency_conflict"
    _user_text = "The request was already made with other values. Start again."


class GatewayCardDeclinedError(GatewayError):
    """A payment failed. A new attempt is the customer's decision, with a new idempotency key."""

    code = "card_declined"
    _user_text = "The card was declined. Use another card, or contact the card's bank."

    def __init__(self, *args: object, decline_code: str | None = None, **details: Unpack[GatewayErrorDetails]) -> None:
        """Describe a failed payment; `decline_code` is the bank's reason, such as `insufficient_funds`."""
        super().__init__(*args, **details)
        self.decline_code = decline_code

    @property
    def user_text(self) -> str:
        """A sentence that may be shown to the customer as it is, with the reason where the customer can act on it."""
        reasons = (_DECLINED.get(code or "") for code in (self.decline_code, self.provider_code))
        return next((reason for reason in reasons if reason is not None), super().user_text)


_DECLINED: Final = {
    "authentication_required": "The bank asks for a confirmation of this payment. Confirm it, or use another card.",
    "expired_card": "The card has expired. Use another card.",
    "incorrect_cvc": "The card's security code is incorrect. Check it, or use another card.",
    "insufficient_funds": "The card has insufficient funds. Use another card.",
    "processing_error": "The card could not be charged at the moment. Try again in a few minutes.",
}
"""Texts for users by decline code. Any other reason, such as a stolen card, stays between the bank and its customer."""


class GatewayAuthenticationError(GatewayError):
    """Our key is wrong, expired or revoked. An operator has to replace it."""

    code = "authentication"


class GatewayPermissionError(GatewayError):
    """Our key lacks a permission; `permission` names it if the provider did. An operator has to grant it."""

    code = "permission"

    def __init__(self, *args: object, permission: str | None = None, **details: Unpack[GatewayErrorDetails]) -> None:
        super().__init__(*args, **details)
        self.permission = permission


class GatewayInvalidRequestError(GatewayError):
    """The provider understood the request and refused it; it would refuse the same request again."""

    code = "invalid_request"
    _user_text = "The payment provider refused the request. Check the values, or contact support."

    def __init__(self, *args: object, parameter: str | None = None, **details: Unpack[GatewayErrorDetails]) -> None:
        """Describe a refusal; `parameter` is the provider's name of the parameter that it refused."""
        super().__init__(*args, **details)
        self.parameter = parameter


class GatewayPaymentMethodMissingError(GatewayInvalidRequestError):
    """A payment is due, and the customer has no payment method that can be charged."""

    code = "payment_method_missing"
    _user_text = "There is no saved payment method to charge. Add one, then try again."


class GatewayNotFoundError(GatewayError):
    """The provider knows no object with the id of the request."""

    code = "not_found"
    _user_text = "The object does not exist, or it was deleted."


class GatewayDefectError(GatewayError):
    """A bug of ours stopped a request; its cause says where. With `outcome_unknown`, something had been sent before."""

    code = "internal_error"


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


class LinkChangedError(BillingError):
    """A change of a link that is another one by now than the operator has confirmed. Nothing has changed."""

    code = "selection_changed"

    def __init__(self, *, changes: int) -> None:
        super().__init__(f"{changes} objects would change now, and not those that were confirmed. Look at them again.")
        self.changes = changes


class ErasureRefusedError(BillingError):
    """A tenant that cannot be erased now. Nothing has changed; the text says what to do first."""

    code = "erasure_refused"


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


def text_of(error: BaseException) -> str:
    """Return the type and the text of an error, for operators."""
    return f"{type(error).__name__}: {error}"


def dead_reason(error: Exception) -> str:
    """Return the reason to bury an event that failed with this error."""
    if not isinstance(error, BillingError):
        return "bug"
    if error.code in DEAD_REASONS:
        return error.code
    return "transient" if error.retryable else "permanent"
