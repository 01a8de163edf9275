"""<billing-activity> works on a page of another origin, in its language and its colors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from playwright.async_api import Browser, expect
from tests.e2e.conftest import Site, deployed
from tests.e2e.test_look import take_picture, violations

from billing_embedded.loopback import free_port

if TYPE_CHECKING:
    from tests.databases import Databases

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def host_port() -> int:
    return free_port()


@pytest.fixture(scope="module", name="site")
async def site_for_a_host(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory, host_port: int
) -> AsyncIterator[Site]:
    """A deployment that lets the host's page read."""
    folder = tmp_path_factory.mktemp("embedded")
    async with deployed(databases, folder, BILLING_CORS_ORIGINS=f"http://127.0.0.1:{host_port}") as running:
        yield running


@pytest.fixture
async def host(site: Site, host_port: int) -> AsyncIterator[str]:
    """The application of examples/activity_page.html, with a backend that issues tokens."""

    async def page(_request: web.Request) -> web.Response:
        text = (EXAMPLES / "activity_page.html").read_text(encoding="utf-8")
        return web.Response(text=text.replace("https://billing.example.com", site.base_url), content_type="text/html")

    async def script(_request: web.Request) -> web.Response:
        text = (EXAMPLES / "activity_page.js").read_text(encoding="utf-8")
        return web.Response(text=text, content_type="text/javascript")

    async def token(_request: web.Request) -> web.Response:
        return web.Response(text=site.account("acme").token)

    app = web.Application()
    app.add_routes([web.get("/", page), web.get("/activity-page.js", script), web.get("/billing-token", token)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", host_port).start()
    yield f"http://127.0.0.1:{host_port}/"
    await runner.cleanup()


async def test_the_example_shows_a_tenant_in_german(
    site: Site, host: str, browser: Browser, pytestconfig: pytest.Config
) -> None:
    """It follows changes; its words, dates and amounts are German, and its link color is the host's."""
    account = site.account("acme")
    await account.subscribe(seats=3)
    await account.bill("A-1", amounts=[(account.price("pro"), 3, 5700)], status="open")
    await account.history(at_least=2)
    context = await browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 1080})
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    await page.goto(host)
    activity = page.locator("billing-activity")
    await expect(activity.get_by_role("heading", name="Voller Zugang")).to_be_visible()
    await expect(activity.locator(".price")).to_have_text("57,00 $ / Monat")
    await expect(activity.locator(".invoices")).to_contain_text("Offen")
    await expect(activity.get_by_role("heading", name="Verlauf")).to_be_visible()
    await account.subscribe(seats=4)
    await expect(activity.locator("#feed > article").first).to_contain_text("4 Plätze")
    color = await activity.locator("a", has_text="PDF").evaluate("link => getComputedStyle(link).color")
    assert color == "rgb(138, 31, 92)"
    assert await violations(page) == []
    await take_picture(page, pytestconfig, "embedded")
    await activity.evaluate("each => each.setAttribute('lang', 'en')")
    await expect(activity.get_by_role("heading", name="Full access")).to_be_visible()
    assert faults == []
    await context.close()
