"""The customer portal and credit of the fake Stripe."""

from datetime import timedelta
from typing import Any

import aiohttp
import pytest
import stripe
from tests.unit.fake_stripe.conftest import JANUARY, Shop

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import FakeStripe

CANCELING: Any = {"features": {"subscription_cancel": {"enabled": True}, "payment_method_update": {"enabled": True}}}


async def open_portal(shop: Shop, customer_id: str, **params: Any) -> Any:
    """Open a session with a configuration that lets customers cancel."""
    configuration = await shop.api.billing_portal.configurations.create_async(CANCELING)
    given: Any = {
        "customer": customer_id,
        "configuration": configuration.id,
        "return_url": "https://app.test",
        **params,
    }
    return await shop.api.billing_portal.sessions.create_async(given)


async def act(url: str, **form: str) -> str:
    """Do something on the page, and return what it shows then."""
    async with aiohttp.ClientSession() as browser, browser.post(url, data=form) as response:
        return await response.text()


# --- portal -----------------------------------------------------------------------------------------------------


async def test_a_customer_cancels_and_changes_the_mind(shop: Shop) -> None:
    """At the end of the period, unless the configuration says otherwise."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    session = await open_portal(shop, customer.id)
    await act(session.url, action="cancel", subscription=subscription.id)
    canceled = await shop.subscription(subscription.id)
    assert (canceled.status, canceled.cancel_at_period_end) == ("active", True)
    await act(session.url, action="continue", subscription=subscription.id)
    assert (await shop.subscription(subscription.id)).cancel_at is None


async def test_a_customer_uses_another_card(shop: Shop) -> None:
    """A declined one is named on the page."""
    customer = await shop.customer(card=None)
    session = await open_portal(shop, customer.id)
    assert "declined" in await act(session.url, action="payment_method", payment_method="pm_card_chargeDeclined")
    await act(session.url, action="payment_method", payment_method="pm_card_visa")
    changed = await shop.api.customers.retrieve_async(customer.id)
    assert changed.invoice_settings.default_payment_method is not None


async def test_customers_do_only_what_the_configuration_lets_them(shop: Shop) -> None:
    """And nothing to subscriptions of others."""
    customer, other = await shop.customer(), await shop.customer()
    subscription, foreign = await shop.subscribe(customer.id), await shop.subscribe(other.id)
    features: Any = {"features": {"invoice_history": {"enabled": True}}}
    reading = await shop.api.billing_portal.configurations.create_async(features)
    session = await open_portal(shop, customer.id, configuration=reading.id)
    assert "cannot be canceled" in await act(session.url, action="cancel", subscription=subscription.id)
    assert "does not belong" in await act(session.url, action="cancel", subscription=foreign.id)
    assert (await shop.subscription(subscription.id)).cancel_at is None


async def test_the_portal_needs_a_configuration(shop: Shop, fake: FakeStripe) -> None:
    """Its own, or the default one, which requests do not make."""
    customer = await shop.customer()
    await open_portal(shop, customer.id)
    with pytest.raises(stripe.InvalidRequestError, match="No configuration provided"):
        await shop.api.billing_portal.sessions.create_async({"customer": customer.id})
    fake.put(objects.PortalConfiguration(configuration_id="bpc_1", created_at=JANUARY, is_default=True))
    session = await shop.api.billing_portal.sessions.create_async({"customer": customer.id})
    (default,) = (await shop.api.billing_portal.configurations.list_async({"is_default": True})).data
    assert session.configuration == default.id == "bpc_1"


async def test_a_flow_has_to_be_possible(shop: Shop) -> None:
    """Its feature is on, and its subscription is the customer's and still to be canceled."""
    customer, other = await shop.customer(), await shop.customer()
    subscription, foreign = await shop.subscribe(customer.id), await shop.subscribe(other.id)

    def flow(subscription_id: str, kind: str = "subscription_cancel") -> Any:
        return {"type": kind, kind: {"subscription": subscription_id}}

    session = await open_portal(shop, customer.id, flow_data=flow(subscription.id))
    assert session.flow.subscription_cancel.subscription == subscription.id
    for flow_data, message in [
        (flow(foreign.id), "does not belong"),
        (flow(subscription.id, "subscription_update"), "is disabled"),
        ({"type": "subscription_cancel"}, "Missing required param"),
    ]:
        with pytest.raises(stripe.InvalidRequestError, match=message):
            await open_portal(shop, customer.id, flow_data=flow_data)
    await act(session.url, action="cancel", subscription=subscription.id)
    with pytest.raises(stripe.InvalidRequestError, match="already set to be canceled"):
        await open_portal(shop, customer.id, flow_data=flow(subscription.id))


async def test_a_configuration_is_changed_in_parts(shop: Shop) -> None:
    """Features that are not named stay."""
    configuration = await shop.api.billing_portal.configurations.create_async(CANCELING)
    changed: Any = {"active": False, "features": {"invoice_history": {"enabled": True}}}
    shown = await shop.api.billing_portal.configurations.update_async(configuration.id, changed)
    assert (shown.active, shown.features.invoice_history.enabled) == (False, True)
    assert shown.features.subscription_cancel.enabled


# --- credit -----------------------------------------------------------------------------------------------------


async def give(shop: Shop, customer_id: str, value: int, **params: Any) -> Any:
    """Grant credit for usage."""
    given: Any = {
        "customer": customer_id,
        "amount": {"type": "monetary", "monetary": {"value": value, "currency": "usd"}},
        "applicability_config": {"scope": {"price_type": "metered"}},
        "category": "promotional",
        **params,
    }
    return await shop.api.billing.credit_grants.create_async(given)


async def balance(shop: Shop, customer_id: str) -> list[int]:
    """Return the available amounts."""
    scope: Any = {"type": "applicability_scope", "applicability_scope": {"price_type": "metered"}}
    params: Any = {"customer": customer_id, "filter": scope}
    summary = await shop.api.billing.credit_balance_summary.retrieve_async(params)
    return [each.available_balance.monetary.value for each in summary.balances]


async def test_the_balance_is_what_is_effective_now(shop: Shop, fake: FakeStripe) -> None:
    """Grants begin and expire, by time or by request, and are voided."""
    customer = await shop.customer()
    assert await balance(shop, customer.id) == []
    week = JANUARY + timedelta(days=7)
    await give(shop, customer.id, 1000)
    await give(shop, customer.id, 200, expires_at=int(week.timestamp()))
    await give(shop, customer.id, 30, effective_at=int(week.timestamp()))
    voided, expired = await give(shop, customer.id, 4), await give(shop, customer.id, 5)
    assert await balance(shop, customer.id) == [1209]
    await shop.api.billing.credit_grants.void_grant_async(voided.id)
    await shop.api.billing.credit_grants.expire_async(expired.id)
    assert await balance(shop, customer.id) == [1200]
    fake.advance(timedelta(days=7))
    assert await balance(shop, customer.id) == [1030]
    with pytest.raises(stripe.InvalidRequestError, match="voided or expired"):
        await shop.api.billing.credit_grants.void_grant_async(voided.id)


async def test_a_grant_is_listed_and_changed(shop: Shop) -> None:
    """Its metadata and its end can change, its amount cannot."""
    customer, other = await shop.customer(), await shop.customer()
    grant = await give(shop, customer.id, 1000, name="Welcome")
    await give(shop, other.id, 1)
    changed: Any = {"metadata": {"campaign": "spring"}, "expires_at": int((JANUARY + timedelta(days=1)).timestamp())}
    await shop.api.billing.credit_grants.update_async(grant.id, changed)
    (listed,) = (await shop.api.billing.credit_grants.list_async({"customer": customer.id})).data
    assert (listed.name, listed.amount.monetary.value, listed.metadata.to_dict()) == (
        "Welcome",
        1000,
        {"campaign": "spring"},
    )
    assert shop.events("billing.credit_grant") == ["billing.credit_grant.created"] * 2 + [
        "billing.credit_grant.updated"
    ]
    with pytest.raises(stripe.InvalidRequestError, match="must expire after"):
        await give(shop, customer.id, 1, expires_at=int(JANUARY.timestamp()))
