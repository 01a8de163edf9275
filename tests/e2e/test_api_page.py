"""The API documentation at /docs: every operation and schema, under the policy that all our pages have."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Browser, Page, expect
from tests.e2e.conftest import WATCH_POLICY
from tests.e2e.test_look import PHONE, WIDE, violations

from billing_app.http.openapi import document

if TYPE_CHECKING:
    from tests.e2e.conftest import Site

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

DOCUMENT = document()
OPERATIONS = [operation for methods in DOCUMENT["paths"].values() for operation in methods.values()]
KEEP_NEW_MARKUP = """() => {
    const seen = new Set()
    for (const article of document.querySelectorAll("#operations article, #schemas article")) {
        const kinds = [...article.querySelectorAll("*")].map(
            (element) => `${element.parentElement.localName} ${element.localName} ${element.className}`
        )
        if (kinds.every((kind) => seen.has(kind))) article.remove()
        else kinds.forEach((kind) => seen.add(kind))
    }
    return document.querySelectorAll("article").length
}"""
"""Remove each article whose every kind of element is in an earlier one: of 16,000 elements, axe takes two minutes."""


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page that reports what the policy refuses, and what it loads from elsewhere, as faults."""
    context = await browser.new_context(viewport=WIDE)
    await context.add_init_script(WATCH_POLICY)
    opened = await context.new_page()
    faults: list[str] = []
    opened.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: faults.append(str(error)))
    yield opened
    assert faults == []
    await context.close()


async def test_it_shows_every_operation_and_schema(site: Site, page: Page) -> None:
    """Of the document that this server serves, with links that lead somewhere, and nothing from other hosts."""
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    await page.goto(f"{site.base_url}/docs")
    await expect(page.locator("#index li")).to_have_count(len(OPERATIONS))
    shown = await page.eval_on_selector_all("#operations article", "all => all.map((each) => each.id)")
    assert sorted(shown) == sorted(operation["operationId"] for operation in OPERATIONS)
    schemas = await page.eval_on_selector_all("#schemas article", "all => all.map((each) => each.id)")
    assert sorted(schemas) == sorted(f"schema-{name}" for name in DOCUMENT["components"]["schemas"])
    links = "all => all.map((each) => each.hash.slice(1)).filter((id) => id && !document.getElementById(id))"
    assert await page.eval_on_selector_all("a", links) == []
    assert [url for url in requested if not url.startswith(site.base_url)] == []


async def test_an_operation_shows_what_a_caller_needs(site: Site, page: Page) -> None:
    """Its address opens it, with who may call it, parameters, body, answers and a command line."""
    await page.goto(f"{site.base_url}/docs#createCheckout")
    operation = page.locator("article#createCheckout")
    await expect(operation).to_be_in_viewport()
    await expect(operation.get_by_role("heading", level=3)).to_contain_text("/checkout")
    await expect(operation.locator("tr", has_text="Idempotency-Key required")).to_contain_text("New for each decision")
    await expect(operation.locator("pre")).to_contain_text("Authorization: Bearer $TOKEN")
    await operation.get_by_role("link", name="CheckoutBody").click()
    await expect(page.locator("article#schema-CheckoutBody")).to_be_in_viewport()


async def test_the_filter_leaves_what_contains_every_word(site: Site, page: Page) -> None:
    """In the index and in the page, and says how many."""
    await page.goto(f"{site.base_url}/docs")
    await page.get_by_label("Filter").fill("invoices pdf")
    await expect(page.locator("#found")).to_have_text(f"1 of {len(OPERATIONS)} operations")
    await expect(page.locator("#index li:visible")).to_have_count(1)
    await expect(page.locator("#operations article:visible")).to_have_count(1)
    await page.get_by_label("Filter").fill("")
    await expect(page.locator("#index li:visible")).to_have_count(len(OPERATIONS))


@pytest.mark.parametrize(("viewport", "scheme"), [(WIDE, "light"), (PHONE, "dark")])
async def test_it_is_accessible_and_fits(site: Site, browser: Browser, viewport: dict[str, int], scheme: str) -> None:
    """No serious violation in either scheme and width, and no scrolling sideways."""
    context = await browser.new_context(viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
    opened = await context.new_page()
    await opened.goto(f"{site.base_url}/docs")
    await expect(opened.locator("#index li")).to_have_count(len(OPERATIONS))
    assert await opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await opened.evaluate(KEEP_NEW_MARKUP) > 2
    assert await violations(opened) == []
    await context.close()


async def test_text_of_the_document_is_never_markup(site: Site, page: Page) -> None:
    """Should it contain any."""
    hostile = json.loads(json.dumps(DOCUMENT))
    hostile["info"]["description"] = "<img src=x onerror=alert(1)>"
    await page.route("**/openapi.json", lambda route: route.fulfill(json=hostile))
    await page.goto(f"{site.base_url}/docs")
    await expect(page.locator("#about")).to_have_text("<img src=x onerror=alert(1)>")
    assert await page.locator("#about img").count() == 0


async def test_a_document_that_cannot_be_loaded_is_a_sentence(site: Site, browser: Browser) -> None:
    """And says what to do."""
    context = await browser.new_context()
    opened = await context.new_page()
    await opened.route("**/openapi.json", lambda route: route.fulfill(status=503))
    await opened.goto(f"{site.base_url}/docs")
    await expect(opened.locator("#about")).to_contain_text("the server answered 503. Reload the page to try again.")
    await context.close()
