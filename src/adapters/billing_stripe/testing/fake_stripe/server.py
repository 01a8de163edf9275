"""The fake Stripe: what tests do to it, and its HTTP server."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, ClassVar

from aiohttp import web

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import resources
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing import authentication
from billing_stripe.testing.fake_stripe.billing.settings import BillingSettings, change_settings
from billing_stripe.testing.fake_stripe.clock import Clock
from billing_stripe.testing.fake_stripe.due import pass_time
from billing_stripe.testing.fake_stripe.faults import Fault, Point
from billing_stripe.testing.fake_stripe.injection import FaultPlan
from billing_stripe.testing.fake_stripe.limits import Limits
from billing_stripe.testing.fake_stripe.observing import Observer, Received
from billing_stripe.testing.fake_stripe.routing import Page, Resource, Router
from billing_stripe.testing.fake_stripe.serving import Api
from billing_stripe.testing.fake_stripe.webhooks import DeliveryPolicy, WebhookSender
from billing_stripe.versions import API_VERSIONS


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
        self.secret_keys = {secret_key}
        """The keys that are accepted; a test adds and removes some as the Dashboard does."""
        self.url = ""
        self.clock = clock or Clock()
        self.limits = Limits()
        self.requests: list[Received] = []
        self._api_version = api_version
        self._seed = secrets.token_hex(8) if seed is None else seed
        self._resources = contributed
        self._due = tuple(due for resource in contributed for due in resource.due)
        self._followers = tuple(follower for resource in contributed for follower in resource.followers)
        self._api = Api(self, Router(route for resource in contributed for route in resource.routes))
        self.faults = FaultPlan()
        self.closed = asyncio.Event()
        """Set at the end, for connections that stay open."""
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
        self.faults.add(method, path, fault, times=times, at=at)

    def clear_faults(self) -> None:
        """Drop the faults that did not strike yet, and end those that are delaying a request."""
        self.faults.clear()

    def connect(self, account_id: str) -> Account:
        """Add a connected account, which requests name in `Stripe-Account` or `Stripe-Context`."""
        return self._open_account(account_id, platform=self.account)

    def advance(self, by: timedelta) -> None:
        """Move the clock of all accounts forward and do what is due until then; test clocks stay where they are."""
        until = self.clock.now() + by
        pass_time(list(self.accounts.values()), test_clock_id=None, until=until, set_time=self._set_time)

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
        account.followers = self._followers
        self.accounts[account_id] = account
        self.webhooks.follow(account)
        return account

    # --- serving -------------------------------------------------------------------------------------------------

    def application(self) -> web.Application:
        """Return the API behind faults and authentication, and the pages beside it."""
        app = web.Application(client_max_size=4 * 1024**2)
        for resource in self._resources:
            for route in resource.pages:
                app.router.add_route(route.method, route.path, self._page(route.page))
        app.router.add_route("*", "/{path:.*}", self._api.receive)
        return app

    def close(self) -> None:
        """End requests that faults are delaying, and connections that stay open."""
        self.closed.set()
        self.faults.clear()

    def _page(self, handler: Page) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            return await handler(self, request)

        return serve


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
        secret_key: the key that it accepts, until `secret_keys` is changed.
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
