"""The client of Stripe's API: a bounded number of attempts within a bounded time, and our own errors.

The SDK's own retries are off: they ignore 429 and `Retry-After`, and a connection that breaks in the middle of a body
raises a raw aiohttp error. So there is one retry loop, here, around every request. (Below it, aiohttp repeats a GET
once when the connection is lost before any answer, as HTTP allows; that cannot be switched off.)
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import aiohttp
import attrs
import stamina
import stripe

from billing_core.errors import (
    GatewayError,
    GatewayRateLimitedError,
    GatewayRejectedError,
    GatewayUnauthorizedError,
    GatewayUnavailableError,
)

Json = Mapping[str, Any]

_UNKNOWN: Final = frozenset({"resource_missing", "not_found"})
"""Codes of an unknown object in the two generations of the API. Any other 404 means a wrong address."""
_CURSOR: Final = "starting_after"


@attrs.frozen(kw_only=True)
class CallPolicy:
    """Limits of one call: attempts, timeouts and waits."""

    attempts: int = 4
    connect_timeout: timedelta = timedelta(seconds=5)
    attempt_timeout: timedelta = timedelta(seconds=15)
    deadline: timedelta = timedelta(seconds=40)
    """Limit of the whole call, attempts and waits included."""
    wait_initial: timedelta = timedelta(milliseconds=250)
    wait_max: timedelta = timedelta(seconds=5)
    longest_retry_after: timedelta = timedelta(seconds=10)
    """If Stripe asks for a longer wait, the call fails and the caller can do something else in the meantime."""


@attrs.frozen(kw_only=True)
class GatewayCall:
    """Result of one call, for metrics; operation and result are from closed sets."""

    operation: str
    result: str
    """`ok`, `missing`, `canceled`, or the code of the error."""
    seconds: float
    attempts: int


def _unobserved(_call: GatewayCall) -> None:
    """Ignore the report."""


class ApiClient:
    """Reading access to Stripe's API; see `open_client`."""

    def __init__(self, sdk: stripe.StripeClient, policy: CallPolicy, observe: Callable[[GatewayCall], None]) -> None:
        self._sdk = sdk
        self._policy = policy
        self._observe = observe

    async def get(self, operation: str, path: str, params: Json | None = None) -> Json | None:
        """Return the JSON object at `path` in the pinned API version, or None if it is unknown to Stripe.

        Args:
            operation: our name for the call, from a closed set, for metrics and errors.
            path: for example `/v1/invoices/in_1`, with quoted parts.
            params: the query.

        Raises: GatewayError.
        """
        started = time.monotonic()
        progress = _Progress()
        result = "canceled"
        try:
            answer = await self._within_deadline(operation, path, params or {}, progress)
            result = "missing" if answer is None else "ok"
        except GatewayError as error:
            result = error.code
            raise
        finally:
            seconds = time.monotonic() - started
            self._observe(GatewayCall(operation=operation, result=result, seconds=seconds, attempts=progress.attempts))
        return answer

    async def _within_deadline(self, operation: str, path: str, params: Json, progress: "_Progress") -> Json | None:
        try:
            async with asyncio.timeout(self._policy.deadline.total_seconds()):
                return await self._with_retries(operation, path, params, progress)
        except _AttemptFailedError as failed:
            raise failed.error from failed.__cause__
        except TimeoutError:
            raise GatewayUnavailableError(f"{operation}: out of time") from None

    async def _with_retries(self, operation: str, path: str, params: Json, progress: "_Progress") -> Json | None:
        policy = self._policy
        async for attempt in stamina.retry_context(
            on=self._again,
            attempts=policy.attempts,
            timeout=None,
            wait_initial=policy.wait_initial,
            wait_max=policy.wait_max,
            wait_jitter=policy.wait_initial,
        ):
            with attempt:
                progress.attempts += 1
                return await self._attempt(operation, path, params)
        raise AssertionError("stamina either returns or raises")

    def _again(self, error: Exception) -> bool | timedelta:
        """Decide whether to retry, or after which wait: a little longer than Stripe asks for, to spread the load."""
        if not isinstance(error, _AttemptFailedError) or not error.again:
            return False
        if error.retry_after is None:
            return True
        if error.retry_after > self._policy.longest_retry_after:
            return False
        return error.retry_after + random.uniform(0, 1) * self._policy.wait_initial  # noqa: S311 - spreads load

    async def _attempt(self, operation: str, path: str, params: Json) -> Json | None:
        try:
            response = await self._sdk.raw_request_async("get", path, **params)
        except stripe.APIConnectionError as exc:
            raise _unreachable(operation, exc) from exc
        except stripe.StripeError as exc:
            if exc.http_status == 404 and exc.code in _UNKNOWN:
                return None
            raise _refused(operation, exc) from None
        except (aiohttp.ClientError, TimeoutError) as exc:  # the SDK reads the body outside of its own error handling
            raise _unreachable(operation, exc) from exc
        except (AttributeError, TypeError, ValueError):  # what the SDK raises for bodies that are not Stripe's JSON
            raise _nonsense(operation) from None
        if not isinstance(response.data, dict):
            raise _nonsense(operation)
        return response.data


@asynccontextmanager
async def open_client(
    *,
    secret_key: str,
    api_version: str,
    base_url: str | None = None,
    policy: CallPolicy | None = None,
    observe: Callable[[GatewayCall], None] = _unobserved,
) -> AsyncIterator[ApiClient]:
    """Open a client with a connection pool of its own.

    Args:
        secret_key: a secret or restricted key.
        api_version: the version in which objects are fetched.
        base_url: another address of the API, for tests against a fake.
        policy: limits of each call.
        observe: receives a report after every call.
    """
    _quiet_sdk()
    policy = policy or CallPolicy()
    timeout = aiohttp.ClientTimeout(
        total=policy.attempt_timeout.total_seconds(), connect=policy.connect_timeout.total_seconds()
    )
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        sdk = stripe.StripeClient(
            secret_key,
            stripe_version=api_version,
            max_network_retries=0,
            http_client=stripe.AIOHTTPClient(session=session, timeout=timeout),
            base_addresses={} if base_url is None else {"api": base_url.rstrip("/")},
        )
        yield ApiClient(sdk, policy, observe)


def _quiet_sdk() -> None:
    """Switch off SDK features that can only be switched off for a whole process.

    Its telemetry writes an identifier into the home directory. It logs every path at level INFO, with error
    messages, and whole bodies at DEBUG; a level that was set on purpose is kept.
    """
    stripe.enable_telemetry = False
    log = logging.getLogger("stripe")
    if log.level == logging.NOTSET:
        log.setLevel(logging.WARNING)


@attrs.define
class _Progress:
    """Counter of attempts for the report, which is also due when a call is canceled during an attempt."""

    attempts: int = 0


class _AttemptFailedError(Exception):
    """Failure of one attempt. It has no text: Stripe's may contain names or keys, and retry hooks log it."""

    def __init__(self, error: GatewayError, *, again: bool, retry_after: timedelta | None = None) -> None:
        super().__init__()
        self.error = error
        self.again = again
        self.retry_after = retry_after


def _unreachable(operation: str, exc: Exception) -> _AttemptFailedError:
    reason = type(exc.__cause__ or exc).__name__
    return _AttemptFailedError(GatewayUnavailableError(f"{operation}: {reason}"), again=True)


def _nonsense(operation: str) -> _AttemptFailedError:
    """Return the error for an answer that is not from Stripe but from something between."""
    return _AttemptFailedError(GatewayUnavailableError(f"{operation}: not an answer of Stripe's"), again=True)


def _refused(operation: str, exc: stripe.StripeError) -> _AttemptFailedError:
    """Translate an error answer. Its text has status, code, parameter and request id, never Stripe's message."""
    headers: Mapping[str, str] = exc.headers or {}
    retry_after = _seconds(headers.get("Retry-After"))
    error, again = _classified(_summary(operation, exc), exc, retry_after)
    advice = headers.get("Stripe-Should-Retry")
    if advice in ("true", "false"):
        again = advice == "true"
    return _AttemptFailedError(error, again=again, retry_after=retry_after)


def _classified(text: str, exc: stripe.StripeError, retry_after: timedelta | None) -> tuple[GatewayError, bool]:
    """Return the error to raise in the end, and whether an immediate retry may help."""
    status = exc.http_status or 0
    if isinstance(exc, stripe.RateLimitError) or status == 429:
        return GatewayRateLimitedError(text, retry_after=retry_after), True
    if status in (401, 403):
        return GatewayUnauthorizedError(text), False
    if status == 409 or status >= 500 or status < 400:  # below 400: the body was not JSON
        return GatewayUnavailableError(text), True
    if getattr(exc, "param", None) == _CURSOR:  # the last member of the previous page is gone: read the list again
        return GatewayUnavailableError(text), False
    return GatewayRejectedError(text), False


def _summary(operation: str, exc: stripe.StripeError) -> str:
    details = [str(exc.http_status), exc.code, getattr(exc, "param", None), exc.request_id]
    return f"{operation}: {' '.join(detail for detail in details if isinstance(detail, str))}"


def _seconds(text: str | None) -> timedelta | None:
    """Parse a `Retry-After` in seconds, the form that Stripe uses; ignore a date."""
    if text is None or not text.isascii() or not text.isdigit():
        return None
    return timedelta(seconds=min(int(text), 86_400))
