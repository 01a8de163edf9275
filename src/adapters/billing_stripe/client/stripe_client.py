"""The client of Stripe's API: our own limits, one retry loop, a circuit breaker, and our own errors.

The SDK's own retries are off: they ignore 429 and `Retry-After`, and a connection that breaks in the middle of a body
raises a raw aiohttp error. (Below the retry loop, aiohttp repeats a GET once when the connection is lost before any
answer, as HTTP allows; that cannot be switched off.)
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp

from billing_core.errors import GatewayError, GatewayNotFoundError
from billing_core.operations.call_limits import CallLimits, Priority
from billing_core.operations.call_reports import Circuit, CircuitChange, GatewayCall
from billing_core.operations.ports import CallLimiter
from billing_stripe.client import outcomes
from billing_stripe.client.breaker import CircuitBreaker, CircuitPolicy, Passage
from billing_stripe.client.limits import CallGate
from billing_stripe.client.local_limiter import LocalCallLimiter
from billing_stripe.client.outcomes import AttemptFailedError, Refusal
from billing_stripe.client.policy import CallPolicy
from billing_stripe.client.requests import Json, StripeAnswer, StripeRequest
from billing_stripe.client.retries import Progress, with_retries
from billing_stripe.client.transport import Reply, Transport

_ORGANIZATION_KEY: Final = "sk_org_"
_KEEPALIVE: Final = 50.0
"""Seconds for which an idle connection is kept."""
_PAGE: Final = 100
"""Stripe's maximum."""
_SANDBOX_LIMITS: Final = CallLimits(rate=20, endpoint_rate=20, in_flight=20)
"""80 % of the lowest rates that Stripe allows. Source: https://docs.stripe.com/rate-limits"""


def _ignore(_report: object) -> None:
    """Take a report and do nothing."""


class StripeClient:
    """Access to Stripe's API for one event loop; see `open_client`."""

    def __init__(
        self,
        transport: Transport,
        *,
        policy: CallPolicy,
        gate: CallGate,
        breaker: CircuitBreaker,
        observe: Callable[[GatewayCall], None] = _ignore,
        context: str | None = None,
        needs_context: bool = False,
    ) -> None:
        self._transport = transport
        self._policy = policy
        self._gate = gate
        self._breaker = breaker
        self._observe = observe
        self._context = context
        self._needs_context = needs_context
        self._loop = asyncio.get_running_loop()

    @property
    def circuit(self) -> Circuit:
        """Whether calls are sent at all."""
        return self._breaker.state

    @property
    def in_flight(self) -> int:
        """Requests that are on their way."""
        return self._gate.in_flight

    async def call(self, request: StripeRequest) -> StripeAnswer:
        """Make a call, with as many attempts as its policy allows, all with the same idempotency key.

        Raises: GatewayError. Its `outcome_unknown` says that a write may have been carried out all the same: by any
        of the attempts. ValueError for the key of an organization without a context, RuntimeError in another event
        loop than the one that the client was opened in.
        """
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("a StripeClient belongs to the event loop that opened it")
        if self._needs_context and (request.account is not None or (request.context or self._context) is None):
            raise ValueError(f"{request.operation}: the key of an organization needs a context, not an account")
        progress = Progress()
        started = time.monotonic()
        answer: StripeAnswer | None = None
        result = "bug"
        try:
            answer = await with_retries(request, self._policy, progress, self._attempt)
            result = "ok"
        except GatewayError as error:
            result = error.code
            raise
        except asyncio.CancelledError:
            result = "canceled"
            raise
        finally:
            seconds = time.monotonic() - started
            self._observe(_report(request, progress, answer, result=result, seconds=seconds))
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

    async def each(self, operation: str, *ids: str, params: Json | None = None) -> AsyncIterator[Json]:
        """Yield the members of a list, page by page; none if Stripe does not know the object that the list is of.

        Raises: GatewayError, and ValueError as `StripeRequest` does.
        """
        cursor: dict[str, str] = {}
        while True:
            page = await self.get(operation, *ids, params={**(params or {}), "limit": _PAGE, **cursor}) or {}
            rows = page.get("data") or []
            for row in rows:
                yield row
            if not rows or not page.get("has_more"):
                return
            cursor = {"starting_after": rows[-1]["id"]}

    async def _attempt(self, request: StripeRequest, progress: Progress) -> StripeAnswer:
        """Make one attempt, if the circuit lets it through. Raises: AttemptFailedError."""
        if self._transport.closed:
            raise outcomes.closed(request.operation)
        only_reads = request.endpoint.method == "get"
        if self._breaker.passage() is Passage.PROBE and not only_reads:
            with suppress(AttemptFailedError):
                await self._probe(_probe_for(request), Progress())
        match self._breaker.passage():
            case Passage.FREE:
                return await self._through_gate(request, progress)
            case Passage.PROBE if only_reads:
                return await self._probe(request, progress)
        raise outcomes.blocked(request.operation, self._breaker.cause)

    async def _probe(self, request: StripeRequest, progress: Progress) -> StripeAnswer:
        with self._breaker.probing():
            return await self._through_gate(request, progress)

    async def _through_gate(self, request: StripeRequest, progress: Progress) -> StripeAnswer:
        """Send a request as soon as the limits have room for it, and note what its outcome says about both."""
        endpoint = request.endpoint.name
        async with self._gate.passed(endpoint, request.priority, waited=progress.waited):
            progress.attempts += 1
            progress.sending = True
            try:
                answer = await self._send(request, progress)
            except AttemptFailedError as failed:
                progress.sending = False
                self._breaker.failed(failed.error)
                failed.again &= self._breaker.state is not Circuit.OPEN
                if failed.limited is not None:
                    progress.limited.append(failed.limited)
                    await self._slow_down(endpoint, failed.limited)
                raise
            self._breaker.answered()
            return answer

    async def _slow_down(self, endpoint: str, reason: str) -> None:
        """Send less after a refusal for load; a locked object is none."""
        if reason != outcomes.LOCKED:
            await self._gate.slow_down(None if reason.startswith("global") else endpoint)

    async def _send(self, request: StripeRequest, progress: Progress) -> StripeAnswer:
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


def _probe_for(request: StripeRequest) -> StripeRequest:
    """Return a reading request, for the account that a write is meant for."""
    return StripeRequest(operation="list_prices", params={"limit": 1}, account=request.account, context=request.context)


def _report(
    request: StripeRequest, progress: Progress, answer: StripeAnswer | None, *, result: str, seconds: float
) -> GatewayCall:
    return GatewayCall(
        operation=request.operation,
        plan_code=request.plan_code,
        result=result,
        seconds=seconds,
        attempts=progress.attempts,
        request_id=progress.request_id,
        original_request=None if answer is None else answer.original_request,
        retries=tuple(progress.retries),
        limited=tuple(progress.limited),
    )


def _answer(reply: Reply, data: dict[str, Any]) -> StripeAnswer:
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


@asynccontextmanager
async def open_client(
    *,
    secret_key: str,
    api_version: str,
    base_url: str | None = None,
    policy: CallPolicy | None = None,
    circuit: CircuitPolicy | None = None,
    limiter: CallLimiter | None = None,
    context: str | None = None,
    observe: Callable[[GatewayCall], None] = _ignore,
    observe_circuit: Callable[[CircuitChange], None] = _ignore,
) -> AsyncIterator[StripeClient]:
    """Open a client with a connection pool of its own, for the running event loop.

    Args:
        secret_key: a secret or restricted key, or the key of an organization.
        api_version: the version in which objects are fetched.
        base_url: another address of the API, for tests against a fake.
        policy: limits of each call.
        circuit: when calls are no longer sent.
        limiter: counts calls; by default those of this client, by the limits of a sandbox.
        context: the account of calls that name none; only for the key of an organization.
        observe: receives a report after every call.
        observe_circuit: receives every change of the circuit.
    """
    policy = policy or CallPolicy()
    gate = CallGate(limiter or LocalCallLimiter(_SANDBOX_LIMITS))
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE)  # a wait for a connection would time out
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        transport = Transport(session, secret_key=secret_key, api_version=api_version, policy=policy, base_url=base_url)
        try:
            yield StripeClient(
                transport,
                policy=policy,
                gate=gate,
                breaker=CircuitBreaker(circuit or CircuitPolicy(), observe_circuit),
                observe=observe,
                context=context,
                needs_context=secret_key.startswith(_ORGANIZATION_KEY),
            )
        finally:
            await gate.close()
