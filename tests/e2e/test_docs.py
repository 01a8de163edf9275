"""The examples in docs/billing/frontend.md work as printed."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Browser, Route, expect

from billing_core.events import BillingEventType

if TYPE_CHECKING:
    from tests.e2e.conftest import Site

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

PAGE = (Path(__file__).parents[2] / "docs/billing/frontend.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    about_the_client, _, _ = PAGE.partition("\n## The activity page\n")
    (found,) = re.findall(rf"```{language}\n(.*?)```", about_the_client, re.DOTALL)
    return str(found)


async def test_the_example_follows_a_tenant(site: Site, browser: Browser) -> None:
    """The state first, then changes; the application's backend replaces a refused token."""
    account = site.account("example")
    missed = datetime.now(UTC) - timedelta(days=30)
    await account.bill("A-1", amounts=[(account.price("pro"), 1, 1900)], status="open", due_at=missed)
    await account.history(at_least=1)
    await account.subscribe(seats=1, status="past_due")
    context = await browser.new_context()
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    requests: list[str] = []

    async def backend(route: Route) -> None:
        """Answer as the application around the example does."""
        requests.append(route.request.url.partition("/billing-session")[2])
        stale = len(requests) > 1 and requests[-1] != "?fresh"
        await route.fulfill(json={"tenant": account.tenant_id, "token": "stale" if stale else account.token})

    await context.route("**/billing-session*", backend)
    await context.route("**/example.js", lambda route: route.fulfill(body=block("js"), content_type="text/javascript"))
    await context.route("**/example", lambda route: route.fulfill(body=block("html"), content_type="text/html"))
    await page.goto(f"{site.base_url}/example")
    await expect(page.locator("#connection")).to_have_text("live")
    await expect(page.locator("#access")).to_have_text("read_only")
    await account.subscribe(seats=1)
    await expect(page.locator("#access")).to_have_text("full")
    await expect(page.locator("#changes li")).to_have_text((await account.history())[-1]["summary"])
    assert requests[:3] == ["", "", "?fresh"]
    assert faults == []
    await context.close()


async def test_the_example_with_eventsource_follows_a_tenant(site: Site, browser: Browser) -> None:
    """After the server is killed it resumes by itself, with a new ticket for each connection."""
    account = site.account("eventsource")
    await account.subscribe(seats=1)
    context = await browser.new_context()
    page = await context.new_page()
    types = json.dumps([each.value for each in BillingEventType])
    script = f"""{block("javascript")}
        const shown = [];
        window.shown = shown;
        follow({json.dumps(account.tenant_id)}, async () => {json.dumps(account.token)}, {types}, (each) => {{
          shown.push(each.sequence);
          document.body.textContent = shown.join(" ");
        }});"""
    await context.route("**/example.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    html = '<!doctype html><body></body><script type="module" src="/example.js"></script>'
    await context.route("**/example", lambda route: route.fulfill(body=html, content_type="text/html"))
    await page.goto(f"{site.base_url}/example")
    first = len(await account.history())
    await expect(page.locator("body")).to_have_text(str(first))
    await account.subscribe(seats=2)
    await expect(page.locator("body")).to_have_text(f"{first} {first + 1}")
    site.kill_server()
    site.start_server()
    await site.ready()
    await account.subscribe(seats=3)
    await account.subscribe(seats=4)
    await expect(page.locator("body")).to_have_text(" ".join(str(first + number) for number in range(4)))
    await context.close()


async def test_the_client_and_its_types_can_be_fetched(site: Site, browser: Browser) -> None:
    """The two URLs of the first command on that page."""
    paths = re.findall(r"http://127\.0\.0\.1:8080(/assets/\S+)", PAGE)
    assert len(paths) == 2
    context = await browser.new_context()
    for path in paths:
        answer = await context.request.get(f"{site.base_url}{path}")
        assert answer.ok
        assert "BillingStream" in await answer.text()
    await context.close()
