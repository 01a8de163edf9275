"""Owners change their subscription on the page: once, and with its price shown first. Viewers are offered nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from playwright.async_api import expect
from tests.e2e.conftest import Account, Site, deployed
from tests.e2e.test_look import WIDE, take_picture, violations

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe

if TYPE_CHECKING:
    from playwright.async_api import Request, Route
    from tests.databases import Databases
    from tests.e2e.conftest import Visiting

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

SOLD = """
[plans.starter]
name = "Starter"
group = "main"
prices = [{ id = "price_starter", interval = "month", amount = 900, currency = "usd" }]
[plans.team]
name = "Team"
group = "main"
seats = { min = 1 }
prices = [
    { id = "price_team", role = "seat", interval = "month", amount = 1200, currency = "usd" },
    { id = "price_team_year", role = "seat", interval = "year", amount = 12000, currency = "usd" },
]
"""


@pytest.fixture(scope="module")
async def stripe() -> AsyncIterator[FakeStripe]:
    async with fake_stripe() as fake:
        fake.put(objects.Product(product_id="prod_app", name="App"))
        for key, amount, interval in (("starter", 900, "month"), ("team", 1200, "month"), ("team_year", 12000, "year")):
            price = objects.Price(price_id=f"price_{key}", product_id="prod_app", unit_amount=amount, interval=interval)
            fake.put(price)
        yield fake


@pytest.fixture(scope="module", name="site")
async def site_with_stripe(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory, stripe: FakeStripe
) -> AsyncIterator[Site]:
    """A deployment that sells two plans at a fake Stripe."""
    folder = tmp_path_factory.mktemp("actions")
    rules = folder / "billing.toml"
    rules.write_text(SOLD, encoding="utf-8")
    settings = {"STRIPE_API_BASE": stripe.url, "STRIPE_SECRET_KEY": stripe.secret_key, "STRIPE_FETCH": "true"}
    settings |= {"BILLING_JWT_OPERATOR_ROLES": "operator"}
    async with deployed(databases, folder, BILLING_CONFIG=str(rules), **settings) as running:
        yield running


async def ask(fake: FakeStripe, method: str, path: str, **fields: str) -> Any:
    """Send a request of ours to the fake, beside the server's."""
    bearer = {"Authorization": f"Bearer {fake.secret_key}"}
    async with (
        aiohttp.ClientSession(headers=bearer) as session,
        session.request(method, f"{fake.url}/v1/{path}", data=fields or None) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def subscribed(
    site: Site, stripe: FakeStripe, tenant_id: str, *, seats: int = 3, later_card: str | None = None
) -> Account:
    """Return an owner's account that is subscribed to the plan of seats and pays by card."""
    account = site.account(tenant_id)
    account.role = "owner"
    address = f"{site.base_url}/api/v1/billing/tenants/{tenant_id}"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {account.token}"}) as session:
        async with session.post(f"{address}/setup-intent", headers={"Idempotency-Key": "card"}) as answer:
            assert answer.status == 200, await answer.text()
        customers = (await ask(stripe, "GET", "customers?limit=100"))["data"]
        customer = next(each["id"] for each in customers if each["metadata"]["tenant_id"] == tenant_id)
        card = await ask(stripe, "POST", "payment_methods/pm_card_visa/attach", customer=customer)
        default = {"invoice_settings[default_payment_method]": card["id"]}
        await ask(stripe, "POST", f"customers/{customer}", **default)
        wanted = {"plan_code": "team", "seats": seats, "payment": "on_file", "interval": "month"}
        start = {"Idempotency-Key": "start"}
        async with session.post(f"{address}/subscriptions", json=wanted, headers=start) as answer:
            assert answer.status == 200, await answer.text()
        if later_card is not None:
            card = await ask(stripe, "POST", f"payment_methods/{later_card}/attach", customer=customer)
            default = {"invoice_settings[default_payment_method]": card["id"]}
            await ask(stripe, "POST", f"customers/{customer}", **default)
    return account


async def test_an_owner_changes_seats(
    site: Site, stripe: FakeStripe, visit: Visiting, pytestconfig: pytest.Config
) -> None:
    """The dialog shows what the number costs, and closes when the change has arrived."""
    page = (await visit(await subscribed(site, stripe, "seats"), viewport=WIDE)).page
    await expect(page.locator(".price")).to_have_text("US$36.00 / month")
    await take_picture(page, pytestconfig, "owner")
    await page.get_by_role("button", name="Seats…").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Seats").fill("5")
    await expect(dialog.locator(".quote-part")).to_contain_text("The invoice of")
    assert await violations(page) == []
    await take_picture(page, pytestconfig, "seats")
    await dialog.get_by_role("button", name="Set 5 seats").click()
    await expect(dialog).to_have_count(0)
    await expect(page.locator(".price")).to_have_text("US$60.00 / month")
    (subscription,) = await subscriptions_of(stripe, "seats")
    assert subscription["items"]["data"][0]["quantity"] == 5


async def test_an_owner_changes_the_plan(
    site: Site, stripe: FakeStripe, visit: Visiting, pytestconfig: pytest.Config
) -> None:
    """The price is shown before; a downgrade waits for the end of the period, and can be withdrawn."""
    page = (await visit(await subscribed(site, stripe, "plans"), viewport=WIDE)).page
    await page.get_by_role("button", name="Change plan…").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Starter").check()
    await expect(dialog.locator(".quote-part")).to_contain_text("Nothing is due now.")
    await take_picture(page, pytestconfig, "change-plan")
    await dialog.get_by_label("Team / year").or_(dialog.locator("label", has_text="/ year")).click()
    await expect(dialog.get_by_role("button", name="and change")).to_be_visible()
    await dialog.get_by_label("Starter").check()
    await dialog.get_by_role("button", name="Change plan").click()
    await expect(dialog).to_have_count(0)
    await expect(page.locator(".scheduled")).to_contain_text("changes to Starter.")
    await page.get_by_role("button", name="Undo").click()
    await expect(page.locator(".scheduled")).to_have_count(0)


async def test_a_payment_that_the_bank_wants_confirmed_stays_in_the_dialog(
    site: Site, stripe: FakeStripe, visit: Visiting
) -> None:
    """The message about the pending change, which comes before the answer, does not close it."""
    account = await subscribed(site, stripe, "bank", later_card="pm_card_authenticationRequired")
    page = (await visit(account, viewport=WIDE)).page
    await page.get_by_role("button", name="Change plan…").click()
    dialog = page.get_by_role("dialog")
    await dialog.locator("label", has_text="/ year").click()

    async def delay(route: Route) -> None:
        answer = await route.fetch()
        await expect(page.locator(".scheduled")).to_contain_text("as soon as its invoice is paid")
        await route.fulfill(response=answer)

    await page.route("**/change", delay)
    await dialog.get_by_role("button", name="and change").click()
    await expect(dialog).to_contain_text("The bank wants this payment to be confirmed")
    await expect(dialog.get_by_role("button", name="Manage at Stripe")).to_be_visible()


async def test_credit_is_shown(site: Site, stripe: FakeStripe, visit: Visiting) -> None:
    """The amount that an operator gave, and its purpose."""
    account = await subscribed(site, stripe, "credited")
    account.role = "operator"
    address = f"{site.base_url}/api/v1/billing/tenants/credited/credit"
    headers = {"Authorization": f"Bearer {account.token}", "Idempotency-Key": "credit"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(address, json={"amount": 2500, "currency": "usd"}) as answer,
    ):
        assert answer.status == 200, await answer.text()
    account.role = "owner"
    page = (await visit(account)).page
    await expect(page.locator(".credit")).to_contain_text("US$25.00 goes toward metered usage")


async def test_an_answer_after_signing_out_does_nothing(site: Site, stripe: FakeStripe, visit: Visiting) -> None:
    """The next person at this browser is not sent to the portal of the one before."""
    page = (await visit(await subscribed(site, stripe, "leaving"))).page
    asked: list[Route] = []

    async def hold(route: Route) -> None:
        asked.append(route)

    await page.route("**/portal", hold)
    await page.get_by_role("button", name="Manage at Stripe").click()
    await page.get_by_role("button", name="Sign out").dispatch_event("click")
    await expect(page.get_by_label("Token")).to_be_visible()
    await asked[0].fulfill(json={"status": "done", "url": f"{site.base_url}/healthz"})
    await page.get_by_label("Token").fill("still here")
    assert page.url.endswith("/activity")


async def test_an_owner_cancels_and_stays(site: Site, stripe: FakeStripe, visit: Visiting) -> None:
    """The end is shown, with a button that withdraws it; the reason reaches Stripe."""
    page = (await visit(await subscribed(site, stripe, "leaves"))).page
    await page.get_by_role("button", name="Cancel…").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Why are you leaving?").select_option("too_expensive")
    await dialog.get_by_role("button", name="Cancel on").click()
    await expect(page.locator(".scheduled")).to_contain_text("Ends on")
    await expect(page.get_by_role("button", name="Cancel…")).to_have_count(0)
    (subscription,) = await subscriptions_of(stripe, "leaves")
    assert subscription["cancellation_details"]["feedback"] == "too_expensive"
    await page.get_by_role("button", name="Undo").click()
    await expect(page.get_by_role("button", name="Cancel…")).to_be_visible()


async def test_a_second_click_and_a_lost_answer_change_nothing_twice(
    site: Site, stripe: FakeStripe, visit: Visiting
) -> None:
    """The decision has one key, whatever happens on the way; what went wrong stays in the dialog."""
    opened = await visit(await subscribed(site, stripe, "once"))
    opened.connection_may_be_lost = True
    page = opened.page
    await page.get_by_role("button", name="Seats…").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Seats").fill("4")
    keys: list[str] = []

    async def lose(route: Route, request: Request) -> None:
        keys.append(request.headers["idempotency-key"])
        if len(keys) > 1:
            await route.continue_()
        else:
            await route.fetch()
            await route.abort()

    await page.route("**/seats", lose)
    await dialog.get_by_role("button", name="Set 4 seats").click()
    await dialog.get_by_role("button", name="Set 4 seats").dispatch_event("click")
    await expect(page.locator(".price")).to_have_text("US$48.00 / month")
    assert len(set(keys)) == 1


async def test_a_viewer_is_offered_nothing(site: Site, stripe: FakeStripe, visit: Visiting) -> None:
    """Neither buttons nor dialogs, and the server would refuse the requests behind them."""
    account = await subscribed(site, stripe, "viewed")
    account.role = "viewer"
    page = (await visit(account)).page
    await expect(page.locator(".plan-name")).to_contain_text("Team")
    await expect(page.get_by_text("Only owners can make changes.")).to_be_visible()
    assert await page.get_by_role("button", name="Change plan").count() == 0


async def test_without_a_connection_actions_wait(
    site: Site, stripe: FakeStripe, visit: Visiting, pytestconfig: pytest.Config
) -> None:
    """After some seconds nothing is certain: the verdict says as of when, and buttons say why they wait."""
    opened = await visit(await subscribed(site, stripe, "lost"), viewport=WIDE)
    opened.connection_may_be_lost = True
    page = opened.page
    await opened.context.set_offline(True)
    await expect(page.locator(".verdict .as-of")).to_contain_text("as of")
    await expect(page.get_by_text("Changes are possible again once this page is connected.")).to_be_visible()
    await take_picture(page, pytestconfig, "disconnected")
    await page.get_by_role("button", name="Seats…").dispatch_event("click")
    assert await page.get_by_role("dialog").count() == 0
    await opened.context.set_offline(False)
    await opened.live()
    await expect(page.locator(".verdict .as-of")).to_have_count(0)


async def subscriptions_of(stripe: FakeStripe, tenant_id: str) -> list[Any]:
    """Return what Stripe has of a tenant."""
    found = (await ask(stripe, "GET", "subscriptions?limit=100"))["data"]
    return [each for each in found if each["metadata"].get("tenant_id") == tenant_id]
