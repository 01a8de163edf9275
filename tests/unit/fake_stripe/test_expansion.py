"""`expand[]` in the fake Stripe."""

from typing import Any

import pytest
import stripe
from tests.unit.fake_stripe.conftest import Shop


async def test_ids_within_lists_and_objects_are_expanded(shop: Shop) -> None:
    """Down to four levels, several at once."""
    customer = await shop.customer()
    expand = [
        "customer.invoice_settings.default_payment_method",
        "items.data.price.product",
        "latest_invoice.payments.data.payment.payment_intent",
    ]
    created = await shop.subscribe(customer.id)
    subscription: Any = await shop.api.subscriptions.retrieve_async(created.id, {"expand": expand[:2]})
    assert subscription.customer.invoice_settings.default_payment_method.card.last4 == "4242"
    assert subscription["items"].data[0].price.product.name == "App"
    invoice: Any = await shop.api.invoices.retrieve_async(
        created.latest_invoice, {"expand": ["payments.data.payment.payment_intent"]}
    )
    assert invoice.payments.data[0].payment.payment_intent.status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError, match="more than 4 levels"):
        await shop.api.subscriptions.retrieve_async(created.id, {"expand": expand})


async def test_lists_are_expanded_member_by_member(shop: Shop) -> None:
    """With `data` before the path, which does not count as a level."""
    for _ in range(2):
        await shop.subscribe((await shop.customer()).id)
    found: Any = await shop.api.subscriptions.list_async({"expand": ["data.latest_invoice.confirmation_secret"]})
    assert [subscription.latest_invoice.status for subscription in found.data] == ["paid", "paid"]
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        await shop.api.subscriptions.list_async({"expand": ["customer"]})


async def test_nothing_is_expanded_where_there_is_nothing(shop: Shop) -> None:
    """A null stays null."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id, expand=["schedule", "pending_setup_intent.customer"])
    assert (subscription.schedule, subscription.pending_setup_intent) == (None, None)


@pytest.mark.parametrize("path", ["status", "metadata.tenant_id", "items.data.quantity", "nothing"])
async def test_other_fields_are_refused(path: str, shop: Shop) -> None:
    """By name."""
    subscription = await shop.subscribe((await shop.customer()).id)
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded") as raised:
        await shop.api.subscriptions.retrieve_async(subscription.id, {"expand": [path]})
    assert path in str(raised.value)


async def test_an_older_version_has_its_own_fields(shop: Shop) -> None:
    """The payment of an invoice was a field of it."""
    subscription = await shop.subscribe((await shop.customer()).id)
    path = "latest_invoice.payment_intent"
    params: Any = {"expand": [path]}
    old: Any = await shop.api.subscriptions.retrieve_async(subscription.id, params, {"stripe_version": "2024-06-20"})
    assert old.latest_invoice.payment_intent.amount_received == 2000
    assert old.current_period_end == subscription["items"].data[0].current_period_end
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        await shop.api.subscriptions.retrieve_async(subscription.id, params)
