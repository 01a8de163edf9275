"""Sign-in and the end of a session on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Route, expect

if TYPE_CHECKING:
    from tests.e2e.conftest import Site, Visiting

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


def refusing(status: int, code: str) -> object:
    async def answer(route: Route) -> None:
        await route.fulfill(status=status, json={"error": {"code": code, "message": "Because."}})

    return answer


async def test_without_a_token_the_page_asks_for_one(visit: Visiting) -> None:
    """It reads nothing, and shows how to create one."""
    page = (await visit()).page
    await expect(page.get_by_role("heading", name="See a tenant’s billing as it happens")).to_be_visible()
    await expect(page.get_by_text("billing token --tenant acme")).to_be_visible()
    await expect(page.locator("#connection")).to_have_count(0)


async def test_the_demos_link_signs_in(site: Site, visit: Visiting) -> None:
    """The ticket disappears from the URL and the history; the token stays in the tab."""
    account = site.account("linked")
    await account.subscribe(seats=4)
    opened = await visit()
    await opened.page.goto(account.sign_in_link)
    await opened.live()
    await expect(opened.page.locator("#tenant")).to_have_text("linked")
    assert opened.page.url == f"{site.base_url}/activity"
    await opened.page.reload()
    await opened.shows(1)


async def test_a_session_that_has_ended_says_so(site: Site, visit: Visiting) -> None:
    """The token is deleted, and the page asks for a new one."""
    opened = await visit(site.account("ended"), stream=refusing(401, "unauthorized"))
    await expect(opened.page.get_by_role("alert")).to_have_text("Your session has ended. Sign in with a new token.")
    assert await opened.page.evaluate("sessionStorage.length") == 0


async def test_without_a_stream_the_page_shows_the_state(site: Site, visit: Visiting) -> None:
    """It shows that it is not live, and does not retry."""
    account = site.account("switched-off")
    await account.subscribe(seats=4)
    await account.history(at_least=1)  # a page without a stream does not see it later
    opened = await visit(account, stream=refusing(404, "stream_disabled"))
    await expect(opened.page.locator("#connection")).to_have_text("Not live: the stream is disabled")
    await expect(opened.page.get_by_role("heading", name="pro")).to_be_visible()
    await expect(opened.page.locator("#feed > article")).to_have_count(1)


async def test_earlier_messages_are_a_button_away(site: Site, visit: Visiting) -> None:
    """The feed starts with the last fifty messages; a button loads more until number 1 is shown."""
    account = site.account("long-history")
    for seats in range(1, 121):
        await account.subscribe(seats=seats)
        await account.history(at_least=seats)
    opened = await visit(account)
    page = opened.page
    for count in (50, 100):
        await expect(page.locator("#feed > article")).to_have_count(count)
        await page.get_by_role("button", name="Show earlier").click()
    await expect(page.locator("#feed > article")).to_have_count(120)
    await expect(page.get_by_role("button", name="Show earlier")).to_be_hidden()
    assert await opened.numbers() == list(range(120, 0, -1))
