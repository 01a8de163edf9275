"""Actions on the operator's page: each asks why, shows what it would do first, and is in the audit log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import Page, Route, expect
from tests.e2e.ops.conftest import API, OPERATOR

if TYPE_CHECKING:
    from tests.e2e.conftest import Account, Site
    from tests.e2e.ops.conftest import Api, Operating

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

WHY = "support case 4119"


async def confirm(page: Page, button: str, *, number: int | None = None) -> None:
    """Give the reason and the number, and press the button, which is off until both are there."""
    dialog = page.get_by_role("dialog")
    submit = dialog.get_by_role("button", name=button, exact=True)
    await expect(submit).to_have_attribute("aria-disabled", "true")
    await dialog.get_by_label("Why").fill(WHY)
    if number is not None:
        await expect(submit).to_have_attribute("aria-disabled", "true")
        await dialog.get_by_label("to confirm").fill(str(number))
    await expect(submit).to_have_attribute("aria-disabled", "false")
    await submit.click()
    await expect(dialog.get_by_role("status")).to_be_visible()
    await dialog.get_by_role("button", name="Close").last.click()
    await expect(dialog).to_have_count(0)


async def check_audit(api: Api, action: str, named: str) -> None:
    """Assert that the audit log has the action, its reason and the operator."""
    audits = (await api.get("/audits", action=action))["audits"]
    (entry,) = [each for each in audits if named in str(each["filter"])]
    assert (entry["actor"], entry["why"]) == (OPERATOR, WHY)


async def contradicted(site: Site, api: Api, name: str) -> tuple[Account, str]:
    """Return an account with a dead event: it names another tenant than the one its customer is linked to."""
    account = site.account(name)
    await api.event(await account.subscribe(seats=1), status="applied")
    dead = await account.subscribe(seats=2, tenant_id=f"{name}-other")
    await api.event(dead, status="dead")
    return account, dead


async def test_hidden_data_is_shown_after_a_reason(operated: Site, api: Api, operate: Operating) -> None:
    """It is not on the page before, and showing it is one audited request."""
    account = operated.account("private")
    amounts = [(account.price("pro"), 1, 1900)]
    event_id = await account.bill("P-1", amounts=amounts, customer_email="ada@example.com")
    await api.event(event_id, status="applied")
    page = (await operate(f"/ops/events/{event_id}")).page
    payload = page.get_by_role("region", name="Body of the event")
    await expect(payload.locator("mark").first).to_be_visible()
    assert "ada@example.com" not in await page.content()
    await page.get_by_role("button", name="Show…").click()
    await confirm(page, "Show")
    await expect(payload).to_contain_text("ada@example.com")
    await check_audit(api, "reveal", event_id)


async def test_nothing_is_redrawn_under_a_dialog(operated: Site, api: Api, operate: Operating) -> None:
    """A view that was being loaded when it opened is loaded again once it has closed, and the focus stays."""
    account = operated.account("steady")
    await api.event(await account.subscribe(seats=41), status="applied")
    page = (await operate("/ops/tenants/steady")).page
    requested, opened = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        requested.set()
        await opened.wait()
        await route.continue_()

    await page.route(f"**{API}/tenants/steady", hold)
    await api.event(await account.subscribe(seats=42), status="applied")
    await requested.wait()
    opener = page.get_by_role("button", name="Grant access…")
    await opener.click()
    async with page.expect_response(f"**{API}/tenants/steady"):
        opened.set()
    await expect(page.locator("#content")).not_to_have_attribute("aria-busy", "true")
    await page.keyboard.press("Escape")
    await expect(opener).to_be_focused()
    await expect(page.locator("#content")).to_contain_text("42")
    await expect(opener).to_be_focused()


async def test_the_focus_stays_on_one_of_several_buttons_with_a_name(
    operated: Site, api: Api, operate: Operating
) -> None:
    """A tenant with two customers has two that move one; a refresh must not change what Enter does."""
    first, second = operated.account("pair"), operated.account("pair-second")
    await api.event(await first.subscribe(seats=51), status="applied")
    await api.event(await second.subscribe(seats=52, tenant_id="pair"), status="applied")
    page = (await operate("/ops/tenants/pair")).page
    opener = page.get_by_role("button", name="Move…").nth(1)
    await opener.focus()
    await api.event(await first.subscribe(seats=53), status="applied")
    await expect(page.locator("#content")).to_contain_text("53")
    await expect(opener).to_be_focused()


async def test_events_are_ignored(operated: Site, api: Api, operate: Operating) -> None:
    """The number that is typed is the number that matches; the list shows the result."""
    _account, dead = await contradicted(operated, api, "ignored")
    page = (await operate("/ops/events?q=tenant:ignored&status=dead")).page
    await expect(page.locator("tbody tr")).to_have_count(1)
    await page.get_by_role("button", name="Ignore…").click()
    await confirm(page, "Ignore 1 event", number=1)
    await expect(page.get_by_text("No event matches these filters.")).to_be_visible()
    await api.event(dead, status="ignored")
    await check_audit(api, "ignore", "ignored")


async def test_what_cannot_be_done_says_why(operated: Site, api: Api, operate: Operating) -> None:
    """The dialog stays, with the reason and what was typed."""
    await contradicted(operated, api, "refused-action")
    opened = await operate("/ops/events?q=tenant:refused-action&status=dead")
    opened.connection_may_be_lost = True  # the refusal is an error on the console
    page = opened.page
    await page.get_by_role("button", name="Ignore…").click()
    dialog = page.get_by_role("dialog")

    sent: list[Any] = []

    async def refuse(route: Route) -> None:
        sent.append(route.request.post_data_json)
        await route.fulfill(
            status=409, json={"code": "selection_changed", "detail": "2 events match now.", "matched": 2}
        )

    await page.route(f"**{API}/ignore", refuse)
    await dialog.get_by_label("Why").fill(WHY)
    await dialog.get_by_label("to confirm").fill("1")
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("alert")).to_have_text("2 events match now.")
    await expect(dialog.get_by_label("Why")).to_have_value(WHY)
    seen = await api.post("/ignore/dry-run", {"filter": sent[0]["filter"]})
    assert (sent[0]["fingerprint"], sent[0]["filter"]) == (seen["fingerprint"], seen["filter"])
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(page.get_by_role("button", name="Ignore…")).to_be_focused()


async def test_a_customer_is_linked_and_its_events_are_applied(operated: Site, api: Api, operate: Operating) -> None:
    """The list of customers without a link offers it; the waiting events are processed."""
    account = operated.account("late-link")
    parked = await account.subscribe(seats=2, tenant_id=None)
    await api.event(parked, status="parked")
    page = (await operate("/ops/tenants?linked=false")).page
    row = page.get_by_role("row").filter(has_text=account.customer_id)
    await row.get_by_role("button", name="Link…", exact=True).click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_label("Customer")).to_have_value(account.customer_id)
    await dialog.get_by_label("Tenant", exact=True).fill("late-link")
    await dialog.get_by_label("The tenant is new").check()
    await confirm(page, "Link")
    await api.event(parked, status="applied")
    await check_audit(api, "link", account.customer_id)


async def test_a_link_is_moved_after_a_preview(operated: Site, api: Api, operate: Operating) -> None:
    """The preview shows what would change and is void when a field changes; then the new tenant has the customer."""
    account, _dead = await contradicted(operated, api, "mover")
    page = (await operate("/ops/tenants/mover")).page
    await page.get_by_role("button", name="Move…").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("To tenant").fill("wrong")
    await dialog.get_by_role("button", name="Show what would change").click()
    await expect(dialog.get_by_text("Nothing has been changed.")).to_be_visible()
    await dialog.get_by_label("To tenant").fill("mover-other")
    await expect(dialog.get_by_label("Why")).to_have_count(0)
    await dialog.get_by_label("The tenant is new").check()
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_label("Why")).to_be_focused()
    number = await dialog.locator(".differences > li").count()
    await confirm(page, "Move to mover-other", number=number or None)
    await expect(page.locator("#customers")).to_contain_text("No customer is linked")
    shown = await api.get("/tenants/mover-other")
    assert [each["customer_id"] for each in shown["customers"]] == [account.customer_id]
    await check_audit(api, "move", account.customer_id)


async def test_a_customer_is_unlinked_after_a_preview(operated: Site, api: Api, operate: Operating) -> None:
    """Its tenant has no customer afterwards."""
    account = operated.account("leaver")
    await api.event(await account.subscribe(seats=1), status="applied")
    page = (await operate("/ops/tenants/leaver")).page
    await page.get_by_role("button", name="Unlink…").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Show what would change").click()
    await expect(dialog.get_by_label("Why")).to_be_focused()
    number = await dialog.locator(".differences > li").count()
    await confirm(page, "Unlink", number=number or None)
    await expect(page.locator("#customers")).to_contain_text("No customer is linked")
    await check_audit(api, "unlink", account.customer_id)


async def test_access_is_granted_and_ended(operated: Site, api: Api, operate: Operating) -> None:
    """The verdict names the grant, and what it would be without; ending it restores that."""
    account = operated.account("granted")
    await api.event(await account.subscribe(seats=1, status="unpaid"), status="applied")
    page = (await operate("/ops/tenants/granted")).page
    await expect(page.locator(".sum")).to_contain_text("unpaid")
    await page.get_by_role("button", name="Grant access…").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Plan").fill("pro")
    await dialog.get_by_label("Until").fill("2100-12-31")
    await confirm(page, "Grant access")
    await expect(page.locator(".sum")).to_contain_text("Full access until 31 Dec 2100")
    await expect(page.locator(".sum")).to_contain_text("Without grants")
    await expect(page.locator("#grants")).to_contain_text(f"{OPERATOR}: {WHY}")
    await page.get_by_role("button", name="End now…").click()
    await confirm(page, "End now")
    await expect(page.locator(".sum")).not_to_contain_text("Without grants")
    await check_audit(api, "grant", "granted")


async def test_dead_events_are_replayed_after_a_dry_run(operated: Site, api: Api, operate: Operating) -> None:
    """The dry run changes nothing; the replay needs a reason and the number, and its progress ends with the result."""
    account, dead = await contradicted(operated, api, "replayed")
    page = (await operate("/ops/tenants/replayed")).page
    await page.get_by_role("link", name="Replay…").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Replay 2 events")
    await page.get_by_label("Status").select_option("dead")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Replay 1 event")
    await expect(page.locator(".verdicts [data-tone=bad] dd")).to_have_text("1")
    await expect(page.locator("#diff")).to_contain_text("Would fail again")
    await api.event(dead, status="dead")
    run = page.get_by_role("button", name="Replay 1 event")
    await expect(run).to_have_attribute("aria-disabled", "true")
    await page.get_by_label("Why").fill(WHY)
    await page.get_by_label("to confirm").fill("2")
    await expect(run).to_have_attribute("aria-disabled", "true")
    await page.get_by_label("to confirm").fill("1")
    await run.click()
    replays = page.locator("#replays tbody tr")
    await expect(replays.first).to_contain_text(WHY)
    await expect(replays.first).to_contain_text("Done")
    await expect(replays.first).to_contain_text(OPERATOR)
    await check_audit(api, "replay", account.tenant_id)


async def test_more_events_than_can_be_tried_are_replayed(operated: Site, api: Api, operate: Operating) -> None:
    """Without a preview; the very events that were counted are confirmed."""
    account, _dead = await contradicted(operated, api, "too-many")
    opened = await operate("/ops/replay")
    opened.connection_may_be_lost = True  # the refusal is an error on the console
    page = opened.page

    async def refuse(route: Route) -> None:
        await route.fulfill(status=422, json={"status": 422, "code": "too_many_events", "detail": "Select fewer."})

    await page.route(f"**{API}/replays/dry-run", refuse)
    await page.get_by_role("searchbox").fill("tenant:too-many")
    await page.get_by_role("button", name="Show what would change").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Replay 1 event")
    await expect(page.get_by_text("These are too many to try")).to_be_visible()
    await page.get_by_label("Why").fill(WHY)
    await page.get_by_label("to confirm").fill("1")
    # Answered once the replay is on record: until then, the list may show that of another test.
    async with page.expect_response(f"**{API}/replays") as answered:
        await page.get_by_role("button", name="Replay 1 event").click()
    assert len((await answered.value).request.post_data_json["fingerprint"]) == 64
    await expect(page.locator("#replays tbody tr").first).to_contain_text("Done")
    await check_audit(api, "replay", account.tenant_id)


async def test_the_audit_log_names_what_why_and_who(operated: Site, api: Api, operate: Operating) -> None:
    """An entry of each kind is found by its action and by its operator."""
    account, _dead = await contradicted(operated, api, "audited")
    page = (await operate("/ops/events?q=tenant:audited&status=dead")).page
    await page.get_by_role("button", name="Ignore…").click()
    await confirm(page, "Ignore 1 event", number=1)
    await page.get_by_role("link", name="Audit log").click()
    await page.get_by_label("Action").select_option("ignore")
    await page.get_by_role("searchbox", name="Operator").fill(OPERATOR)
    await page.keyboard.press("Enter")
    entry = page.locator("tbody tr").filter(has_text=account.tenant_id)
    await expect(entry).to_contain_text("Ignore")
    await expect(entry).to_contain_text(WHY)
    await expect(entry).to_contain_text(OPERATOR)


async def test_an_action_without_an_answer_is_not_called_a_failure(
    operated: Site, api: Api, operate: Operating
) -> None:
    """The network broke after the request: it was carried out, and the page says that this is possible."""
    _account, dead = await contradicted(operated, api, "unanswered")
    opened = await operate(f"/ops/events/{dead}")
    opened.connection_may_be_lost = True
    page = opened.page

    async def swallow(route: Route) -> None:
        await route.fetch()
        await route.abort()

    await page.route(f"**{API}/ignore", swallow)
    await page.get_by_role("button", name="Ignore…").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Why").fill(WHY)
    await dialog.get_by_label("to confirm").fill("1")
    await dialog.get_by_role("button", name="Ignore 1 event").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("look at the audit log before you try again")
    await expect(dialog.get_by_label("Why")).to_have_value(WHY)
    await api.event(dead, status="ignored")
    await check_audit(api, "ignore", dead)
