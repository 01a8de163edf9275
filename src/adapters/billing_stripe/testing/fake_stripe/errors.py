"""Errors in Stripe's form, of both API generations."""

from typing import Any

Json = dict[str, Any]


class StripeError(Exception):
    """An error response."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str | None = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        executed: bool = True,
        committed: bool = False,
        **more: Any,
    ) -> None:
        """Describe the response.

        Args:
            status: of HTTP.
            message: for developers.
            type: of the error; None in the second generation.
            code: for programs.
            param: the parameter at fault, such as `items[0][price]`.
            executed: whether the endpoint had begun to execute, so that the idempotency key keeps this answer.
            committed: whether what the request changed before the error stays, as a failed payment does.
            more: further members of the error, such as `decline_code`.
        """
        super().__init__(message)
        self.status = status
        self.executed = executed
        self.committed = committed
        self.headers: dict[str, str] = {}
        members = {"code": code, "message": message, "param": param, "type": type, **more}
        if code is not None and type is not None:
            members["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        self.body: Json = {"error": {key: value for key, value in members.items() if value is not None}}


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> StripeError:
    """Return the error for parameters that fail validation: nothing was executed."""
    return StripeError(400, message, param=param, code=code, executed=False)


def refused(message: str, *, param: str | None = None, code: str | None = None) -> StripeError:
    """Return the error for a request that the state of an object does not allow."""
    return StripeError(400, message, param=param, code=code)


def missing(noun: str, identifier: str, param: str = "id") -> StripeError:
    """Return the first generation's error for a missing object: 404 in the path, 400 in a parameter."""
    return StripeError(
        404 if param == "id" else 400,
        f"No such {noun}: '{identifier}'",
        code="resource_missing",
        param=param,
        executed=False,
    )


def not_found() -> StripeError:
    """Return the second generation's error for a missing object."""
    return StripeError(404, "Object not found.", type=None, code="not_found", executed=False)


def unknown_address(method: str, path: str) -> StripeError:
    """Return the error for an unknown path."""
    return StripeError(
        404,
        f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at "
        "https://support.stripe.com/.",
        executed=False,
    )


def rate_limited(reason: str) -> StripeError:
    """Return the error for too much load; it names no time to wait, as Stripe's does not."""
    error = StripeError(
        429,
        "Request rate limit exceeded. You can learn more about rate limits here https://stripe.com/docs/rate-limits.",
        code="rate_limit",
        executed=False,
    )
    error.headers["Stripe-Rate-Limited-Reason"] = reason
    return error


def locked() -> StripeError:
    """Return the error for an object that another request is changing."""
    error = StripeError(
        429,
        "This object cannot be accessed right now because another API request or Stripe process is currently "
        "accessing it.",
        code="lock_timeout",
        executed=False,
    )
    error.headers["Stripe-Should-Retry"] = "true"
    return error
