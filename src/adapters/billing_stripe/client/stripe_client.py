"""The client of Stripe's API: a bounded number of attempts within a bounded time, and our own errors.

The SDK's own retries are off: they ignore 429 and `Retry-After`, and a connection that breaks in the middle of a body
raises a raw aiohttp error. So there is one retry loop, here, around every request. (Below it, aiohttp repeats a GET
once when the connection is lost before any answer, as HTTP allows; that cannot be switched off.)
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
import attrs
import stamina

from billing_core.errors import GatewayError, GatewayNotFoundError, GatewayUnavailableError
from billing_stripe.client import outcomes
from billing_stripe.client.outcomes import AttemptFailedError, Executed, Pace, Refusal
from billing_stripe.client.policy import CallPolicy
from billing_stripe.client.requests import Json, Priority, StripeAnswer, StripeRequest
from billing_stripe.client.transport import Reply, Transport

_ORGANIZATION_KEY: Final = "sk_org_"
_KEEPALIVE: Final = 50.0
"""Seconds for which an idle connection is kept."""


@attrs.frozen(kw_only=True)
class GatewayCall:
    """Result of one call, for metrics and the log; operation and result are from closed sets."""

    operation: str
    plan_code: str = ""
    result: str
    """`ok`, `canceled`, `bug`, or the code of the error."""
    seconds: float
    attempts: int
    request_id: str | None = None
    original_request: str | None = None


def _unobserved(_call: GatewayCall) -> None:
    """Ignore the report."""


class StripeClient:
    """Access to Stripe's API for one event loop; see `open_client`."""

    def __init__(
        self,
        transport: Transport,
        *,
        policy: CallPolicy,
        observe: Callable[[GatewayCall], None],
        context: str | None = None,
        needs_context: bool = False,
    ) -> None:
        self._transport = transport
        self._policy = policy
        self._observe = observe
        self._context = context
        self._needs_context = needs_context
        self._loop = asyncio.get_running_loop()

    async def call(self, request: StripeRequest) -> StripeAnswer:
        """Make a call, with as many attempts as its policy allows, all with the same idempotency key.

        Raises: GatewayError. Its `outcome_unknown` says that a write may have been carried out all the same: by any
        of the attempts. ValueError for the key of an organization without a context, RuntimeError in another event
        loop than the one that the client was opened in.
        """
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("a StripeClient belongs to the event loop that opened it")
        if self._needs_context and request.account is None and (request.context or self._context) is None:
            raise ValueError(f"{request.operation}: the key of an organization needs a context")
        progress = _Progress()
        started = time.monotonic()
        result = "bug"
        answer: StripeAnswer | None = None
        try:
            answer = await self._within_deadline(request, progress)
            result = "ok"
        except GatewayError as error:
            result = error.code
            raise
        except asyncio.CancelledError:
            result = "canceled"
            raise
        finally:
            self._observe(
                GatewayCall(
                    operation=request.operation,
                    plan_code=request.plan_code,
                    result=result,
                    seconds=time.monotonic() - started,
                    attempts=progress.attempts,
                    request_id=progress.request_id,
                    original_request=None if answer is None else answer.original_request,
                )
            )
        return answer

    async def get(
        self, operation: str, *ids: str, params: Json | None = None, priority: Priority = "interactive"
    ) -> Json | None:
        """Return the object or the list that a reading call answers with, or None if Stripe knows no such object.

        Raises: GatewayError, and ValueError as `StripeRequest` does.
        """
        request = StripeRequest(operation=operation, ids=ids, params=params or {}, priority=priority)
        try:
            return (await self.call(request)).data
        except GatewayNotFoundError:
            return None

    async def _within_deadline(self, request: StripeRequest, progress: "_Progress") -> StripeAnswer:
        try:
            async with asyncio.timeout(self._policy.deadline.total_seconds()):
                return await self._with_retries(request, progress)
        except AttemptFailedError as failed:
            failed.error.outcome_unknown = request.writes and progress.may_have_run
            raise failed.error from failed.__cause__
        except TimeoutError:
            unknown = request.writes and (progress.may_have_run or progress.in_flight)
            raise GatewayUnavailableError(f"{request.operation}: out of time", outcome_unknown=unknown) from None

    async def _with_retries(self, request: StripeRequest, progress: "_Progress") -> StripeAnswer:
        policy = self._policy
        async for attempt in stamina.retry_context(
            on=lambda error: self._wait_after(error, progress.attempts), attempts=policy.attempts, timeout=None
        ):
            with attempt:
                progress.attempts += 1
                progress.in_flight = True
                try:
                    return await self._attempt(request, progress)
                except AttemptFailedError as failed:
                    progress.failed(failed)
                    raise
        raise AssertionError("stamina either returns or raises")

    def _wait_after(self, error: Exception, attempts: int) -> bool | timedelta:
        """Return the wait before the next attempt, or False if there is none."""
        if not isinstance(error, AttemptFailedError) or not error.again:
            return False
        policy = self._policy
        if error.retry_after is None:
            backoffs = {Pace.NORMAL: policy.backoff, Pace.LOCK: policy.lock_backoff, Pace.LOAD: policy.load_backoff}
            return backoffs[error.pace].after(attempts)
        if error.retry_after > policy.longest_retry_after:
            return False
        return error.retry_after + policy.backoff.after(1)  # a little longer than asked for, to spread the load

    async def _attempt(self, request: StripeRequest, progress: "_Progress") -> StripeAnswer:
        if self._transport.closed:
            raise outcomes.closed(request.operation)
        try:
            reply, data = await self._transport.send(request, self._context)
        except Exception as exc:
            failed = outcomes.unreachable(request.operation, exc)
            if failed is None:
                raise
            raise failed from exc
        progress.request_id = outcomes.request_id(reply.headers, "Request-Id")
        if not 200 <= reply.status < 300:
            refusal = Refusal.read(reply.status, reply.headers, reply.body or b"")
            raise outcomes.refused(request.operation, refusal)
        if not isinstance(data, dict):
            raise outcomes.unreadable(request.operation, reply.status)
        return _answer(reply, data)


def _answer(reply: Reply, data: Json) -> StripeAnswer:
    headers = reply.headers
    return StripeAnswer(
        data=data,
        request_id=outcomes.request_id(headers, "Request-Id"),
        original_request=outcomes.request_id(headers, "Original-Request"),
        replayed=outcomes.replayed(headers),
        answered_at=_date(headers.get("Date")),
    )


def _date(text: str | None) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return None if parsed.tzinfo is None else parsed.astimezone(UTC)


@attrs.define
class _Progress:
    """The attempts of a call so far, for its report and for the truth about a write that failed."""

    attempts: int = 0
    in_flight: bool = False
    may_have_run: bool = False
    request_id: str | None = None

    def failed(self, failure: AttemptFailedError) -> None:
        """Note the end of an attempt. What it settles, it settles for the earlier ones with the same key as well."""
        self.in_flight = False
        if failure.executed is not Executed.NO:
            self.may_have_run = failure.executed is Executed.UNKNOWN


@asynccontextmanager
async def open_client(
    *,
    secret_key: str,
    api_version: str,
    base_url: str | None = None,
    policy: CallPolicy | None = None,
    context: str | None = None,
    observe: Callable[[GatewayCall], None] = _unobserved,
) -> AsyncIterator[StripeClient]:
    """Open a client with a connection pool of its own, for the running event loop.

    Args:
        secret_key: a secret or restricted key, or the key of an organization.
        api_version: the version in which objects are fetched.
        base_url: another address of the API, for tests against a fake.
        policy: limits of each call.
        context: the account of calls that name none; only for the key of an organization.
        observe: receives a report after every call.
    """
    policy = policy or CallPolicy()
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE)  # a wait for a connection would time out
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        transport = Transport(session, secret_key=secret_key, api_version=api_version, policy=policy, base_url=base_url)
        yield StripeClient(
            transport,
            policy=policy,
            observe=observe,
            context=context,
            needs_context=secret_key.startswith(_ORGANIZATION_KEY),
        )
