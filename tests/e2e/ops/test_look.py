"""Look and accessibility of the operator's page: each view in both schemes and widths, and by keyboard alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

if TYPE_CHECKING:
    from tests.e2e.conftest import Site, Visit
    from tests.e2e.ops.conftest import Api, Operating

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
NARROW = {"width": 320, "height": 640}


@pytest.fixture(scope="session")
async def views(operated: Site, api: Api) -> dict[str, str]:
    """The address of each view, with something of everything on it."""
    harbor, acme, tern = (operated.account(name) for name in ("harbor", "acme", "tern-studio"))
    await api.event(await acme.subscribe(seats=7), status="applied")
    async with streamed(operated, acme.token):
        for number, seats in enumerate((8, 9, 12)):
            await api.event(await acme.subscribe(seats=seats), status="applied")
            await acme.bill(f"ACME-000{number}", amounts=[(acme.price("pro"), seats, seats * 1900)])
        await delivered(api)
    await api.event(await harbor.subscribe(seats=4), status="applied")
    await harbor.bill("HARBOR-0007", amounts=[(harbor.price("pro"), 4, 7600)], status="open", attempt_count=1)
    overdue = await harbor.subscribe(seats=4, status="past_due")
    await api.event(overdue, status="applied")
    for seats in (5, 6):
        await api.event(await harbor.subscribe(seats=seats, tenant_id="beacon"), status="dead")
    await api.event(await tern.subscribe(seats=2, tenant_id=None), status="parked")
    await act(operated, api)
    return {
        "overview": "/ops",
        "events": "/ops/events",
        "event": f"/ops/events/{overdue}",
        "tenants": "/ops/tenants",
        "tenant": "/ops/tenants/harbor",
        "replay": "/ops/replay?status=dead&since=all",
        "audit": "/ops/audit",
    }


@asynccontextmanager
async def streamed(operated: Site, token: str) -> AsyncIterator[None]:
    """Keep a stream of a tenant open."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{operated.base_url}/api/v1/billing/stream") as response,
    ):
        assert response.status == 200, await response.text()
        yield


async def delivered(api: Api) -> None:
    """Wait until the overview knows how long deliveries took: processes report that now and then."""
    async with asyncio.timeout(120):
        while (await api.get("/overview", window="5m"))["stages"][-1]["p95_seconds"] is None:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def act(operated: Site, api: Api) -> None:
    """Leave an action of each kind in the audit log, among them a grant to harbor."""
    juniper = operated.account("juniper")
    await api.event(await juniper.subscribe(seats=3), status="applied")
    moving = {"object_id": juniper.customer_id, "to_tenant": "juniper-labs", "keep_history": True}
    change = await api.post("/links/move/dry-run", moving)
    moved = {"create": True, "confirm": len(change["differences"]), "why": "it has a workspace of its own now"}
    await api.post("/links/move", moving | moved)
    until = (datetime.now(UTC) + timedelta(days=7)).isoformat()
    grant = {"plan_code": "pro", "until": until, "why": "bank transfer is on its way"}
    await api.post("/tenants/harbor/grants", grant)


VIEWS = ("overview", "events", "event", "tenants", "tenant", "replay", "audit")
KINDS: dict[str, dict[str, Any]] = {
    "light": {"viewport": WIDE, "color_scheme": "light"},
    "dark": {"viewport": WIDE, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light", "has_touch": True},
    "phone-dark": {"viewport": PHONE, "color_scheme": "dark", "has_touch": True},
}
PICTURES = {
    ("overview", "light"),
    ("overview", "dark"),
    ("overview", "phone"),
    *((view, "light") for view in VIEWS[1:]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("view", VIEWS)
async def test_a_view_is_accessible_and_fits(
    views: dict[str, str], operate: Operating, pytestconfig: pytest.Config, view: str, kind: str
) -> None:
    """axe finds nothing in either scheme and width, and the page does not scroll sideways, down to 320 px."""
    page = (await operate(views[view], **KINDS[kind])).page
    await shown(page)
    assert await violations(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if (view, kind) in PICTURES:
        await take_picture(page, pytestconfig, f"{view}-{kind}")
    if kind == "phone":
        await page.set_viewport_size(NARROW)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("kind", ["light", "phone"])
async def test_dialogs_are_accessible(views: dict[str, str], operate: Operating, kind: str) -> None:
    """Each has a name, begins at its first field, closes with Escape and gives the focus back."""
    page = (await operate(views["tenant"], **KINDS[kind])).page
    for name in ("Link a customer…", "Grant access…", "Move…", "Unlink…"):
        opener = page.get_by_role("button", name=name, exact=True)
        await opener.click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_be_visible()
        assert await page.evaluate("document.activeElement.matches('dialog input, dialog select')")
        assert await violations(page) == []
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
        await expect(opener).to_be_focused()


async def test_everything_can_be_done_by_keyboard(views: dict[str, str], operate: Operating) -> None:
    """Skip to the content, reach every control with a visible focus, and open an event."""
    opened = await operate(views["events"], viewport=WIDE)
    page = opened.page
    await shown(page)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    reached = await tab_through(opened)
    for name in ("Overview", "Events", "Tenants", "Replay", "Audit log", "Sign out"):
        assert name in reached
    assert any("harbor" in name for name in reached)
    await page.locator("tbody tr").first.get_by_role("link").first.focus()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.locator("#envelope")).to_be_visible()
    await expect(page.locator("#content")).to_be_focused()


async def tab_through(opened: Visit) -> list[str]:
    """Return the texts of the controls that Tab reaches; assert that each shows its focus."""
    page, reached = opened.page, []
    for _ in range(80):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement === document.body"):
            break
        name = await page.evaluate("document.activeElement.textContent.trim().slice(0, 40)")
        shown = "const it = document.activeElement; const box = it.closest('.choice label') ?? it; "
        assert await page.evaluate(f"(() => {{ {shown} return getComputedStyle(box).outlineStyle !== 'none' }})()"), (
            name
        )
        reached.append(name)
    return reached


HOSTILE = {"html": '<img/src=x/onerror="alert(1)"><script>alert(2)</script>', "long": "W" * 200}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_tenant_stays_text(operated: Site, api: Api, operate: Operating, name: str) -> None:
    """In every view, it runs no code and breaks no layout."""
    text = HOSTILE[name]
    account = operated.account(f"hostile-{name}")
    event_id = await account.subscribe(seats=1, plan=text, tenant_id=text)
    await api.event(event_id, status="applied")
    opened = await operate("/ops/events?q=" + account.customer_id, viewport=PHONE)
    page = opened.page
    page.on("dialog", lambda dialog: opened.faults.append(f"dialog: {dialog.message}"))
    await expect(page.locator("tbody bdi").filter(has_text=text).first).to_be_visible()
    for path in (
        f"/ops/events/{event_id}",
        f"/ops/tenants/{account.customer_id}",
        "/ops/tenants",
    ):
        await page.goto(operated.base_url + path)
        await shown(page)
        if path == "/ops/tenants":
            await page.get_by_role("searchbox").fill(account.customer_id)
        await expect(page.locator("#content bdi").filter(has_text=text).first).to_be_visible()
        assert await page.locator("main :is(img, script, iframe)").count() == 0
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def shown(page: Page) -> None:
    """Wait until the view is there and live."""
    await expect(page.locator("#content h1")).to_be_visible()
    await expect(page.locator("#connection")).to_have_text("Live")


async def violations(page: Page) -> list[str]:
    """Return everything that axe finds, with its places."""
    results = (await Axe().run(page)).response["violations"]
    return [f"{found['id']}: {[node['target'] for node in found['nodes']]}" for found in results]


async def take_picture(page: Page, config: pytest.Config, name: str) -> None:
    """Write a picture if the run has --screenshots. Playwright creates the folder."""
    folder: Path | None = config.getoption("--screenshots")
    if folder is not None:
        await page.screenshot(path=folder / f"ops-{name}.png", animations="disabled", full_page=True)
