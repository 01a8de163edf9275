"""Signing in to the operator's page, and the end of a session."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Route, expect
from tests.e2e.conftest import JWT_SECRET
from tests.e2e.ops.conftest import API, OPERATOR, operators_token

from billing_app.http.tokens import issue_token
from billing_app.settings import TokenSettings
from billing_core.model import TenantId

if TYPE_CHECKING:
    from tests.e2e.ops.conftest import Operating

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


async def test_without_a_token_the_page_reads_nothing(operate: Operating) -> None:
    """It says how to create a token, and shows no view."""
    requests: list[str] = []
    opened = await operate(signed_in=False)
    opened.page.on("request", lambda request: requests.append(request.url))
    await opened.page.reload()
    await expect(opened.page.get_by_role("heading", name="Sign in to operate billing")).to_be_visible()
    await expect(opened.page.get_by_text("billing token --operator")).to_be_visible()
    await expect(opened.page.get_by_role("navigation")).to_be_hidden()
    assert not [url for url in requests if API in url]


async def test_a_token_signs_in_until_it_is_signed_out(operate: Operating) -> None:
    """Enter signs in; the token stays in the tab, in no URL, and is deleted by signing out."""
    opened = await operate("/ops/audit", signed_in=False)
    page = opened.page
    token = operators_token()
    await page.get_by_label("Token").fill(token)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Audit log")).to_be_visible()
    await expect(page.locator("#operator")).to_have_text(OPERATOR)
    await expect(page.locator("#content")).to_be_focused()
    assert token not in page.url
    assert await page.evaluate("document.cookie + localStorage.length") == "0"
    await page.reload()
    await expect(page.get_by_role("heading", name="Audit log")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Token")).to_be_focused()
    await expect(page.locator("#content")).to_be_empty()
    assert await page.evaluate("sessionStorage.length") == 0


def tenants_token() -> str:
    """Return a token that opens one tenant, even though its role is an operator's."""
    until = {"now": datetime.now(UTC), "ttl": timedelta(hours=1)}
    return issue_token(secret=JWT_SECRET, policy=TokenSettings(), tenant_id=TenantId("acme"), role="operator", **until)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("none", "A token has three parts"),
        ("expired", "The token has expired. Sign in with another one."),
        ("viewer", "viewer"),
        ("tenant", "tenant"),
    ],
)
async def test_a_token_of_another_kind_is_refused(operate: Operating, kind: str, text: str) -> None:
    """The page says why, keeps no token, and takes the next one."""
    token = {
        "none": "not a token",
        "expired": operators_token(ttl=timedelta(seconds=-60)),
        "viewer": operators_token(role="viewer"),
        "tenant": tenants_token(),
    }[kind]
    opened = await operate(signed_in=False)
    opened.connection_may_be_lost = True  # the refusal is an error on the console
    page = opened.page
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text(text)
    await expect(page.get_by_label("Token")).to_be_focused()
    assert await page.evaluate("sessionStorage.length") == 0
    await page.get_by_label("Token").fill(operators_token())
    await page.keyboard.press("Enter")
    await expect(page.locator("#connection")).to_have_text("Live")


async def test_a_session_that_has_ended_says_so(operate: Operating) -> None:
    """The data disappears from the page, and a dialog that is open closes."""
    opened = await operate("/ops/tenants")
    opened.connection_may_be_lost = True
    page = opened.page
    await page.get_by_role("button", name="Link a customer…").click()

    async def refuse(route: Route) -> None:
        problem = {"status": 401, "code": "unauthorized", "detail": "The token has expired."}
        await route.fulfill(status=401, json=problem)

    await page.route(f"**{API}/**", refuse)
    await page.keyboard.press("Escape")
    await page.get_by_role("link", name="Events").click()
    await expect(page.get_by_role("alert")).to_contain_text("The token has expired.")
    await expect(page.locator("#content")).to_be_empty()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    assert await page.evaluate("sessionStorage.length") == 0


async def test_a_server_that_does_not_answer_costs_no_token(operate: Operating) -> None:
    """After a reload on a bad network, the page tries again by itself."""
    opened = await operate("/ops/audit")
    opened.connection_may_be_lost = True
    page = opened.page

    async def cut(route: Route) -> None:
        await route.abort()

    await page.route(f"**{API}/**", cut)
    await page.reload()
    await expect(page.get_by_role("alert")).to_contain_text("Your token is kept")
    await page.unroute(f"**{API}/**")
    await expect(page.get_by_role("heading", name="Audit log")).to_be_visible()
    await expect(page.locator("#connection")).to_have_text("Live")


async def test_the_end_of_a_token_is_announced(operate: Operating) -> None:
    """Some minutes before: with the session ends what is being typed."""
    opened = await operate(signed_in=False)
    page = opened.page
    for minutes, announced in ((4, True), (30, False)):
        await page.get_by_label("Token").fill(operators_token(ttl=timedelta(minutes=minutes)))
        await page.keyboard.press("Enter")
        await expect(page.locator("#connection")).to_have_text("Live")
        if announced:
            await expect(page.locator("#expiry")).to_contain_text("Your token ends at")
        else:
            await expect(page.locator("#expiry")).to_be_empty()
        await page.get_by_role("button", name="Sign out").click()
