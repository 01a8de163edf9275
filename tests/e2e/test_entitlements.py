"""The page shows what a tenant may use and what is left of it, and follows changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect
from tests.e2e.conftest import Site, deployed
from tests.e2e.test_look import PHONE, WIDE, take_picture, violations

if TYPE_CHECKING:
    from playwright.async_api import Page
    from tests.databases import Databases
    from tests.e2e.conftest import Visiting

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

SOLD = """
[plans.pro]
match.lookup_keys = ["pro"]
prices = [{ role = "metered", feature = "api_calls", lookup_key = "api_calls" }]

[plans.pro.features]
exports = true
projects = 50
members = { max = 3, per_seat = true }
api_calls = { metered = true, included = 10_000 }

[plans.enterprise.features]
audit_log = true
"""


@pytest.fixture(scope="module", name="site")
async def site_with_plans(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A deployment that sells plans with features."""
    folder = tmp_path_factory.mktemp("sold")
    rules = folder / "billing.toml"
    rules.write_text(SOLD, encoding="utf-8")
    async with deployed(databases, folder, BILLING_CONFIG=str(rules)) as running:
        yield running


async def rows(page: Page, *expected: Sequence[str]) -> None:
    """Wait until the page shows these counted features, each with its words."""
    counted = page.locator(".uses > li")
    await expect(counted).to_have_count(len(expected))
    for number, words in enumerate(expected):
        for each in words:
            await expect(counted.nth(number)).to_contain_text(each)


async def test_the_page_shows_what_is_left_and_follows_changes(
    site: Site, visit: Visiting, pytestconfig: pytest.Config
) -> None:
    """Without a reload: seats and usage change the amounts, and an end of access refuses everything."""
    account = site.account("entitled")
    account.metered = (account.price("api_calls", metered=True),)
    await account.subscribe(seats=5)
    await account.history(at_least=1)
    opened = await visit(account, viewport=WIDE)
    page = opened.page
    await rows(
        page,
        ["Api calls", "0 of 10,000", "10,000 left", "until"],
        ["Members", "up to 15"],
        ["Projects", "up to 50"],
    )
    await expect(page.locator(".included > li")).to_have_text(["Exports"])
    await expect(page.locator(".excluded > li")).to_have_text(["Audit log"])
    await account.bill("E-1", amounts=[(account.price("pro"), 5, 9500), (account.metered[0], 6_120, 612)])
    await rows(page, ["Api calls", "6,120 of 10,000", "3,880 left"], ["Members"], ["Projects"])
    await account.subscribe(seats=8)
    await expect(page.locator(".uses > li").nth(1)).to_contain_text("up to 24")
    assert await violations(page) == []
    await take_picture(page, pytestconfig, "entitlements")
    await page.set_viewport_size(PHONE)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await account.subscribe(seats=8, status="canceled")
    await expect(page.locator(".excluded > li")).to_have_count(5)
    await expect(page.locator(".excluded > li").first).to_have_text("Api calls (no access)")
    await rows(page)
