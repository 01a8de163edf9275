"""The table of outcomes: which failures of an attempt are retried, after which wait, and which error remains.

| outcome | retried | error | the write |
| --- | --- | --- | --- |
| no connection | yes | unavailable | was not carried out |
| reset, timeout, cut body, 5xx, an answer that is not Stripe's | yes | unavailable | may have been carried out |
| a stored 5xx, replayed | no | unavailable | may have been carried out |
| 409: the key is in use | yes, shortly | conflict | may be in progress |
| 429 `lock_timeout` | yes, shortly | rate_limited | was not carried out |
| any other 429 | yes, after `Retry-After` or seconds | rate_limited | was not carried out |
| 400 `idempotency_error` | no | idempotency_conflict | belongs to another decision |
| 402 | no | card_declined | failed; the answer is stored |
| 401, 403 | no | authentication, permission | was not carried out |
| 404 for the object in the path | no | not_found | was not carried out |
| 400 `resource_missing` without a parameter | no | payment_method_missing | was not carried out |
| any other 4xx | no | invalid_request | was not carried out |

Stripe heeds the keys of POST alone. A DELETE that is repeated after a lost answer may find nothing to delete, so that
answer settles nothing. Source: https://docs.stripe.com/api/idempotent_requests

`Stripe-Should-Retry` outranks the second column, except for replayed answers. Stripe's own text enters no error: it may
quote keys and people. Codes, parameters and request ids do, if they have the form of one.
"""

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from typing import Any, Final

import aiohttp
import attrs

from billing_core.errors import (
    GatewayAuthenticationError,
    GatewayCardDeclinedError,
    GatewayConflictError,
    GatewayError,
    GatewayErrorDetails,
    GatewayIdempotencyConflictError,
    GatewayInvalidRequestError,
    GatewayNotFoundError,
    GatewayPaymentMethodMissingError,
    GatewayPermissionError,
    GatewayRateLimitedError,
    GatewayUnavailableError,
)

LOAD_REASONS: Final = frozenset(
    {"endpoint-concurrency", "endpoint-rate", "global-concurrency", "global-rate", "resource-specific"}
)
"""Stripe's reasons for a refusal for load, of the header `Stripe-Rate-Limited-Reason`. Not all may be known."""
_UNKNOWN_OBJECT: Final = frozenset({"resource_missing", "not_found"})
"""Codes of an unknown object in the two generations of the API. Any other 404 means a wrong address."""
LOCKED: Final = "lock_timeout"
_CURSOR: Final = "starting_after"
_NOT_SENT: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Failures before the request could be sent."""
_TRANSIENT: Final = (aiohttp.ClientError, TimeoutError, OSError)
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,79}")
_PARAMETER: Final = re.compile(r"[a-z][a-z0-9_]{0,79}(?:\[[a-z0-9_]{0,79}\]){0,8}")
_REQUEST_ID: Final = re.compile(r"req_[A-Za-z0-9_]{1,80}")
_PERMISSION: Final = re.compile(r"\brak_[a-z0-9_]{1,80}\b")


class Executed(Enum):
    """Whether the write was carried out, by what a failed attempt says."""

    NO = "no"
    """This attempt was not. An earlier one with the same key may have been."""
    UNKNOWN = "unknown"
    SETTLED = "settled"
    """The answer holds for the key: it was not, by this attempt or an earlier one."""


class Pace(Enum):
    """Which wait precedes the next attempt."""

    NORMAL = "normal"
    LOCK = "lock"
    LOAD = "load"


class AttemptFailedError(Exception):
    """Failure of one attempt. It has no text, since retry hooks log it."""

    def __init__(
        self,
        error: GatewayError,
        *,
        again: bool,
        executed: Executed,
        pace: Pace = Pace.NORMAL,
        retry_after: timedelta | None = None,
        limited: str | None = None,
    ) -> None:
        super().__init__()
        self.error = error
        self.again = again
        self.executed = executed
        self.pace = pace
        self.retry_after = retry_after
        self.limited = limited
        """Stripe's reason for a refusal for load, of a closed set; None for any other failure."""


@attrs.frozen(kw_only=True)
class Refusal:
    """An answer that is no success: its status, its headers, and what its error object says."""

    status: int
    headers: Mapping[str, str]
    error: Mapping[str, Any] | None
    """None if the body is not an error of Stripe's: it comes from something between."""

    @classmethod
    def read(cls, status: int, headers: Mapping[str, str], body: bytes) -> "Refusal":
        """Read an answer with any body."""
        try:
            shown = json.loads(body)
        except ValueError:
            shown = None
        error = shown.get("error") if isinstance(shown, dict) else None
        return cls(status=status, headers=headers, error=error if isinstance(error, dict) else None)

    @property
    def code(self) -> str | None:
        """Stripe's name of the reason."""
        return self._word("code", _CODE)

    @property
    def parameter(self) -> str | None:
        """The parameter that was refused."""
        return self._word("param", _PARAMETER)

    @property
    def decline_code(self) -> str | None:
        """The bank's reason."""
        return self._word("decline_code", _CODE)

    @property
    def permission(self) -> str | None:
        """The permission that the key lacks; the only word that is taken from Stripe's text."""
        message = (self.error or {}).get("message")
        found = _PERMISSION.search(message) if isinstance(message, str) else None
        return found.group() if found else None

    @property
    def request_id(self) -> str | None:
        """Stripe's id of the request."""
        return request_id(self.headers, "Request-Id")

    @property
    def replayed(self) -> bool:
        """Whether this is the stored answer to an earlier request with the same key."""
        return replayed(self.headers)

    @property
    def retry_after(self) -> timedelta | None:
        """The wait that Stripe asks for, in seconds, the form that it uses; a date is ignored."""
        text = self.headers.get("Retry-After", "")
        return timedelta(seconds=min(int(text), 86_400)) if text.isascii() and text.isdigit() else None

    @property
    def limited(self) -> str:
        """The reason for a refusal for load, of a closed set."""
        if self.code == LOCKED:
            return LOCKED
        reason = self.headers.get("Stripe-Rate-Limited-Reason", "")
        return reason if reason in LOAD_REASONS else "other"

    @property
    def is_idempotency_error(self) -> bool:
        """Whether the key belongs to another request."""
        return (self.error or {}).get("type") == "idempotency_error"

    @property
    def lacks_payment_method(self) -> bool:
        """Whether a payment is due and there is nothing to charge: an object is missing that no parameter names."""
        return self.status == 400 and self.code == "resource_missing" and self.parameter is None

    def summary(self, operation: str) -> str:
        """Return the text for operators."""
        words = [operation + ":", str(self.status), self.code, self.parameter, self.permission, self.request_id]
        return " ".join(word for word in words if word is not None)

    def _word(self, name: str, form: re.Pattern[str]) -> str | None:
        value = (self.error or {}).get(name)
        return value if isinstance(value, str) and form.fullmatch(value) else None


def refused(operation: str, refusal: Refusal) -> AttemptFailedError:
    """Translate an answer that is no success."""
    failed = _classified(refusal.summary(operation), refusal)
    advice = refusal.headers.get("Stripe-Should-Retry")
    if refusal.replayed:
        failed.again = False
    elif advice in ("true", "false"):
        failed.again = advice == "true"
    return failed


def unreachable(operation: str, cause: BaseException) -> AttemptFailedError | None:
    """Translate an exception of the transport; None for one that is no failure of the network but a bug."""
    if not isinstance(cause, _TRANSIENT):
        return None
    executed = Executed.NO if isinstance(cause, _NOT_SENT) else Executed.UNKNOWN
    error = GatewayUnavailableError(f"{operation}: {type(cause).__name__}")
    return AttemptFailedError(error, again=True, executed=executed)


def closed(operation: str) -> AttemptFailedError:
    """Return the failure for a call that comes after the end of the client, while the process shuts down."""
    error = GatewayUnavailableError(f"{operation}: the client is closed")
    return AttemptFailedError(error, again=False, executed=Executed.NO)


def blocked(operation: str, cause: type[GatewayError]) -> AttemptFailedError:
    """Return the failure for a call that is not sent, because the circuit is open for this cause."""
    return AttemptFailedError(cause(f"{operation}: the circuit is open"), again=False, executed=Executed.NO)


def unreadable(operation: str, status: int) -> AttemptFailedError:
    """Return the failure for a success whose body is not Stripe's JSON: cut, or written by something between."""
    error = GatewayUnavailableError(f"{operation}: {status} without Stripe's JSON")
    return AttemptFailedError(error, again=True, executed=Executed.UNKNOWN)


def request_id(headers: Mapping[str, str], name: str) -> str | None:
    """Return a request id from a header, if it has the form of one."""
    text = headers.get(name, "")
    return text if _REQUEST_ID.fullmatch(text) else None


def replayed(headers: Mapping[str, str]) -> bool:
    """Return whether an answer is the stored one to an earlier request with the same key."""
    return headers.get("Idempotent-Replayed") == "true"


def _classified(text: str, refusal: Refusal) -> AttemptFailedError:
    """Look a refusal up in the table."""
    known = GatewayErrorDetails(provider_code=refusal.code, request_id=refusal.request_id, replayed=refusal.replayed)
    status, code = refusal.status, refusal.code
    if status == 429 or code == "rate_limit":
        wait = refusal.retry_after
        pace = Pace.LOCK if code == LOCKED else Pace.LOAD
        limited = GatewayRateLimitedError(text, retry_after=wait, **known)
        return AttemptFailedError(
            limited, again=True, executed=Executed.NO, pace=pace, retry_after=wait, limited=refusal.limited
        )
    if refusal.error is None or status < 400 or status >= 500:
        return AttemptFailedError(GatewayUnavailableError(text, **known), again=True, executed=Executed.UNKNOWN)
    if status == 409:
        executed = Executed.NO if code == LOCKED else Executed.UNKNOWN
        return AttemptFailedError(GatewayConflictError(text, **known), again=True, executed=executed, pace=Pace.LOCK)
    return _final(text, refusal, known)


def _final(text: str, refusal: Refusal, known: GatewayErrorDetails) -> AttemptFailedError:
    """Look up a refusal that would be repeated."""
    error: GatewayError
    executed = Executed.SETTLED
    match refusal.status:
        case 401:
            error, executed = GatewayAuthenticationError(text, **known), Executed.NO
        case 403:
            error = GatewayPermissionError(text, permission=refusal.permission, **known)
            executed = Executed.NO
        case 402:
            error = GatewayCardDeclinedError(text, decline_code=refusal.decline_code, **known)
        case _ if refusal.is_idempotency_error:
            error = GatewayIdempotencyConflictError(text, **known)
        case 404 if refusal.code in _UNKNOWN_OBJECT:
            error = GatewayNotFoundError(text, **known)
        case _ if refusal.parameter == _CURSOR:  # the last member of the previous page is gone: read the list again
            error = GatewayUnavailableError(text, **known)
        case _ if refusal.lacks_payment_method:
            error = GatewayPaymentMethodMissingError(text, parameter=refusal.parameter, **known)
        case _:
            error = GatewayInvalidRequestError(text, parameter=refusal.parameter, **known)
    return AttemptFailedError(error, again=False, executed=executed)
