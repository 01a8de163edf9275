"""Features, and what subscriptions entitle customers to, through Stripe's SDK."""

from datetime import timedelta
from typing import Any

import pytest
import stripe
from tests.unit.fake_stripe.conftest import PRO, SEAT, Shop

from billing_stripe.testing import objects

UPDATED = "entitlements.active_entitlement_summary.updated"
BASIC = objects.Price(price_id="price_basic", product_id="prod_basic", unit_amount=100)


async def feature(shop: Shop, lookup_key: str, *, product_id: str | None = "prod_app") -> Any:
    """Create a feature, of a product."""
    created = await shop.api.entitlements.features.create_async({"lookup_key": lookup_key, "name": lookup_key.upper()})
    if product_id is not None:
        await shop.api.products.features.create_async(product_id, {"entitlement_feature": created.id})
    return created


async def entitled(shop: Shop, customer_id: str) -> list[str]:
    """Return the lookup keys of a customer's features."""
    found = await shop.api.entitlements.active_entitlements.list_async({"customer": customer_id, "limit": 100})
    return [entitlement.lookup_key for entitlement in found.data]


def summaries(shop: Shop) -> list[list[str]]:
    """Return the lookup keys that each event shows, oldest first."""
    entries = [entry for entry in shop.fake.account.journal.entries if entry.type == UPDATED]
    shown = [entry.render(shop.fake.account.api_version)["data"]["object"] for entry in entries]
    return [[member["lookup_key"] for member in summary["entitlements"]["data"]] for summary in shown]


# --- features -------------------------------------------------------------------------------------------------------


async def test_a_feature_can_be_archived(shop: Shop) -> None:
    """That frees its lookup key, which only one active feature has."""
    sso = await feature(shop, "sso", product_id=None)
    assert (sso.active, sso.lookup_key, sso.name) == (True, "sso", "SSO")
    with pytest.raises(stripe.InvalidRequestError, match="already exists"):
        await feature(shop, "sso")
    archived = await shop.api.entitlements.features.update_async(sso.id, {"active": False, "metadata": {"team": "id"}})
    assert (archived.active, archived.metadata.to_dict()) == (False, {"team": "id"})
    second = await feature(shop, "sso")
    with pytest.raises(stripe.InvalidRequestError, match="already exists"):
        await shop.api.entitlements.features.update_async(sso.id, {"active": True})
    for filters, expected in (
        ({}, [second.id, sso.id]),
        ({"archived": True}, [sso.id]),
        ({"archived": False, "lookup_key": "sso"}, [second.id]),
        ({"lookup_key": "other"}, []),
    ):
        given: Any = filters
        listed = await shop.api.entitlements.features.list_async(given)
        assert [each.id for each in listed.data] == expected
    assert not shop.events("entitlements")


async def test_a_product_has_a_feature_once(shop: Shop) -> None:
    """It shows the feature as it is now; one that is archived cannot be attached."""
    sso = await feature(shop, "sso")
    attach: Any = {"entitlement_feature": sso.id}
    with pytest.raises(stripe.InvalidRequestError, match="already attached"):
        await shop.api.products.features.create_async("prod_app", attach)
    await shop.api.entitlements.features.update_async(sso.id, {"name": "Single sign-on", "active": False})
    (attached,) = (await shop.api.products.features.list_async("prod_app")).data
    assert attached.entitlement_feature.name == "Single sign-on"
    shop.fake.put(objects.Product(product_id="prod_basic", name="Basic"))
    with pytest.raises(stripe.InvalidRequestError, match="archived"):
        await shop.api.products.features.create_async("prod_basic", attach)
    with pytest.raises(stripe.InvalidRequestError, match="No such product_feature"):
        await shop.api.products.features.delete_async("prod_basic", attached.id)
    assert (await shop.api.products.features.retrieve_async("prod_app", attached.id)).id == attached.id
    assert (await shop.api.products.features.delete_async("prod_app", attached.id)).deleted
    assert not (await shop.api.products.features.list_async("prod_app")).data
    with pytest.raises(stripe.InvalidRequestError, match="No such product"):
        await shop.api.products.features.list_async("prod_unknown")


# --- entitlements ---------------------------------------------------------------------------------------------------


async def test_a_subscription_entitles_until_it_ends(shop: Shop) -> None:
    """Each change of the whole set has one event, after that of the subscription; what changes nothing has none."""
    sso = await feature(shop, "sso")
    await feature(shop, "audit_log")
    customer = await shop.customer()
    assert await entitled(shop, customer.id) == []
    subscription = await shop.subscribe(customer.id)
    assert await entitled(shop, customer.id) == ["audit_log", "sso"]
    listed = await shop.api.entitlements.active_entitlements.list_async({"customer": customer.id})
    assert listed.data[1].feature == sso.id
    assert shop.events("customer.subscription", "entitlements")[-2:] == ["customer.subscription.created", UPDATED]
    await shop.api.subscriptions.update_async(subscription.id, {"metadata": {"seen": "yes"}})
    shop.fake.advance(timedelta(days=32))
    await shop.api.subscriptions.cancel_async(subscription.id)
    assert await entitled(shop, customer.id) == []
    assert summaries(shop) == [["audit_log", "sso"], []]


async def test_another_product_brings_its_own_features(shop: Shop) -> None:
    """A feature that stays keeps its entitlement; one that another subscription grants, too, stays."""
    shop.fake.put(objects.Product(product_id="prod_basic", name="Basic"), BASIC)
    sso = await feature(shop, "sso")
    await feature(shop, "audit_log")
    await shop.api.products.features.create_async("prod_basic", {"entitlement_feature": sso.id})
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    before = await shop.api.entitlements.active_entitlements.list_async({"customer": customer.id})
    items: Any = [{"id": subscription["items"].data[0].id, "price": BASIC.price_id}]
    await shop.api.subscriptions.update_async(subscription.id, {"items": items})
    (kept,) = (await shop.api.entitlements.active_entitlements.list_async({"customer": customer.id})).data
    assert kept.id == before.data[1].id
    await shop.subscribe(customer.id, SEAT)
    await shop.api.subscriptions.cancel_async(subscription.id)
    assert summaries(shop) == [["audit_log", "sso"], ["sso"], ["audit_log", "sso"]]


async def test_features_of_products_change_with_the_next_period(shop: Shop) -> None:
    """For subscriptions that exist; new ones have them at once."""
    await feature(shop, "sso")
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    await feature(shop, "audit_log")
    await shop.api.subscriptions.update_async(subscription.id, {"metadata": {"seen": "yes"}})
    assert await entitled(shop, customer.id) == ["sso"]
    later = await shop.customer()
    await shop.subscribe(later.id)
    assert await entitled(shop, later.id) == ["audit_log", "sso"]
    shop.fake.advance(timedelta(days=32))
    assert await entitled(shop, customer.id) == ["audit_log", "sso"]


async def test_only_a_subscription_that_runs_entitles(shop: Shop) -> None:
    """A trial does, a first payment that is missing does not."""
    await feature(shop, "sso")
    customer = await shop.customer(card=None)
    waiting = await shop.subscribe(customer.id, payment_behavior="default_incomplete")
    assert (waiting.status, await entitled(shop, customer.id)) == ("incomplete", [])
    trial = await shop.subscribe(customer.id, PRO, trial_period_days=14)
    assert (trial.status, await entitled(shop, customer.id)) == ("trialing", ["sso"])


async def test_an_event_shows_ten_features(shop: Shop) -> None:
    """And that there are more, which the list has."""
    for number in range(12):
        await feature(shop, f"feature_{number:02}")
    customer = await shop.customer()
    await shop.subscribe(customer.id)
    assert [len(shown) for shown in summaries(shop)] == [10]
    assert len(await entitled(shop, customer.id)) == 12
