"""The fake Stripe's HTTP server."""

import asyncio
import itertools
import json
import re
import secrets
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import datetime, timedelta
from email.utils import format_datetime
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import attrs
from aiohttp import web

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import resources
from billing_stripe.testing.fake_stripe.account import Account, Deleted
from billing_stripe.testing.fake_stripe.billing import authentication
from billing_stripe.testing.fake_stripe.billing.settings import BillingSettings, change_settings
from billing_stripe.testing.fake_stripe.clock import Clock
from billing_stripe.testing.fake_stripe.due import pass_time
from billing_stripe.testing.fake_stripe.errors import Json, StripeError, invalid
from billing_stripe.testing.fake_stripe.expansion import expand
from billing_stripe.testing.fake_stripe.faults import Fault, Point
from billing_stripe.testing.fake_stripe.forms import TEXT, Form, Listed, Tree, decode
from billing_stripe.testing.fake_stripe.idempotency import IdempotencyKeys, Stored
from billing_stripe.testing.fake_stripe.journal import Cause
from billing_stripe.testing.fake_stripe.limits import Limits, Load
from billing_stripe.testing.fake_stripe.observing import Exchange, Observer
from billing_stripe.testing.fake_stripe.pages import listed, page
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Page, Resource, Route, Router
from billing_stripe.testing.fake_stripe.webhooks import DeliveryPolicy, WebhookSender
from billing_stripe.testing.versions import API_VERSIONS

_VERSION = re.compile(r"20\d\d-\d\d-\d\d(\.[a-z]+)?")
_PAGING = ("limit", "starting_after", "ending_before")

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


@attrs.frozen(kw_only=True)
class Received:
    """One request as it arrived, before authentication."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False, default=b"")


@attrs.frozen
class _Result:
    status: int
    body: bytes
    headers: Mapping[str, str] = attrs.field(factory=dict)


@attrs.define
class _PendingFault:
    """A fault for the next requests of a path."""

    method: str
    pattern: str
    fault: Fault
    times: int
    at: Point


@attrs.frozen(kw_only=True)
class _Request:
    """One request on its way through the fake."""

    http: web.Request
    request_id: str
    body: bytes
    params: Tree
    account: Account
    api_version: str
    route: Route
    ids: Mapping[str, str]

    @property
    def generation(self) -> int:
        return 2 if self.route.path.startswith("/v2/") else 1

    @property
    def key(self) -> str | None:
        """The idempotency key, where the endpoint takes one."""
        takes = self.http.method == "POST" or (self.generation == 2 and self.http.method == "DELETE")
        return self.http.headers.get("Idempotency-Key") if takes else None

    @property
    def changed_id(self) -> str | None:
        """The object that the request may change."""
        return None if self.http.method == "GET" else self.ids.get("id")


class FakeStripe:
    """A running fake: its accounts, its clock, its faults, and what it received and sent. See `fake_stripe`."""

    observers: ClassVar[list[Observer]] = []
    """Of all fakes of the process."""

    def __init__(
        self,
        *,
        secret_key: str = "sk_test_fake",  # noqa: S107 - opens nothing but this fake
        api_version: str = API_VERSIONS[-1],
        clock: Clock | None = None,
        seed: str | None = None,
        delivery: DeliveryPolicy | None = None,
        contributed: tuple[Resource, ...] = resources.ALL,
    ) -> None:
        """Create a fake that does not listen yet. The arguments are those of `fake_stripe`.

        `contributed` are the resources of its API.
        """
        self.secret_key = secret_key
        self.url = ""
        self.clock = clock or Clock()
        self.limits = Limits()
        self.requests: list[Received] = []
        self._api_version = api_version
        self._seed = secrets.token_hex(8) if seed is None else seed
        self._resources = contributed
        self._due = tuple(due for resource in contributed for due in resource.due)
        self._router = Router(route for resource in contributed for route in resource.routes)
        self._faults: list[_PendingFault] = []
        self._keys: dict[str, IdempotencyKeys] = {}
        self._loads: dict[str, Load] = {}
        self.closed = asyncio.Event()
        """Set at the end, for connections that stay open."""
        self._closing = asyncio.Event()
        self._executions: set[asyncio.Task[web.StreamResponse]] = set()
        self._request_numbers = itertools.count(1)
        targets = [targets for resource in contributed for targets in resource.targets]
        self.webhooks = WebhookSender(targets, delivery or DeliveryPolicy(), self._sent)
        self.accounts: dict[str, Account] = {}
        self.account = self._open_account("acct_1FakeStripe000000", platform=None)

    # --- what tests do to it -------------------------------------------------------------------------------------

    def put(self, *objects: Any) -> None:
        """Add or replace objects without events."""
        for each in objects:
            self.account.put(each)

    def put_event(self, body: Mapping[str, Any]) -> None:
        """Add a snapshot event. It stays in its API version, as Stripe's do."""
        self.account.journal.put(body)

    def remove(self, identifier: str) -> None:
        """Remove an object or an event. Raises KeyError if there is none."""
        if self.account.by_id(identifier) is not None:
            self.account.remove(identifier)
        else:
            self.account.journal.remove(identifier)

    def fail(self, path: str, fault: Fault, *, times: int = 1, at: Point = "before", method: str = "*") -> None:
        """Inject a fault into the next requests for a path; faults for the same path apply one after the other.

        Args:
            path: such as `/v1/invoices/in_1`; `*` matches anything.
            fault: one of `faults`.
            times: the number of requests that meet it.
            at: when it strikes, see `faults.Point`.
            method: of HTTP.
        """
        self._faults.append(_PendingFault(method, path, fault, times, at))

    def clear_faults(self) -> None:
        """Drop the faults that did not strike yet, and end those that are delaying a request."""
        self._faults.clear()
        self._closing.set()
        self._closing = asyncio.Event()

    def connect(self, account_id: str) -> Account:
        """Add a connected account, which requests name in `Stripe-Account` or `Stripe-Context`."""
        return self._open_account(account_id, platform=self.account)

    def advance(self, by: timedelta) -> None:
        """Move the clock of all accounts forward and do what is due until then; test clocks stay where they are."""
        until = self.clock.now() + by
        for account in self.accounts.values():
            pass_time(account, self._due, test_clock_id=None, until=until, set_time=self._set_time)

    def add_webhook_endpoint(
        self,
        url: str,
        *,
        secret: str | None = None,
        api_version: str | None = None,
        events: Sequence[str] = ("*",),
        connect: bool = False,
    ) -> objects.WebhookEndpoint:
        """Send events to a URL, as an endpoint does that `POST /v1/webhook_endpoints` created.

        Args:
            url: of the receiver.
            secret: `whsec_…`; a new one by default, see the returned endpoint.
            api_version: of the events; the account's by default.
            events: their types; `*` for all.
            connect: whether it receives the events of connected accounts, and only those.
        """
        endpoint = objects.WebhookEndpoint(
            webhook_endpoint_id=self.account.new_id("we"),
            url=url,
            secret=secret or self.account.new_id("whsec"),
            created_at=self.account.now,
            api_version=api_version,
            enabled_events=tuple(events),
            connect=connect,
        )
        self.account.put(endpoint)
        return endpoint

    def bill_with(self, settings: BillingSettings) -> None:
        """Change when the account announces renewals, retries payments and gives up."""
        change_settings(self.account, settings)

    def authenticate(self, intent_id: str, *, succeed: bool = True) -> None:
        """Do what the owner of a card does when a payment or setup intent asks for it.

        Args:
            intent_id: of an intent with the status `requires_action`.
            succeed: False if the owner fails.
        """
        with self.account.transaction():
            authentication.answer(self.account, intent_id, succeed=succeed)

    async def delivered(self) -> None:
        """Wait until all webhooks that are not held back were accepted or given up."""
        await self.webhooks.delivered()

    def _sent(self, body: bytes) -> None:
        for observer in self.observers:
            observer.sent(json.loads(body))

    def _set_time(self, instant: datetime) -> None:
        self.clock.move_to(max(instant, self.clock.now()))

    def _open_account(self, account_id: str, *, platform: Account | None) -> Account:
        account = Account(
            account_id=account_id,
            kinds=[kind for resource in self._resources for kind in resource.kinds],
            api_version=self._api_version,
            clock=self.clock,
            seed=self._seed,
            platform=platform,
        )
        account.due = self._due
        self.accounts[account_id] = account
        self._keys[account_id] = IdempotencyKeys()
        self._loads[account_id] = Load()
        self.webhooks.follow(account)
        return account

    # --- serving -------------------------------------------------------------------------------------------------

    def application(self) -> web.Application:
        """Return the API behind faults and authentication, and the pages beside it."""
        app = web.Application(client_max_size=4 * 1024**2)
        for resource in self._resources:
            for route in resource.pages:
                app.router.add_route(route.method, route.path, self._page(route.page))
        app.router.add_route("*", "/{path:.*}", self._receive)
        return app

    def close(self) -> None:
        """End requests that faults are delaying."""
        self.closed.set()
        self._closing.set()

    def _page(self, handler: Page) -> Next:
        async def serve(request: web.Request) -> web.StreamResponse:
            return await handler(self, request)

        return serve

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(
            Received(
                method=request.method,
                path=request.path,
                query=dict(request.query),
                headers=request.headers.copy(),
                body=body,
            )
        )
        request_id = f"req_{next(self._request_numbers):014}"
        response = await self._strike("before", request)
        if response is None:
            # A client that goes away does not end what it began.
            execution = asyncio.create_task(self._execute(request, request_id))
            self._executions.add(execution)
            execution.add_done_callback(self._executions.discard)
            response = await asyncio.shield(execution)
            replaced = await self._strike("answering", request)
            response = response if replaced is None else replaced
        if not response.prepared:
            response.headers.setdefault("Request-Id", request_id)
            response.headers.setdefault("Date", format_datetime(self.clock.now(), usegmt=True))
        return response

    async def _execute(self, http: web.Request, request_id: str) -> web.StreamResponse:
        try:
            request = self._read(http, request_id, await http.read())
        except StripeError as exc:
            return _response(_error(exc))
        load = self._loads[request.account.account_id]
        try:
            with ExitStack() as held:
                held.enter_context(load.admitted(f"{http.method} {request.route.path}", self.limits))
                held.enter_context(load.locked(request.changed_id))
                await asyncio.sleep(self.limits.latency.total_seconds())
                response = await self._once(request)
        except StripeError as exc:
            response = _response(_error(exc))
        response.headers["Stripe-Version"] = request.api_version
        return response

    def _read(self, http: web.Request, request_id: str, body: bytes) -> _Request:
        self._authenticate(http)
        version = http.headers.get("Stripe-Version", self._api_version)
        if not _VERSION.fullmatch(version):
            raise invalid(f"Invalid Stripe API version: {version}")
        route, ids = self._router.find(http.method, http.rel_url.raw_path)
        return _Request(
            http=http,
            request_id=request_id,
            body=body,
            params=_params(http, body),
            account=self._account_of(http),
            api_version=version,
            route=route,
            ids=ids,
        )

    async def _once(self, request: _Request) -> web.StreamResponse:
        """Execute a request, or replay the answer to the first one with its key."""
        if request.key is None:
            return (await self._executed(request))[0]
        keys = self._keys[request.account.account_id]
        asked = json.dumps([request.http.method, request.http.path, request.params], sort_keys=True)
        stored = keys.claim(request.generation, request.key, asked, request.account.now)
        echo = {"Idempotency-Key": request.key, "Original-Request": request.request_id}
        if stored is not None:
            echo |= {"Idempotent-Replayed": "true", "Original-Request": stored.request_id}
            return _response(_Result(stored.status, stored.body, echo))
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

    async def _executed(self, request: _Request) -> tuple[web.StreamResponse, _Result | None]:
        """Return the response, and what the idempotency key keeps of it: nothing if nothing was executed."""
        struck = await self._struck("executing", request)
        if struck is not None:
            return struck
        result, executed = self._answer(request)
        struck = await self._struck("executed", request)
        if struck is not None:
            return struck[0], struck[1] or result
        return _response(result), result if executed else None

    async def _struck(self, at: Point, request: _Request) -> tuple[web.StreamResponse, _Result | None] | None:
        """Return what a fault answers, and the part of it that is stored."""
        response = await self._strike(at, request.http)
        if response is None:
            return None
        if at == "executing":
            self._notify(request, response.status, None)
        kept = response.status not in (409, 429)
        if kept and isinstance(response, web.Response) and isinstance(response.body, bytes):
            return response, _Result(response.status, response.body)
        return response, None

    def _answer(self, request: _Request) -> tuple[_Result, bool]:
        """Return the true answer, and whether the endpoint was executed."""
        cause = Cause(request_id=request.request_id, idempotency_key=request.key)
        try:
            with request.account.transaction(cause):
                shown = self._shown(request)
        except StripeError as exc:
            self._notify(request, exc.status, exc.body)
            return _error(exc), exc.executed
        self._notify(request, 200, shown)
        return _Result(200, json.dumps(shown, ensure_ascii=False).encode()), True

    def _notify(self, request: _Request, status: int, answer: Json | None) -> None:
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
        for observer in self.observers:
            observer.exchanged(exchange)

    def _shown(self, request: _Request) -> Json:
        form = Form(expand=Listed(TEXT), **request.route.form.fields)
        params = form.read(request.params)
        paths = params.pop("expand", [])
        paging = {name: params.pop(name) for name in _PAGING if name in params}
        account, version = request.account, request.api_version
        call = Call(
            account=account,
            origin=str(request.http.url.origin()),
            path=request.http.path,
            ids=request.ids,
            params=params,
            api_version=version,
        )
        answer = request.route.handler(call)
        if isinstance(answer, Deleted):
            return answer.render()
        if isinstance(answer, Listing):
            shown = _page(answer, paging, call)
        else:
            shown = dict(answer) if isinstance(answer, dict) else account.show(answer, version)
        return expand(shown, paths, account, version)

    async def _strike(self, at: Point, request: web.Request) -> web.StreamResponse | None:
        for pending in self._faults:
            if (
                pending.times > 0
                and pending.at == at
                and fnmatchcase(request.method, pending.method)
                and fnmatchcase(request.path, pending.pattern)
            ):
                pending.times -= 1
                return await pending.fault.strike(request, self._closing)
        return None

    def _authenticate(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "")
        if not given:
            raise StripeError(401, "You did not provide an API key.", executed=False)
        if _key_of(given) != self.secret_key:
            raise StripeError(401, f"Invalid API Key provided: {'*' * 8}{given[-4:]}", executed=False)

    def _account_of(self, request: web.Request) -> Account:
        headers = request.headers
        named = headers.get("Stripe-Account") or headers.get("Stripe-Context", "").rpartition("/")[2]
        if not named:
            return self.account
        if named not in self.accounts:
            raise StripeError(
                403,
                f"The provided key does not have access to account '{named}' (or that account does not exist). "
                "Application access may have been revoked.",
                code="account_invalid",
                executed=False,
            )
        return self.accounts[named]


def _key_of(authorization: str) -> str:
    scheme, _, given = authorization.partition(" ")
    if scheme == "Basic":
        with suppress(ValueError):
            return b64decode(given).decode().removesuffix(":")
    return given


def _params(http: web.Request, body: bytes) -> Tree:
    """Return the parameters of query and body; both count, as at Stripe."""
    query = decode(http.rel_url.raw_query_string)
    if not body:
        return query
    if http.content_type == "application/json":
        try:
            read = json.loads(body)
        except ValueError:
            read = None
        if not isinstance(read, dict):
            raise invalid("Invalid request: the body is no JSON object")
        return {**query, **read}
    try:
        return {**query, **decode(body.decode())}
    except UnicodeDecodeError:
        raise invalid("Invalid request: the body is not UTF-8") from None


def _page(answer: Listing, paging: Mapping[str, Any], call: Call) -> Json:
    account, version = call.account, call.api_version

    def identify(member: Any) -> str:
        return str(member["id"] if isinstance(member, dict) else account.kind_of(type(member)).key(member))

    members, more = page(answer.members, dict(paging), identify, answer.noun)
    shown = [dict(member) if isinstance(member, dict) else account.show(member, version) for member in members]
    return listed(shown, more=more, url=answer.url or call.path)


def _error(error: StripeError) -> _Result:
    return _Result(error.status, json.dumps(error.body, ensure_ascii=False).encode(), error.headers)


def _response(result: _Result) -> web.StreamResponse:
    return web.Response(status=result.status, body=result.body, headers=result.headers, content_type="application/json")


@asynccontextmanager
async def fake_stripe(
    *,
    secret_key: str = "sk_test_fake",  # noqa: S107 - opens nothing but this fake
    api_version: str = API_VERSIONS[-1],
    clock: Clock | None = None,
    seed: str | None = None,
    delivery: DeliveryPolicy | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[FakeStripe]:
    """Run a fake Stripe on a local port until the end of the block.

    Args:
        secret_key: the only key that it accepts.
        api_version: the account's default version, for requests without one.
        clock: the account's; by default the real time, which tests move with `advance`.
        seed: of the ids; by default every fake has others.
        delivery: how webhooks are sent.
        host: to listen on.
        port: 0 for a free one.
    """
    fake = FakeStripe(secret_key=secret_key, api_version=api_version, clock=clock, seed=seed, delivery=delivery)
    runner = web.AppRunner(fake.application(), access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    sender = asyncio.create_task(fake.webhooks.running())
    try:
        await web.TCPSite(runner, host, port).start()
        bound_host, bound_port = runner.addresses[0][:2]
        fake.url = f"http://{bound_host}:{bound_port}"
        yield fake
    finally:
        fake.close()
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        await runner.cleanup()
