"""One way to Stripe's API: a bounded number of attempts within a bounded time, and errors in our terms.

The SDK's own retries are off. They leave out 429 and `Retry-After`, and a connection that breaks in the middle of a
body leaves the SDK as a raw aiohttp error. So there is one loop, here, around every request. (Below it, aiohttp sends a
GET once more when the connection is lost before any answer, as HTTP allows; it has no switch for that.)
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
"""How the two generations of the API say that there is no such object. Any other 404 means a wrong address."""
_CURSOR: Final = "starting_after"


@attrs.frozen(kw_only=True)
class CallPolicy:
    """How hard and how long one call tries."""

    attempts: int = 4
    connect_timeout: timedelta = timedelta(seconds=5)
    attempt_timeout: timedelta = timedelta(seconds=15)
    deadline: timedelta = timedelta(seconds=40)
    """A call ends by then, attempts and waits included."""
    wait_initial: timedelta = timedelta(milliseconds=250)
    wait_max: timedelta = timedelta(seconds=5)
    longest_retry_after: timedelta = timedelta(seconds=10)
    """A longer wait than this that Stripe asks for is left to the caller, who can do something else meanwhile."""


@attrs.frozen(kw_only=True)
class GatewayCall:
    """How one call went, for metrics: both words are from closed sets."""

    operation: str
    result: str
    """`ok`, `missing`, `canceled`, or the code of the error."""
    seconds: float
    attempts: int


def _unobserved(_call: GatewayCall) -> None:
    """Nobody watches."""


class ApiClient:
    """Reads from Stripe's API. Made by `open_client`."""

    def __init__(self, sdk: stripe.StripeClient, policy: CallPolicy, observe: Callable[[GatewayCall], None]) -> None:
        self._sdk = sdk
        self._policy = policy
        self._observe = observe

    async def get(self, operation: str, path: str, params: Json | None = None) -> Json | None:
        """The JSON object at `path`, in the pinned API version, or None when Stripe knows of none.

        Args:
            operation: our name of the call, one of a closed set: for metrics and errors.
            path: such as `/v1/invoices/in_1`, its parts quoted.
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
        """Whether another attempt may help, or when: a little later than Stripe asks for, lest all come at once."""
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
        except (AttributeError, TypeError, ValueError):  # how the SDK takes bodies that are not JSON of Stripe's making
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
    """A client with a connection pool of its own, closed at the end of the block.

    Args:
        secret_key: a secret or restricted key.
        api_version: the version that everything fetched is rendered in.
        base_url: another address of the API, for tests against a fake.
        policy: how hard and how long a call tries.
        observe: told of every call when it is over.
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
    """Switch off what the SDK can only switch off for a whole process.

    Its telemetry writes an identifier into the home directory. Its log says every path at level INFO, error messages
    included, and whole bodies at DEBUG; whoever set a level for it meant that, and keeps it.
    """
    stripe.enable_telemetry = False
    log = logging.getLogger("stripe")
    if log.level == logging.NOTSET:
        log.setLevel(logging.WARNING)


@attrs.define
class _Progress:
    """Counts attempts for the report, which is also due when the call is cancelled in the middle of one."""

    attempts: int = 0


class _AttemptFailedError(Exception):
    """One attempt. It has no text: what Stripe wrote may name people or keys, and retry hooks log what they see."""

    def __init__(self, error: GatewayError, *, again: bool, retry_after: timedelta | None = None) -> None:
        super().__init__()
        self.error = error
        self.again = again
        self.retry_after = retry_after


def _unreachable(operation: str, exc: Exception) -> _AttemptFailedError:
    reason = type(exc.__cause__ or exc).__name__
    return _AttemptFailedError(GatewayUnavailableError(f"{operation}: {reason}"), again=True)


def _nonsense(operation: str) -> _AttemptFailedError:
    """Something between us and Stripe answered in its place."""
    return _AttemptFailedError(GatewayUnavailableError(f"{operation}: not an answer of Stripe's"), again=True)


def _refused(operation: str, exc: stripe.StripeError) -> _AttemptFailedError:
    """An error answer in our terms. Its text is for people: status, code, parameter and request, never the message."""
    headers: Mapping[str, str] = exc.headers or {}
    retry_after = _seconds(headers.get("Retry-After"))
    error, again = _classified(_summary(operation, exc), exc, retry_after)
    advice = headers.get("Stripe-Should-Retry")
    if advice in ("true", "false"):
        again = advice == "true"
    return _AttemptFailedError(error, again=again, retry_after=retry_after)


def _classified(text: str, exc: stripe.StripeError, retry_after: timedelta | None) -> tuple[GatewayError, bool]:
    """The error to raise in the end, and whether trying again at once may help."""
    status = exc.http_status or 0
    if isinstance(exc, stripe.RateLimitError) or status == 429:
        return GatewayRateLimitedError(text, retry_after=retry_after), True
    if status in (401, 403):
        return GatewayUnauthorizedError(text), False
    if status == 409 or status >= 500 or status < 400:  # below 400: a body that is no JSON
        return GatewayUnavailableError(text), True
    if getattr(exc, "param", None) == _CURSOR:  # what the last page ended with is gone: the list has to be read anew
        return GatewayUnavailableError(text), False
    return GatewayRejectedError(text), False


def _summary(operation: str, exc: stripe.StripeError) -> str:
    details = [str(exc.http_status), exc.code, getattr(exc, "param", None), exc.request_id]
    return f"{operation}: {' '.join(detail for detail in details if isinstance(detail, str))}"


def _seconds(text: str | None) -> timedelta | None:
    """A `Retry-After` in seconds, the form that Stripe uses; a date is taken for none."""
    if text is None or not text.isascii() or not text.isdigit():
        return None
    return timedelta(seconds=min(int(text), 86_400))
