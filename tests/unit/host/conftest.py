"""An application with billing in memory, and the webhooks that reach it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from billing_app import TEST_WEBHOOK_SECRET, Billing, Settings, open_billing
from billing_stripe.testing import builders, encode, event, objects, sign

VERSION = "2026-10-28.endive"
START = datetime(2026, 1, 1, tzinfo=UTC)
PLANS = {"STRIPE_PRODUCT_PRICE_MAP": "pro=price_pro"}


def subscription_event(number: int, *, status: str = "active", tenant_id: str = "acme") -> bytes:
    """Build the n-th event about the subscription of a tenant; its quantity is the number."""
    item = objects.Item(
        item_id=f"si_{tenant_id}",
        price=objects.Price(price_id="price_pro", product_id="prod_pro", unit_amount=1900, lookup_key="pro"),
        period=objects.Span(START, START + timedelta(days=31)),
        quantity=number,
    )
    subscription = objects.Subscription(
        subscription_id=f"sub_{tenant_id}",
        customer_id=f"cus_{tenant_id}",
        status=status,
        created_at=START,
        items=(item,),
        metadata={"tenant_id": tenant_id},
    )
    return encode(
        event(
            "customer.subscription.updated",
            builders.subscription(subscription, VERSION),
            created=START + timedelta(minutes=number),
            api_version=VERSION,
            event_id=f"evt_{tenant_id}_{number}",
        )
    )


def signed(body: bytes) -> tuple[bytes, str]:
    """Return a body with its signature."""
    return body, sign(body, TEST_WEBHOOK_SECRET, datetime.now(UTC))


@pytest.fixture
async def billing() -> AsyncIterator[Billing]:
    """Open billing in memory, without a worker."""
    async with open_billing(Settings.for_tests(PLANS)) as billing:
        yield billing
