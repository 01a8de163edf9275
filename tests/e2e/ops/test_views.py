"""The views of the operator's page: what happened is there, live, and each view has an address."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest
from playwright.async_api import Page, Route, expect
from tests.e2e.ops.conftest import API, operators_token

if TYPE_CHECKING:
    from playwright.async_api import Locator
    from tests.e2e.conftest import Site
    from tests.e2e.ops.conftest import Api, Operating

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


def rows(page: Page) -> Locator:
    return page.locator("#content tbody tr")


def row(page: Page, event_id: str) -> Locator:
    return rows(page).filter(has_text=event_id)


async def test_the_overview_follows_what_happens(operated: Site, api: Api, operate: Operating) -> None:
    """Its first sentence says how things are; an event appears without a reload."""
    page = (await operate("/ops")).page
    account = operated.account("overview")
    event_id = await account.subscribe(seats=3)
    await expect(row(page, event_id)).to_contain_text("Applied")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("vent")
    await expect(page.locator(".flow > li")).to_have_count(5)
    await expect(page.locator(".flow [data-stage=applied] .chart path")).to_have_count(1)
    await expect(page.locator("#invariants")).to_contain_text("hold")
    await expect(page.locator("#processes")).to_contain_text("handles events")
    parked = await operated.account("overview-parked").subscribe(seats=1, tenant_id=None)
    await api.event(parked, status="parked")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("parked")


NEVER: Final = {"p50_seconds": None, "p95_seconds": None}
LATENCIES: dict[str, tuple[dict[str, float] | dict[str, None], dict[str, float], str]] = {
    "on time": (
        {"p50_seconds": 0.08, "p95_seconds": 0.2},
        {"applied": 0.1, "published": 0.05, "delivered": 0.05},
        "300 ms of the target of 500 ms are left",
    ),
    "late": (
        {"p50_seconds": 0.3, "p95_seconds": 0.9},
        {"applied": 0.7, "published": 0.1, "delivered": 0.1},
        "400 ms over the target",
    ),
    "unseen": ({"p50_seconds": 0.08, "p95_seconds": 0.1}, {"applied": 0.1}, "no open stream was written to"),
    "nothing": (NEVER, {}, "No delay was reported"),
}


@pytest.mark.parametrize("name", LATENCIES)
async def test_the_latency_is_shown_against_its_target(operated: Site, operate: Operating, name: str) -> None:
    """With the part that is left or exceeds it, and a word on what was not measured."""
    latency, stages, words = LATENCIES[name]
    opened = await operate("/ops/audit")
    page = opened.page

    async def answer(route: Route) -> None:
        response = await route.fetch()
        overview = await response.json()
        overview["latency"] |= latency
        for stage in overview["stages"]:
            stage["p95_seconds"] = stages.get(stage["name"])
        await route.fulfill(response=response, json=overview)

    await page.route(f"**{API}/overview*", answer)
    await page.get_by_role("link", name="Overview").click()
    budget = page.locator(".budget")
    await expect(budget).to_contain_text(words)
    await expect(budget.locator("rect.over")).to_have_count(1 if name == "late" else 0)
    await expect(budget.locator("svg")).to_have_count(0 if name == "nothing" else 1)


async def test_filters_live_in_the_address(operated: Site, api: Api, operate: Operating) -> None:
    """Tenant, type, status and reason narrow the list; a link shows another operator the same."""
    account = operated.account("filtered")
    applied = await account.subscribe(seats=3)
    await api.event(applied, status="applied")
    await account.bill("F-1", amounts=[(account.price("pro"), 3, 5700)])
    dead = await account.subscribe(seats=4, tenant_id="another")
    await api.event(dead, status="dead")
    page = (await operate("/ops/events")).page
    search = page.get_by_role("searchbox")
    await search.fill("tenant:filtered")
    await expect(rows(page)).to_have_count(3)
    await search.fill("tenant:filtered customer.*")
    await expect(rows(page)).to_have_count(2)
    await expect(row(page, applied)).to_contain_text("customer.subscription.updated")
    await search.fill(account.customer_id)
    await page.get_by_role("radio", name="Dead").check()
    await expect(rows(page)).to_have_count(1)
    await expect(row(page, dead)).to_contain_text("tenant_conflict")
    await page.get_by_label("Reason").select_option("tenant_conflict")
    await expect(page).to_have_url(
        f"{operated.base_url}/ops/events?q={account.customer_id}&status=dead&reason=tenant_conflict"
    )
    other = (await operate(page.url.removeprefix(operated.base_url))).page
    await expect(other.get_by_role("searchbox")).to_have_value(account.customer_id)
    await expect(other.get_by_role("radio", name="Dead")).to_be_checked()
    await expect(rows(other)).to_have_count(1)
    await other.get_by_role("searchbox").fill("nothing-like-this")
    await expect(other.get_by_text("No event matches these filters.")).to_be_visible()


async def test_the_list_of_events_is_live_and_moves_no_focus(operated: Site, operate: Operating) -> None:
    """A new event arrives at the top while a row further down has the focus."""
    account = operated.account("followed")
    first = await account.subscribe(seats=1)
    page = (await operate("/ops/events?q=tenant:followed")).page
    await row(page, first).get_by_role("link").first.focus()
    second = await account.subscribe(seats=2)
    await expect(rows(page).first).to_contain_text(second)
    focused = "document.activeElement.closest('tr')?.textContent ?? ''"
    assert first in await page.evaluate(focused)
    await page.keyboard.press("ArrowUp")
    assert second in await page.evaluate(focused)
    await page.keyboard.press("ArrowDown")
    assert first in await page.evaluate(focused)


async def test_older_events_are_a_button_away(operated: Site, api: Api, operate: Operating) -> None:
    """Fifty at a time; an older page stays as it is."""
    account = operated.account("many")
    sent = [await account.subscribe(seats=seats) for seats in range(1, 56)]
    await api.event(sent[-1], status="applied")
    page = (await operate("/ops/events?q=tenant:many")).page
    await expect(rows(page)).to_have_count(50)
    await page.get_by_role("link", name="Older").click()
    await expect(rows(page)).to_have_count(5)
    await expect(rows(page).last).to_contain_text(sent[0])
    await page.go_back()
    await expect(rows(page)).to_have_count(50)


async def test_one_event_shows_what_became_of_it(operated: Site, api: Api, operate: Operating) -> None:
    """Its outcome, changes and messages; going back leads to the list."""
    account = operated.account("told")
    await account.subscribe(seats=3)
    event_id = await account.subscribe(seats=5)
    number = (await api.event(event_id, status="applied"))["number"]  # accounts may share Stripe's id
    page = (await operate("/ops/events?q=tenant:told")).page
    await row(page, event_id).get_by_role("link").first.click()
    await expect(page).to_have_url(f"{operated.base_url}/ops/events/{number}")
    await expect(page.locator("#content")).to_be_focused()
    await expect(page.get_by_role("heading", level=1)).to_have_text("customer.subscription.updated")
    await expect(page.locator(".sum")).to_contain_text("Applied")
    seats = page.locator("#changes-0 tbody tr").filter(has=page.get_by_role("rowheader", name="seat_count"))
    await expect(seats.locator("del")).to_have_text("3")
    await expect(seats.locator("ins")).to_have_text("5")
    await expect(page.locator("#messages tbody tr")).to_have_count(1)
    await expect(page.locator("#envelope")).to_contain_text(account.customer_id)
    await page.go_back()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Events")


async def test_a_tenant_is_explained(operated: Site, api: Api, operate: Operating) -> None:
    """By its access, the events that led to it, and what waits for attention; found by its customer too."""
    account = operated.account("explained")
    await account.subscribe(seats=3)
    unpaid = await account.subscribe(seats=3, status="unpaid")
    await api.event(unpaid, status="applied")
    dead = await account.subscribe(seats=4, tenant_id="another")
    await api.event(dead, status="dead")
    page = (await operate("/ops/tenants")).page
    await page.get_by_role("searchbox").fill("explai")
    await expect(rows(page)).to_have_count(1)
    await page.get_by_role("link", name="explained").click()
    await expect(page.locator(".sum")).to_contain_text("unpaid")
    await expect(page.locator("#attention")).to_contain_text("1 event is dead")
    await expect(page.locator(".steps > li").first).to_contain_text("tenant_conflict")
    await expect(page.locator(".steps > li").nth(1)).to_contain_text("unpaid")
    await expect(page.locator("#subscription-0")).to_contain_text("Unpaid")
    await expect(page.locator("#customers")).to_contain_text(account.customer_id)
    by_customer = (await operate(f"/ops/tenants/{account.customer_id}")).page
    await expect(by_customer.get_by_role("heading", level=1)).to_have_text("explained")


async def test_what_does_not_exist_is_said(operate: Operating) -> None:
    """An unknown event or tenant is no blank page."""
    for path in ("/ops/events/evt_unknown", "/ops/tenants/unknown"):
        opened = await operate(path)
        opened.connection_may_be_lost = True  # the 404 is an error on the console
        await expect(opened.page.get_by_role("heading", level=1)).to_have_text("Not found")
        await expect(opened.page.get_by_role("button", name="Try again")).to_be_visible()


async def test_a_lost_connection_is_shown_and_comes_back(operated: Site, operate: Operating) -> None:
    """The screen keeps its content, with the time it was right; after the return the list is loaded again."""
    account = operated.account("cut-off")
    first = await account.subscribe(seats=1)
    opened = await operate("/ops/events?q=tenant:cut-off")
    opened.connection_may_be_lost = True
    page = opened.page
    await expect(row(page, first)).to_be_visible()

    async def cut(route: Route) -> None:
        await route.abort()

    await page.route(f"**{API}/**", cut)
    await opened.context.set_offline(True)
    await expect(page.locator("#connection")).to_contain_text("Not live, as of")
    await expect(row(page, first)).to_be_visible()
    second = await account.subscribe(seats=2)
    await page.unroute(f"**{API}/**")
    await opened.context.set_offline(False)
    await expect(page.locator("#connection")).to_have_text("Live")
    await expect(row(page, second)).to_be_visible()


async def test_a_view_that_takes_long_says_so(operate: Operating) -> None:
    """On a bad network nothing looks broken: what is shown stays, and an empty page says that it is loading."""
    opened = await operate("/ops/audit")
    page, go_on = opened.page, asyncio.Event()

    async def slow(route: Route) -> None:
        await go_on.wait()
        await route.continue_()

    await page.route(f"**{API}/tenants*", slow)
    await page.get_by_role("link", name="Tenants").click()
    await expect(page.locator("#content")).to_have_attribute("aria-busy", "true")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Audit log")
    await page.reload()
    await expect(page.locator("#content")).to_have_text("Loading…")
    go_on.set()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Tenants")


async def test_a_view_that_cannot_be_refreshed_is_not_called_live(operated: Site, operate: Operating) -> None:
    """The connection stands, and the answers fail: what is shown stays, with the time it was right."""
    account = operated.account("outdated")
    first = await account.subscribe(seats=1)
    opened = await operate("/ops/events?q=tenant:outdated")
    opened.connection_may_be_lost = True
    page = opened.page
    await expect(row(page, first)).to_be_visible()

    async def fail(route: Route) -> None:
        await route.fulfill(status=503, json={"status": 503, "code": "busy", "detail": "This server is busy."})

    await page.route(f"**{API}/events?*", fail)
    second = await account.subscribe(seats=2)
    await expect(page.locator("#connection")).to_contain_text("Not updated since")
    await expect(row(page, first)).to_be_visible()
    await page.unroute(f"**{API}/events?*")
    await expect(row(page, second)).to_be_visible()
    await expect(page.locator("#connection")).to_have_text("Live")


async def test_a_search_that_cannot_be_meant_says_so(operated: Site, operate: Operating) -> None:
    """Two tenants at once, in the list and before a replay; an e-mail address stays out of the address."""
    opened = await operate("/ops/events")
    page, requested = opened.page, list[str]()
    page.on("request", lambda request: requested.append(request.url))
    await page.get_by_role("searchbox").fill("harbor acme")
    await expect(page.get_by_text("A search takes one tenant, and these are 2: harbor, acme.")).to_be_visible()
    await expect(rows(page)).to_have_count(0)
    await page.goto(f"{operated.base_url}/ops/replay?q=tenant:harbor+tenant:acme")
    await expect(page.get_by_text("A search takes one tenant")).to_be_visible()
    await expect(page.get_by_label("Why")).to_have_count(0)
    await page.goto(f"{operated.base_url}/ops/events")
    await page.get_by_role("searchbox").fill("ann@acme.example")
    await page.keyboard.press("Enter")
    assert "ann" in await page.get_by_role("searchbox").input_value()
    assert not await page.get_by_role("searchbox").evaluate("input => input.validity.valid")
    assert not [url for url in [page.url, *requested] if "ann" in url]


async def test_an_email_address_is_in_no_address(operated: Site, operate: Operating) -> None:
    """Tenants are searched for in the body of a request, and the history of the browser has no word of it."""
    await operated.account("addressed").subscribe(seats=1)
    opened = await operate("/ops/tenants")
    page, requested = opened.page, list[str]()
    page.on("request", lambda request: requested.append(request.url))
    search = page.get_by_role("searchbox")
    await search.fill("ann@acme.example")
    await expect(page.get_by_text("No customer matches.")).to_be_visible()
    await page.get_by_text("Not linked").click()
    await expect(page).to_have_url(f"{operated.base_url}/ops/tenants?linked=false")
    await expect(search).to_have_value("ann@acme.example")
    assert not [url for url in [page.url, *requested] if "ann" in url]
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_label("Token").fill(operators_token())
    await page.keyboard.press("Enter")
    await expect(search).to_have_value("")


async def test_without_a_stream_the_page_still_loads_what_is_new(operated: Site, operate: Operating) -> None:
    """A proxy may let everything through but streams; it is not called live then."""
    account = operated.account("unstreamed")
    first = await account.subscribe(seats=1)
    opened = await operate("/ops/events?q=tenant:unstreamed")
    opened.connection_may_be_lost = True
    page = opened.page
    await expect(row(page, first)).to_be_visible()

    async def cut(route: Route) -> None:
        await route.abort()

    await page.route(f"**{API}/live", cut)
    await page.evaluate("dispatchEvent(new Event('offline'))")
    await expect(page.locator("#connection")).to_contain_text("Not live, as of")
    second = await account.subscribe(seats=2)
    await expect(row(page, second)).to_be_visible()
    await expect(page.locator("#connection")).to_contain_text("Not live, as of")
