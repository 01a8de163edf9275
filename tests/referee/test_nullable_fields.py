"""Objects show every field that may be null: applications read them without asking whether they exist."""

from __future__ import annotations

import aiohttp
import pytest
from tests.stripe_openapi.nullable import NullableFields
from tests.stripe_openapi.specification import load_specification

from billing_stripe.testing import API_VERSIONS
from billing_stripe.testing.fake_stripe import fake_stripe
from billing_stripe.testing.samples import CUSTOMER, SAMPLES, TEAM, sample_event

DESCRIBED = "2026-05-27.dahlia"
"""The version of the specification."""

CREATED: list[tuple[str, dict[str, str]]] = [
    ("customers", {"name": "Acme"}),
    ("products", {"name": "Team"}),
    ("coupons", {"percent_off": "20", "duration": "once", "id": "coupon_1"}),
    ("promotion_codes", {"promotion[type]": "coupon", "promotion[coupon]": "coupon_1"}),
    ("setup_intents", {"customer": CUSTOMER.customer_id}),
    ("payment_intents", {"amount": "100", "currency": "usd", "customer": CUSTOMER.customer_id}),
    ("payment_methods/pm_card_visa/attach", {"customer": CUSTOMER.customer_id}),
    ("invoiceitems", {"customer": CUSTOMER.customer_id, "amount": "100", "currency": "usd"}),
    ("invoices", {"customer": CUSTOMER.customer_id}),
    (f"customers/{CUSTOMER.customer_id}/tax_ids", {"type": "eu_vat", "value": "DE123456789"}),
    ("billing_portal/configurations", {"features[invoice_history][enabled]": "true"}),
    ("billing/meters", {"display_name": "Calls", "event_name": "calls", "default_aggregation[formula]": "sum"}),
    ("webhook_endpoints", {"url": "https://example.com", "enabled_events[0]": "*"}),
    ("test_helpers/test_clocks", {"frozen_time": "2000000000"}),
    ("entitlements/features", {"name": "Export", "lookup_key": "export"}),
    (
        "checkout/sessions",
        {
            "mode": "subscription",
            "customer": CUSTOMER.customer_id,
            "line_items[0][price]": TEAM.price_id,
            "line_items[0][quantity]": "1",
            "success_url": "https://example.com",
        },
    ),
]
"""Objects that are created over the API; events of most of them are not read."""
READ = ("account", "charges", "events", "payment_intents", "products", "customers")


@pytest.fixture(scope="module")
def nullable() -> NullableFields:
    """The specification."""
    return NullableFields(load_specification())


@pytest.mark.parametrize("type", SAMPLES)
def test_no_object_of_an_event_leaves_out_what_may_be_null(nullable: NullableFields, type: str) -> None:
    """In the version of the specification, or the next newer one that has the object."""
    versions = [version for version in sorted((DESCRIBED, *API_VERSIONS)) if version >= DESCRIBED]
    shown = next(found for version in versions if (found := sample_event(type, version)) is not None)
    assert nullable.left_out(shown) == set()


async def test_no_answer_leaves_out_what_may_be_null(nullable: NullableFields) -> None:
    """Of objects that the events above do not show."""
    async with fake_stripe() as fake, aiohttp.ClientSession(f"{fake.url}/v1/") as session:
        fake.put(CUSTOMER, TEAM)
        headers = {"Authorization": f"Bearer {fake.secret_key}", "Stripe-Version": DESCRIBED}
        for path, form in CREATED:
            async with session.post(path, data=form, headers=headers) as response:
                assert response.status == 200, await response.text()
                assert nullable.left_out(await response.json()) == set()
        for path in READ:
            async with session.get(path, headers=headers) as response:
                assert response.status == 200, await response.text()
                assert nullable.left_out(await response.json()) == set()


def test_a_field_that_is_left_out_is_found(nullable: NullableFields) -> None:
    """In the object, in a part of it and in a member of a list; not where only a request includes it."""
    shown = {"object": "list", "data": [{"object": "customer", "invoice_settings": {"footer": None}}]}
    found = nullable.left_out(shown)
    assert {("customer", "email"), ("customer", "invoice_settings.custom_fields")} <= found
    assert ("customer", "cash_balance") not in found
