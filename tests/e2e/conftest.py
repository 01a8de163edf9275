"""A complete deployment with a real browser: `make e2e` runs these tests, `make test` does not.

A missing browser is a failure here, never a skip: a run that tests nothing must not look green.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Route, async_playwright, expect
from tests.databases import Databases

from billing_app.http.sign_in import make_ticket
from billing_app.http.tokens import issue_token
from billing_app.secret import Secret
from billing_app.settings import TokenSettings
from billing_core.model import TenantId
from billing_embedded.binaries import find_valkey
from billing_embedded.loopback import free_port
from billing_stripe.testing import API_VERSIONS, builders, encode, event, make_id, objects, sign

WEBHOOK_SECRET: Final = "whsec_" + "e" * 32
TICKET_SECRET: Final = Secret("t" * 32)
JWT_SECRET: Final = Secret("e2e-tests-only-0123456789abcdef-0123")
VERSION: Final = API_VERSIONS[-1]
LAUNCH_ARGUMENTS: Final = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
LOST_CONNECTION: Final = re.compile(r"net::ERR_|the server responded with a status of")

expect.set_options(timeout=60_000)  # normally immediate, but slow on a busy machine

to_screen: list[float] = []
"""Seconds from sending a webhook until the page showed the change, for every measured change."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", type=Path, metavar="FOLDER", help="write pictures of the page into this folder")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the measured times: on a busy machine a time is no reason to fail, but it has to be visible."""
    if to_screen:
        median, most = statistics.median(to_screen), max(to_screen)
        count = len(to_screen)
        terminalreporter.write_line(f"webhook to screen: median {median:.3f} s, most {most:.3f} s of {count} changes")


@pytest.fixture(scope="session")
def seconds_to_screen() -> list[float]:
    """The list to which tests add what they measured."""
    return to_screen


# --- the deployment ---------------------------------------------------------------------------------------------------


class Site:
    """`billing serve` with its own Valkey; a test may kill and restart either."""

    def __init__(self, database_url: str, folder: Path, **settings: str) -> None:
        self.base_url = f"http://127.0.0.1:{free_port()}"
        self._redis_port = free_port()
        self._folder = folder
        self._server: subprocess.Popen[bytes] | None = None
        self._valkey: subprocess.Popen[bytes] | None = None
        ours = ("BILLING_", "STRIPE_", "ENABLE_BILLING")
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
            "DATABASE_URL": database_url,
            "REDIS_URL": f"redis://127.0.0.1:{self._redis_port}/0",
            "ENABLE_BILLING": "true",
            "STRIPE_SECRET_KEY": "sk_test_e2e",
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "STRIPE_FETCH": "false",
            "BILLING_JWT_SECRET": JWT_SECRET.reveal(),
            "BILLING_DEMO_TICKET_SECRET": TICKET_SECRET.reveal(),
            "BILLING_PORT": self.base_url.rsplit(":", 1)[1],
            "BILLING_DISPATCH_LEASE_SECONDS": "1",
            "BILLING_STREAM_KEEPALIVE_SECONDS": "1",
            "BILLING_STREAM_RETRY_MILLISECONDS": "200",
            **settings,
        }

    def start_server(self) -> None:
        with (self._folder / "serve.log").open("ab") as log:
            command = [sys.executable, "-m", "billing_app", "serve"]
            self._server = subprocess.Popen(command, env=self._environment, cwd=self._folder, stdout=log, stderr=log)

    def start_valkey(self) -> None:
        settings = ("--port", str(self._redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        command = [str(find_valkey().server_program), *settings]
        self._valkey = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)

    def kill_server(self) -> None:
        _kill(self._server)
        self._server = None

    def kill_valkey(self) -> None:
        _kill(self._valkey)
        self._valkey = None

    async def ready(self) -> None:
        """Wait until the server is ready."""
        async with aiohttp.ClientSession() as session, asyncio.timeout(240):  # a busy machine takes its time
            while True:
                try:
                    async with session.get(f"{self.base_url}/readyz") as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientConnectionError:
                    assert self._server is not None
                    assert self._server.poll() is None, (self._folder / "serve.log").read_text()
                await asyncio.sleep(0.05)

    def account(self, tenant_id: str) -> Account:
        """Create a tenant that has no events yet."""
        return Account(self.base_url, tenant_id)


def _kill(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
async def site(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One deployment for all tests; each test has its own tenant."""
    async with deployed(databases, tmp_path_factory.mktemp("site")) as running:
        yield running


@asynccontextmanager
async def deployed(databases: Databases, folder: Path, **settings: str) -> AsyncIterator[Site]:
    """Run a deployment of its own, with these settings beside those of all."""
    async with databases.fresh() as url:
        running = Site(url, folder, **settings)
        running.start_valkey()
        running.start_server()
        try:
            await running.ready()
            yield running
        finally:
            running.kill_server()
            running.kill_valkey()


class Account:
    """One tenant's account in Stripe: changes reach the server as signed webhooks."""

    def __init__(self, base_url: str, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        self.customer_id = make_id("cus", tenant_id)
        self.subscription_id = make_id("sub", tenant_id)
        self.period = objects.Span(_days(-12), _days(18))
        self.metered: tuple[objects.Price, ...] = ()
        """Metered prices of its subscription, beside the seats."""
        self.role = "viewer"
        """Of the token with which the page is opened."""
        self._base_url = base_url
        self._events = 0

    @property
    def sign_in_link(self) -> str:
        """The link that the demo prints."""
        ticket = make_ticket(TICKET_SECRET, TenantId(self.tenant_id), expires_at=datetime.now(UTC) + timedelta(hours=1))
        return f"{self._base_url}/demo/sign-in?ticket={ticket}"

    @property
    def token(self) -> str:
        return issue_token(
            secret=JWT_SECRET,
            policy=TokenSettings(),
            tenant_id=TenantId(self.tenant_id),
            role=self.role,
            now=datetime.now(UTC),
            ttl=timedelta(hours=1),
        )

    def price(self, lookup_key: str, *, metered: bool = False) -> objects.Price:
        """Return a price of this tenant; its lookup key names the plan, or the feature if it is metered."""
        price_id = make_id("price", self.tenant_id, lookup_key)
        return objects.Price(
            price_id=price_id, product_id="prod_e2e", unit_amount=1900, lookup_key=lookup_key, metered=metered
        )

    async def subscribe(
        self, *, seats: int, plan: str = "pro", status: str = "active", tenant_id: str | None = "", **more: Any
    ) -> str:
        """Set the subscription to this state; return the id of the event. `tenant_id`: the tenant that it names."""
        named = self.tenant_id if tenant_id == "" else tenant_id
        prices = [self.price(plan), *self.metered]
        items = [
            objects.Item(item_id=f"si_{place}", price=price, period=self.period, quantity=seats)
            for place, price in enumerate(prices)
        ]
        subscription = objects.Subscription(
            subscription_id=self.subscription_id,
            customer_id=self.customer_id,
            status=status,
            created_at=self.period.start,
            items=tuple(items),
            metadata={} if named is None else {"tenant_id": named},
            **more,
        )
        return await self._send("customer.subscription.updated", builders.subscription(subscription, VERSION))

    async def bill(
        self,
        number: str,
        *,
        amounts: Sequence[tuple[objects.Price, int, int]],
        period: objects.Span | None = None,
        currency: str = "usd",
        status: str = "paid",
        **more: Any,
    ) -> str:
        """Send an invoice with a line per (price, quantity, amount); return the id of the event."""
        span = period or self.period
        invoice_id = make_id("in", self.tenant_id, number)
        lines = tuple(
            objects.InvoiceLine(
                line_id=make_id("il", invoice_id, place),
                amount=amount,
                price=price,
                period=span,
                quantity=quantity,
                subscription_id=self.subscription_id,
                item_id=f"si_{place}",
            )
            for place, (price, quantity, amount) in enumerate(amounts)
        )
        paid: dict[str, Any] = {}
        if status == "paid":
            paid = {"amount_paid": sum(line.amount for line in lines), "paid_at": span.end}
        invoice = objects.Invoice(
            invoice_id=invoice_id,
            customer_id=self.customer_id,
            status=status,
            created_at=span.start,
            lines=lines,
            period=span,
            currency=currency,
            subscription_id=self.subscription_id,
            subscription_metadata={"tenant_id": self.tenant_id},
            number=number,
            billing_reason="subscription_create",
            finalized_at=span.start,
            **paid | more,
        )
        happened = "invoice.paid" if status == "paid" else "invoice.finalized"
        return await self._send(happened, builders.invoice(invoice, VERSION))

    async def history(self, *, at_least: int = 0) -> Sequence[Any]:
        """Return the tenant's numbered messages once there are at least that many."""
        url = f"{self._base_url}/api/v1/billing/tenants/{self.tenant_id}/events?limit=500"
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"}) as session:
            while True:
                async with session.get(url) as response:
                    events: Sequence[Any] = (await response.json())["events"]
                if len(events) >= at_least:
                    return events
                await asyncio.sleep(0.02)

    async def _send(self, type: str, rendered: Any) -> str:
        self._events += 1
        event_id = make_id("evt", self.tenant_id, self._events)
        body = encode(
            event(
                type,
                rendered,
                created=datetime.now(UTC) - timedelta(hours=1) + timedelta(seconds=self._events),
                api_version=VERSION,
                event_id=event_id,
            )
        )
        headers = {"Stripe-Signature": sign(body, WEBHOOK_SECRET, datetime.now(UTC))}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self._base_url}/webhooks/stripe", data=body, headers=headers) as response,
        ):
            assert response.status == 202, await response.text()
        return event_id


def _days(number: int) -> datetime:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + timedelta(days=number)


# --- the browser ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    program = Path(os.environ.get("BILLING_CHROMIUM") or "/usr/bin/chromium")
    if not os.access(program, os.X_OK):
        pytest.fail(
            f"There is no Chromium at {program}, and these tests need one. Install it (Debian: apt-get install "
            "chromium), or name yours in BILLING_CHROMIUM.",
            pytrace=False,
        )
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    arguments = [*LAUNCH_ARGUMENTS, *(["--no-sandbox"] if root else [])]
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=program, args=arguments)
        yield launched
        await launched.close()


class Visit:
    """One browser window on the page, and the faults in it."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context = context
        self.page = page
        self.faults: list[str] = []
        self.connection_may_be_lost = False
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text}")

    def check(self) -> None:
        """Assert that there was no uncaught error, no blocked resource and no policy violation."""
        lost = LOST_CONNECTION.search if self.connection_may_be_lost else lambda _text: None
        assert [fault for fault in self.faults if not lost(fault)] == []

    async def live(self) -> None:
        """Wait until the page shows that it is live."""
        await self.page.locator("#connection[data-state=live]").wait_for(timeout=30_000)

    async def shows(self, sequence: int) -> float:
        """Wait until the feed shows the message; return the time, in seconds since the epoch."""
        watch = """async (sequence) => {
          const feed = document.getElementById("activity").shadowRoot.getElementById("feed");
          const there = () => feed.querySelector(`[data-sequence="${sequence}"]`) !== null;
          if (!there()) {
            await new Promise((resolve) => {
              const observer = new MutationObserver(() => there() && (observer.disconnect(), resolve()));
              observer.observe(feed, { childList: true });
            });
          }
          return Date.now() / 1000;
        }"""
        async with asyncio.timeout(60):
            seconds: float = await self.page.evaluate(watch, sequence)
            return seconds

    async def numbers(self) -> list[int]:
        """Return the numbers in the feed, from top to bottom."""
        found: list[int] = await self.page.eval_on_selector_all(
            "#feed > article", "rows => rows.map((row) => Number(row.dataset.sequence))"
        )
        return found


Visiting = Callable[..., Awaitable[Visit]]
Answer = Callable[[Route], Awaitable[None]]

WATCH_POLICY: Final = """
addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective}`));
"""


@pytest.fixture
async def visit(browser: Browser, site: Site) -> AsyncIterator[Visiting]:
    """A function that opens the page, signed in if an account is given; a fault in a page fails the test at its end.

    With `stream`, that function answers in place of the server's stream, and the page need not become live.
    With `clock`, the test can advance the page's clock.
    """
    visits: list[Visit] = []
    async with AsyncExitStack() as stack:

        async def open_page(
            account: Account | None = None, *, stream: Answer | None = None, clock: bool = False, **options: Any
        ) -> Visit:
            context = await stack.enter_async_context(browser_context(browser, locale="en-GB", **options))
            await context.add_init_script(WATCH_POLICY)
            if account is not None:
                await context.add_init_script(f'sessionStorage.setItem("billing-token", "{account.token}")')
            if clock:
                await context.clock.install()
            if stream is not None:
                await context.route("**/api/v1/billing/stream?*", stream)
            opened = Visit(context, await context.new_page())
            opened.connection_may_be_lost = stream is not None
            visits.append(opened)
            await opened.page.goto(f"{site.base_url}/activity")
            if account is not None and stream is None:
                await opened.live()
            return opened

        yield open_page
        for each in visits:
            each.check()


@asynccontextmanager
async def browser_context(browser: Browser, **options: Any) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(**options)
    try:
        yield context
    finally:
        await context.close()
