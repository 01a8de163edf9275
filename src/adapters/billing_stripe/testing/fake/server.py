"""The fake Stripe's HTTP server."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from typing import Any

import attrs
from aiohttp import web

from billing_stripe.testing.fake.answers import StripeError, unknown_address
from billing_stripe.testing.fake.faults import Fault
from billing_stripe.testing.fake.routes import GET, ApiRequest, Handler
from billing_stripe.testing.fake.state import State, StripeObject
from billing_stripe.testing.versions import API_VERSIONS

_VERSION = re.compile(r"20\d\d-\d\d-\d\d(\.[a-z]+)?")

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


@attrs.frozen(kw_only=True)
class Received:
    """One request as it arrived, before authentication."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = attrs.field(repr=False)


@attrs.define
class _PendingFault:
    """A fault for the next requests of a path."""

    pattern: str
    fault: Fault
    times: int


class FakeStripe:
    """A running fake: its objects, its faults, and the requests it received. See `fake_stripe`."""

    def __init__(self, *, secret_key: str, api_version: str) -> None:
        self.secret_key = secret_key
        self.url = ""
        self.state = State()
        self.requests: list[Received] = []
        self._api_version = api_version
        self._faults: list[_PendingFault] = []
        self._closing = asyncio.Event()
        self._request_numbers = itertools.count(1)

    def put(self, *objects: StripeObject) -> None:
        """Add or replace objects."""
        for each in objects:
            self.state.put(each)

    def put_event(self, body: Mapping[str, Any]) -> None:
        """Add a snapshot event."""
        self.state.put_event(body)

    def remove(self, identifier: str) -> None:
        """Remove an object or an event."""
        self.state.remove(identifier)

    def fail(self, path: str, fault: Fault, *, times: int = 1) -> None:
        """Inject a fault into the next requests for a path; faults for the same path apply one after the other.

        Args:
            path: such as `/v1/invoices/in_1`; `*` matches anything.
            fault: one of `faults`.
            times: the number of requests that meet it.
        """
        self._faults.append(_PendingFault(path, fault, times))

    # --- serving ------------------------------------------------------------------------------------------------

    def application(self) -> web.Application:
        """Return the endpoints, behind faults and authentication."""
        app = web.Application(middlewares=[self._receive])
        for path, handler in GET.items():
            app.router.add_get(path, self._serve(handler))
        return app

    def close(self) -> None:
        """End requests that faults are delaying."""
        self._closing.set()

    @web.middleware
    async def _receive(self, request: web.Request, handler: Next) -> web.StreamResponse:
        self.requests.append(
            Received(
                method=request.method, path=request.path, query=dict(request.query), headers=request.headers.copy()
            )
        )
        fault = self._due_fault(request.path)
        response = None if fault is None else await fault.strike(request, self._closing)
        if response is None:
            response = await self._answer(request, handler)
        if not response.prepared:
            response.headers["Request-Id"] = f"req_{next(self._request_numbers):014}"
        return response

    async def _answer(self, request: web.Request, handler: Next) -> web.StreamResponse:
        try:
            self._authenticate(request)
            return await handler(request)
        except web.HTTPException:
            error = unknown_address(request)
        except StripeError as exc:
            error = exc
        return web.json_response(error.body, status=error.status)

    def _serve(self, handler: Handler) -> Next:
        async def serve(request: web.Request) -> web.StreamResponse:
            api_request = ApiRequest(
                path=request.path,
                id=request.match_info.get("id", ""),
                query=request.query,
                api_version=self._version_of(request),
            )
            return web.json_response(handler(api_request, self.state))

        return serve

    def _due_fault(self, path: str) -> Fault | None:
        for pending in self._faults:
            if pending.times > 0 and fnmatchcase(path, pending.pattern):
                pending.times -= 1
                return pending.fault
        return None

    def _authenticate(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "")
        if not given:
            raise StripeError(401, "You did not provide an API key.")
        if given != f"Bearer {self.secret_key}":
            raise StripeError(401, f"Invalid API Key provided: {'*' * 8}{given[-4:]}")

    def _version_of(self, request: web.Request) -> str:
        version = request.headers.get("Stripe-Version", self._api_version)
        if not _VERSION.fullmatch(version):
            raise StripeError(400, f"Invalid Stripe API version: {version}")
        return version


@asynccontextmanager
async def fake_stripe(
    *,
    secret_key: str = "sk_test_fake",  # noqa: S107 - opens nothing but this fake
    api_version: str = API_VERSIONS[-1],
) -> AsyncIterator[FakeStripe]:
    """Run a fake Stripe on a free local port until the end of the block.

    Args:
        secret_key: the only key that it accepts.
        api_version: the account's default version, for requests without one.
    """
    fake = FakeStripe(secret_key=secret_key, api_version=api_version)
    runner = web.AppRunner(fake.application(), access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        fake.url = f"http://{host}:{port}"
        yield fake
    finally:
        fake.close()
        await runner.cleanup()
