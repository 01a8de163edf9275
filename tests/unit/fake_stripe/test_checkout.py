"""Checkout sessions of the fake Stripe, from their creation over the page of the customer to their end."""

from datetime import timedelta
from typing import Any

import aiohttp
import pytest
import stripe
from tests.unit.fake_stripe.conftest import CALLS, JANUARY, PRO, SEAT, Shop

from billing_stripe.testing.fake_stripe import FakeStripe

DONE = "https://app.test/done?session={CHECKOUT_SESSION_ID}"
ONCE = {"currency": "usd", "unit_amount": 1500, "product": "prod_app"}


async def open_session(shop: Shop, **params: Any) -> Any:
    """Open a session for a subscription to Pro, or another one."""
    given: Any = {"mode": "subscription", "success_url": DONE, "cancel_url": "https://app.test/back", **params}
    if given["mode"] == "subscription":
        given.setdefault("line_items", [{"price": PRO.price_id, "quantity": 1}])
    return await shop.api.checkout.sessions.create_async(given)


async def submit(url: str, **form: str) -> tuple[int, str]:
    """Submit the page of a session; returns the status, and the address or the text that follows."""
    async with aiohttp.ClientSession() as browser:
        async with browser.get(url) as page:
            assert page.status == 200
        async with browser.post(url, data=form, allow_redirects=False) as response:
            return response.status, response.headers.get("Location") or await response.text()


async def test_a_customer_subscribes_on_the_page(shop: Shop) -> None:
    """The session ends with a paid subscription that carries its own metadata, not the session's."""
    customer = await shop.customer(card=None)
    session = await open_session(
        shop,
        customer=customer.id,
        client_reference_id="acme",
        metadata={"cart": "7"},
        subscription_data={"metadata": {"tenant_id": "acme"}},
        line_items=[{"price": PRO.price_id, "quantity": 1}, {"price": SEAT.price_id, "quantity": 3}],
    )
    assert (session.status, session.amount_total, session.payment_status) == ("open", 5000, "unpaid")
    shop.forget_events()
    status, address = await submit(session.url, payment_method="pm_card_visa")
    assert (status, address) == (303, DONE.replace("{CHECKOUT_SESSION_ID}", session.id))
    done = await shop.api.checkout.sessions.retrieve_async(session.id, {"expand": ["line_items"]})
    subscription = await shop.subscription(str(done.subscription))
    assert (done.status, done.payment_status, done.url) == ("complete", "paid", None)
    assert [line.quantity for line in done.line_items.data] == [1, 3]
    assert (subscription.status, subscription.metadata.to_dict()) == ("active", {"tenant_id": "acme"})
    assert subscription.default_payment_method is not None
    assert shop.events()[-1] == "checkout.session.completed"
    assert {"customer.subscription.created", "invoice.paid", "payment_method.attached"} <= {*shop.events()}


async def test_a_guest_becomes_a_customer(shop: Shop) -> None:
    """With the address that was entered."""
    session = await open_session(shop)
    await submit(session.url, payment_method="pm_card_visa", email="guest@acme.test")
    done = await shop.api.checkout.sessions.retrieve_async(session.id, {"expand": ["customer"]})
    assert done.customer.email == done.customer_details.email == "guest@acme.test"


@pytest.mark.parametrize("card", ["pm_card_chargeCustomerFail", "pm_card_chargeDeclined"])
async def test_a_declined_card_leaves_the_session_open(shop: Shop, card: str) -> None:
    """Nothing was made, and the next card is charged."""
    session = await open_session(shop, customer=(await shop.customer(card=None)).id)
    shop.forget_events()
    status, page = await submit(session.url, payment_method=card)
    assert (status, "declined" in page, shop.events()) == (402, True, [])
    assert (await submit(session.url, payment_method="pm_card_visa"))[0] == 303


async def test_the_customer_authenticates_on_the_page(shop: Shop) -> None:
    """A card that always asks for it pays, too."""
    session = await open_session(shop)
    assert (await submit(session.url, payment_method="pm_card_threeDSecure2Required"))[0] == 303


async def test_a_trial_may_need_no_card(shop: Shop) -> None:
    """If payment methods are collected only if required; else one is."""
    trial = {"trial_period_days": 14, "trial_settings": {"end_behavior": {"missing_payment_method": "cancel"}}}
    required = await open_session(shop, subscription_data=trial)
    assert (await submit(required.url, payment_method=""))[0] == 402
    session = await open_session(shop, subscription_data=trial, payment_method_collection="if_required")
    assert (await submit(session.url, payment_method=""))[0] == 303
    done = await shop.api.checkout.sessions.retrieve_async(session.id)
    assert (done.amount_total, done.payment_status) == (0, "no_payment_required")
    assert (await shop.subscription(str(done.subscription))).status == "trialing"


async def test_a_card_is_saved(shop: Shop) -> None:
    """A session of mode setup ends with a payment method of the customer."""
    customer = await shop.customer(card=None)
    session = await open_session(shop, mode="setup", customer=customer.id, currency="usd")
    await submit(session.url, payment_method="pm_card_visa")
    intent = await shop.api.setup_intents.retrieve_async(session.setup_intent)
    method = await shop.api.payment_methods.retrieve_async(str(intent.payment_method))
    assert (intent.status, method.customer) == ("succeeded", customer.id)


@pytest.mark.parametrize(
    ("iban", "outcome", "payment_status"),
    [("AT611904300234573201", "succeeded", "paid"), ("AT861904300235473202", "failed", "unpaid")],
)
async def test_a_bank_decides_on_a_debit_later(
    shop: Shop, fake: FakeStripe, iban: str, outcome: str, payment_status: str
) -> None:
    """The session is complete at once, but not paid."""
    price = await shop.api.prices.create_async(ONCE)
    session = await open_session(
        shop, mode="payment", line_items=[{"price": price.id, "quantity": 2}], payment_method_types=["sepa_debit"]
    )
    details: Any = {"type": "sepa_debit", "sepa_debit": {"iban": iban}, "billing_details": {"name": "Acme"}}
    method = await shop.api.payment_methods.create_async(details)
    await submit(session.url, payment_method=method.id)
    completed = await shop.api.checkout.sessions.retrieve_async(session.id)
    assert (completed.status, completed.payment_status, completed.amount_total) == ("complete", "unpaid", 3000)
    fake.advance(timedelta(minutes=5))
    assert (await shop.api.checkout.sessions.retrieve_async(session.id)).payment_status == payment_status
    assert shop.events("checkout")[-1] == f"checkout.session.async_payment_{outcome}"


async def test_a_session_expires(shop: Shop, fake: FakeStripe) -> None:
    """By request or at its time; then it is closed for good."""
    earlier, later = await open_session(shop), await open_session(shop)
    assert (await shop.api.checkout.sessions.expire_async(earlier.id)).status == "expired"
    with pytest.raises(stripe.InvalidRequestError, match="status of expired"):
        await shop.api.checkout.sessions.expire_async(earlier.id)
    fake.advance(timedelta(hours=25))
    assert (await shop.api.checkout.sessions.retrieve_async(later.id)).status == "expired"
    assert shop.events("checkout") == ["checkout.session.expired"] * 2
    assert (await shop.api.checkout.sessions.list_async({"status": "open"})).data == []


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no recurring price": ({"line_items": []}, "line_items"),
    "no quantity": ({"line_items": [{"price": PRO.price_id}]}, "line_items[0][quantity]"),
    "a quantity of usage": ({"line_items": [{"price": CALLS.price_id, "quantity": 1}]}, "line_items[0][quantity]"),
    "a recurring price paid once": (
        {"mode": "payment", "line_items": [{"price": PRO.price_id, "quantity": 1}]},
        "line_items",
    ),
    "a customer and an address": ({"customer": "cus_1", "customer_email": "a@acme.test"}, "customer"),
    "an update of no customer": ({"customer_update": {"name": "auto"}}, "customer_update"),
    "an embedded page with an address to go to": (
        {"ui_mode": "embedded_page", "return_url": DONE},
        "success_url",
    ),
    "a page that leads nowhere": ({"ui_mode": "embedded_page"}, "return_url"),
    "an early end": ({"expires_at": int((JANUARY + timedelta(minutes=29)).timestamp())}, "expires_at"),
    "a late end": ({"expires_at": int((JANUARY + timedelta(hours=25)).timestamp())}, "expires_at"),
    "a short trial": (
        {"subscription_data": {"trial_end": int((JANUARY + timedelta(hours=47)).timestamp())}},
        "subscription_data[trial_end]",
    ),
    "two ways to a discount": (
        {"allow_promotion_codes": True, "discounts": [{"coupon": "none"}]},
        "discounts",
    ),
}


@pytest.mark.parametrize(("params", "param"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_stripe_refuses_of_a_session(shop: Shop, params: dict[str, Any], param: str) -> None:
    """Parameters that exclude each other, or that are missing or out of range."""
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await open_session(shop, **params)
    assert refused.value.param == param


async def test_an_embedded_page_has_a_secret_instead_of_an_address(shop: Shop) -> None:
    """While it is open."""
    session = await shop.api.checkout.sessions.create_async(
        {
            "mode": "subscription",
            "ui_mode": "embedded_page",
            "return_url": DONE,
            "line_items": [{"price": PRO.price_id, "quantity": 1}],
        }
    )
    assert session.url is None
    assert session.client_secret is not None
    assert (await shop.api.checkout.sessions.expire_async(session.id)).client_secret is None
