"""Failures of operations as RFC 9457 problem details: `application/problem+json`."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from billing_app.http.responses import SAFE_HEADERS, RefusalError
from billing_core.converters import dumps
from billing_core.errors import (
    BillingError,
    GatewayCardDeclinedError,
    GatewayDefectError,
    GatewayError,
    GatewayRateLimitedError,
    StoreUnavailableError,
)
from billing_core.operations.errors import OperationFailedError, OperationRefusedError, Refusal
from billing_core.operations.performing import is_refusal

TYPE_PREFIX: Final = "urn:billing:problem:"
"""Every `type` is this and the code."""

_HEADERS: Final[Mapping[str, str]] = {**SAFE_HEADERS, "Content-Type": "application/problem+json"}
_RETRY_AFTER: Final = "2"
"""Seconds to wait where the provider named none."""

UNKNOWN_OUTCOME: Final = (
    "It is not known yet whether the request was carried out. Send it again with the same Idempotency-Key to find out: "
    "nothing is done twice."
)

REFUSED: Final[Mapping[Refusal, int]] = {
    Refusal.UNKNOWN_PLAN: 404,
    Refusal.UNKNOWN_PRICE: 404,
    Refusal.NO_SUBSCRIPTION: 404,
    Refusal.NO_CUSTOMER: 404,
    Refusal.UNKNOWN_INVOICE: 404,
    Refusal.UNKNOWN_PAYMENT_METHOD: 404,
    Refusal.UNKNOWN_PROMOTION_CODE: 404,
    Refusal.UNKNOWN_CHECKOUT: 404,
    Refusal.PRICE_NOT_UNIQUE: 422,
    Refusal.NO_SEATS: 422,
    Refusal.SEATS_OUT_OF_BOUNDS: 422,
    Refusal.NO_TRIAL: 422,
    Refusal.NOT_AN_ADDON: 422,
}
"""Statuses of refusals for which the request itself is wrong. Any other is a conflict with the state: 409."""

FAILED: Final[Mapping[str, int]] = {
    "card_declined": 402,
    "invalid_request": 422,
    "payment_method_missing": 402,
    "not_found": 404,
    "conflict": 409,
    "lease_lost": 409,
    "idempotency_conflict": 422,
    "rate_limited": 503,
    "unavailable": 503,
    "authentication": 502,
    "permission": 502,
    "store_unavailable": 503,
    "internal_error": 500,
    "given_up": 409,
}
"""Statuses by the code of an error. Any other error of the provider's is 502."""


class Problem(Exception):  # noqa: N818 - the standard's name
    """A request that fails. The texts are for the caller and reveal nothing internal."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers or {}
        self.members = members

    def response(self) -> web.Response:
        """Return the problem as a response."""
        content = {
            "type": f"{TYPE_PREFIX}{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **{name: value for name, value in self.members.items() if value is not None},
        }
        return web.Response(body=dumps(content).encode(), status=self.status, headers={**_HEADERS, **self.headers})


def problem_of(error: BillingError | RefusalError) -> Problem:
    """Return the problem that an error is to the caller."""
    match error:
        case RefusalError():
            return Problem(error.status, error.code, error.message, headers=error.headers)
        case OperationRefusedError():
            return Problem(REFUSED.get(error.refusal, 409), error.code, error.user_text)
        case OperationFailedError():
            return Problem(
                FAILED.get(error.code, 502),
                error.code,
                error.user_text,
                parameter=error.parameter,
                decline_code=error.decline_code,
                new_key_needed=True,
            )
        case GatewayError():
            return _problem_at_provider(error)
        case StoreUnavailableError():
            return _try_again(503, error.code, UNKNOWN_OUTCOME)
    status = FAILED.get(error.code, 500)
    detail = getattr(error, "user_text", "The request could not be carried out.")
    return _try_again(status, error.code, detail) if error.retryable else Problem(status, error.code, detail)


def _problem_at_provider(error: GatewayError) -> Problem:
    status = FAILED.get(error.code, 502)
    if error.outcome_unknown and isinstance(error, GatewayDefectError):
        return Problem(status, error.code, UNKNOWN_OUTCOME)
    if error.outcome_unknown:
        return _try_again(503, error.code, UNKNOWN_OUTCOME)
    if error.retryable:
        waits = error.retry_after if isinstance(error, GatewayRateLimitedError) else None
        seconds = _RETRY_AFTER if waits is None else str(max(1, round(waits.total_seconds())))
        return _try_again(status, error.code, error.user_text, seconds)
    return Problem(
        status,
        error.code,
        error.user_text,
        parameter=getattr(error, "parameter", None),
        decline_code=error.decline_code if isinstance(error, GatewayCardDeclinedError) else None,
        new_key_needed=True if is_refusal(error) else None,
    )


def _try_again(status: int, code: str, detail: str, seconds: str = _RETRY_AFTER) -> Problem:
    return Problem(status, code, detail, headers={"Retry-After": seconds}, retryable=True)
