"""The way of a request: authentication, limits, the idempotency key, faults, and the endpoint in a transaction."""

import asyncio
import itertools
import re
from contextlib import ExitStack
from email.utils import format_datetime
from typing import TYPE_CHECKING

from aiohttp import web

from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.answers import Result, answer_to, encoded, failed
from billing_stripe.testing.fake_stripe.errors import Json, StripeError, invalid
from billing_stripe.testing.fake_stripe.faults import Point
from billing_stripe.testing.fake_stripe.idempotency import IdempotencyKeys, Stored
from billing_stripe.testing.fake_stripe.journal import Cause
from billing_stripe.testing.fake_stripe.limits import Load
from billing_stripe.testing.fake_stripe.meter_sessions import STREAM, is_open
from billing_stripe.testing.fake_stripe.observing import Exchange, Received
from billing_stripe.testing.fake_stripe.reading import ApiRequest, key_of, params_of
from billing_stripe.testing.fake_stripe.routing import Router

if TYPE_CHECKING:
    from billing_stripe.testing.fake_stripe.server import FakeStripe

_VERSION = re.compile(r"20\d\d-\d\d-\d\d(\.[a-z]+)?")


class Api:
    """The API of a fake."""

    def __init__(self, fake: "FakeStripe", router: Router) -> None:
        self._fake = fake
        self._router = router
        self._keys: dict[str, IdempotencyKeys] = {}
        self._loads: dict[str, Load] = {}
        self._executions: set[asyncio.Task[web.StreamResponse]] = set()
        self._request_numbers = itertools.count(1)

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        body = await request.read()
        self._fake.requests.append(
            Received(
                method=request.method,
                path=request.path,
                query=dict(request.query),
                headers=request.headers.copy(),
                body=body,
            )
        )
        request_id = f"req_{next(self._request_numbers):014}"
        response = await self._fake.faults.strike("before", request)
        if response is None:
            # A client that goes away does not end what it began.
            execution = asyncio.create_task(self._execute(request, request_id))
            self._executions.add(execution)
            execution.add_done_callback(self._executions.discard)
            response = await asyncio.shield(execution)
            replaced = await self._fake.faults.strike("answering", request)
            response = response if replaced is None else replaced
        if not response.prepared:
            response.headers.setdefault("Request-Id", request_id)
            response.headers.setdefault("Date", format_datetime(self._fake.clock.now(), usegmt=True))
        return response

    async def _execute(self, http: web.Request, request_id: str) -> web.StreamResponse:
        try:
            request = self._read(http, request_id, await http.read())
        except StripeError as exc:
            return failed(exc).response()
        load = self._load_of(request.account)
        try:
            with ExitStack() as held:
                held.enter_context(load.admitted(f"{http.method} {request.route.path}", self._fake.limits))
                held.enter_context(load.locked(request.changed_id))
                await asyncio.sleep(self._fake.limits.latency.total_seconds())
                response = await self._once(request)
        except StripeError as exc:
            response = failed(exc).response()
        response.headers["Stripe-Version"] = request.api_version
        return response

    def _read(self, http: web.Request, request_id: str, body: bytes) -> ApiRequest:
        self._authenticate(http)
        version = http.headers.get("Stripe-Version", self._fake.account.api_version)
        if not _VERSION.fullmatch(version):
            raise invalid(f"Invalid Stripe API version: {version}")
        route, ids = self._router.find(http.method, http.rel_url.raw_path)
        return ApiRequest(
            http=http,
            request_id=request_id,
            body=body,
            params=params_of(http, body),
            account=self._account_of(http),
            api_version=version,
            route=route,
            ids=ids,
        )

    async def _once(self, request: ApiRequest) -> web.StreamResponse:
        """Execute a request, or replay the answer to the first one with its key."""
        if request.key is None:
            return (await self._executed(request))[0]
        keys = self._keys_of(request.account)
        stored = keys.claim(request.generation, request.key, request.fingerprint, request.account.now)
        echo = {"Idempotency-Key": request.key, "Original-Request": request.request_id}
        if stored is not None:
            echo |= {"Idempotent-Replayed": "true", "Original-Request": stored.request_id}
            return Result(stored.status, stored.body, echo).response()
        kept: Stored | None = None
        try:
            response, result = await self._executed(request)
            if result is not None:
                kept = Stored(status=result.status, body=result.body, request_id=request.request_id)
        finally:
            keys.settle(request.generation, request.key, kept)
        if not response.prepared:
            response.headers.update(echo)
        return response

    async def _executed(self, request: ApiRequest) -> tuple[web.StreamResponse, Result | None]:
        """Return the response, and what the idempotency key keeps of it: nothing if nothing was executed."""
        struck = await self._struck("executing", request)
        if struck is not None:
            return struck
        result, executed = self._answer(request)
        struck = await self._struck("executed", request)
        if struck is not None:
            return struck[0], struck[1] or result
        return result.response(), result if executed else None

    async def _struck(self, at: Point, request: ApiRequest) -> tuple[web.StreamResponse, Result | None] | None:
        """Return what a fault answers, and the part of it that is stored."""
        response = await self._fake.faults.strike(at, request.http)
        if response is None:
            return None
        if at == "executing":
            self._notify(request, response.status, None)
        kept = response.status not in (409, 429)
        if kept and isinstance(response, web.Response) and isinstance(response.body, bytes):
            return response, Result(response.status, response.body)
        return response, None

    def _answer(self, request: ApiRequest) -> tuple[Result, bool]:
        """Return the true answer, and whether the endpoint was executed."""
        cause = Cause(request_id=request.request_id, idempotency_key=request.key)
        try:
            with request.account.transaction(cause):
                shown = answer_to(request)
        except StripeError as exc:
            self._notify(request, exc.status, exc.body)
            return failed(exc), exc.executed
        self._notify(request, 200, shown)
        return encoded(shown), True

    def _notify(self, request: ApiRequest, status: int, answer: Json | None) -> None:
        exchange = Exchange(
            method=request.http.method,
            path=request.http.rel_url.raw_path,
            endpoint=request.route.path,
            api_version=request.api_version,
            query=request.http.rel_url.raw_query_string,
            headers=request.http.headers,
            body=request.body,
            status=status,
            answer=answer,
        )
        for observer in self._fake.observers:
            observer.exchanged(exchange)

    def _authenticate(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "")
        if not given:
            raise StripeError(401, "You did not provide an API key.", executed=False)
        if request.path == STREAM:
            if not is_open(self._account_of(request), key_of(given)):
                kind = "temporary_session_expired"
                raise StripeError(401, "The session's token is not valid any more.", type=kind, executed=False)
            return
        if key_of(given) not in self._fake.secret_keys:
            raise StripeError(401, f"Invalid API Key provided: {'*' * 8}{given[-4:]}", executed=False)

    def _account_of(self, request: web.Request) -> Account:
        headers = request.headers
        named = headers.get("Stripe-Account") or headers.get("Stripe-Context", "").rpartition("/")[2]
        if not named:
            return self._fake.account
        if named not in self._fake.accounts:
            raise StripeError(
                403,
                f"The provided key does not have access to account '{named}' (or that account does not exist). "
                "Application access may have been revoked.",
                code="account_invalid",
                executed=False,
            )
        return self._fake.accounts[named]

    def _keys_of(self, account: Account) -> IdempotencyKeys:
        return self._keys.setdefault(account.account_id, IdempotencyKeys())

    def _load_of(self, account: Account) -> Load:
        return self._loads.setdefault(account.account_id, Load())
