"""Look and accessibility of the page: light and dark, wide and narrow, screen reader and keyboard."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from billing_stripe.testing import objects

if TYPE_CHECKING:
    from tests.e2e.conftest import Account, Site, Visiting

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

WIDE = {"width": 1280, "height": 1080}
PHONE = {"width": 390, "height": 844}
FOCUSED = """() => {
  let focused = document.activeElement;
  while (focused.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement;
  return focused;
}"""


@pytest.fixture(scope="session")
async def acme(site: Site) -> Account:
    """A tenant with some of everything."""
    account = site.account("acme")
    seats = account.price("pro")
    calls, storage = account.metered = (
        account.price("api_calls", metered=True),
        account.price("storage_gb", metered=True),
    )
    length = account.period.end - account.period.start

    def bill(number: str, seat_count: int, call_count: int, stored: int, *, back: int, **more: Any) -> Awaitable[None]:
        span = objects.Span(account.period.start - back * length, account.period.end - back * length)
        amounts = [(seats, seat_count, seat_count * 1900), (calls, call_count, call_count // 10)]
        return account.bill(number, amounts=[*amounts, (storage, stored, stored * 25)], period=span, **more)

    attempt = account.period.start + length / 2
    story = (
        account.subscribe(seats=5, status="trialing", trial=account.period),
        bill("ACME-001", 5, 8_200, 40, back=4),
        bill("ACME-002", 5, 12_400, 55, back=3),
        bill("ACME-003", 8, 9_850, 71, back=2),
        account.subscribe(seats=8),
        bill("ACME-004", 8, 15_310, 84, back=1),
        account.subscribe(seats=8, status="past_due"),
        bill("ACME-005", 12, 6_120, 90, back=0, status="open", next_payment_attempt_at=attempt, attempt_count=1),
        account.subscribe(seats=12),
    )
    for number, step in enumerate(story, start=1):
        await step
        await account.history(at_least=number)  # concurrent events may overtake each other
    return account


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("light", {"viewport": WIDE, "color_scheme": "light"}),
        ("dark", {"viewport": WIDE, "color_scheme": "dark"}),
        ("phone", {"viewport": PHONE, "color_scheme": "light", "has_touch": True, "device_scale_factor": 1.5}),
        ("phone-dark", {"viewport": PHONE, "color_scheme": "dark", "has_touch": True}),
    ],
)
async def test_the_page_is_accessible_and_fits(
    acme: Account, visit: Visiting, pytestconfig: pytest.Config, name: str, options: dict[str, Any]
) -> None:
    """axe finds no serious violation in either scheme and width, and the page does not scroll sideways."""
    page = (await visit(acme, **options)).page
    await expect(page.locator("#feed > article").first).to_be_visible()
    assert await violations(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if name != "phone-dark":
        await take_picture(page, pytestconfig, name)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_an_empty_page_says_what_to_do(
    site: Site, visit: Visiting, pytestconfig: pytest.Config, scheme: str
) -> None:
    """Before the first event the page shows how to set up; the steps disappear with it."""
    account = site.account(f"empty-{scheme}")
    page = (await visit(account, viewport=WIDE, color_scheme=scheme)).page
    await expect(page.get_by_role("heading", name="Nothing has been billed yet")).to_be_visible()
    await expect(page.locator(".start")).to_contain_text(f"billing tenants link cus_… {account.tenant_id}")
    assert await violations(page) == []
    if scheme == "light":
        await take_picture(page, pytestconfig, "empty")
    await account.subscribe(seats=3)
    await expect(page.get_by_role("heading", name="Nothing has been billed yet")).to_be_hidden()
    await expect(page.get_by_role("heading", name="pro")).to_be_visible()


async def test_everything_can_be_done_by_keyboard(acme: Account, visit: Visiting) -> None:
    """Sign in, reach every control and sign out without a pointer; the focus is always visible."""
    visitor = await visit()
    page = visitor.page
    assert await violations(page) == []
    await page.get_by_label("Token").focus()
    await page.keyboard.insert_text("not a token")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("not a token")
    await expect(page.get_by_label("Token")).to_be_focused()
    await page.keyboard.insert_text(acme.token)
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await visitor.live()
    await expect(page.locator("#signed-in")).to_be_focused()
    reached = []
    for _ in range(30):
        await page.keyboard.press("Tab")
        focused = await page.evaluate_handle(FOCUSED)
        if await focused.evaluate("each => each === document.body"):
            break
        name = await focused.evaluate("each => each.ariaLabel ?? (each.labels?.[0] ?? each).textContent.trim()")
        outlined = "each => [each, each.labels?.[0]].some((it) => it && getComputedStyle(it).outlineStyle !== 'none')"
        assert await focused.evaluate(outlined), name
        reached.append(name)
    assert reached[:2] == ["Pay", "Pay ACME-005, US$256.62"]
    assert reached[2:7] == [f"PDF of ACME-00{number}" for number in (5, 4, 3, 2, 1)]
    assert reached[7] == "All"  # of the feed
    await page.get_by_role("button", name="Sign out").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Token")).to_be_focused()
    assert await page.evaluate("sessionStorage.length") == 0


async def violations(page: Page) -> list[str]:
    """Return the violations that axe finds, its best practices included, with their places."""
    # Without `preload`, by which axe copies the styles of a shadow tree into the page: its policy refuses that.
    results = (await Axe().run(page, options={"preload": False})).response["violations"]
    return [f"{found['id']}: {[node['target'] for node in found['nodes']]}" for found in results]


async def take_picture(page: Page, config: pytest.Config, name: str) -> None:
    """Write a picture if the run has --screenshots. Playwright creates the folder."""
    folder: Path | None = config.getoption("--screenshots")
    if folder is not None:
        await page.screenshot(path=folder / f"activity-{name}.png", animations="disabled")
