"""Objects to render in any API version, and their translation."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing_core.events import EventKey, ProviderEvent
from billing_core.model import EventId
from billing_stripe.testing import event, objects

MakeEvent = Callable[..., ProviderEvent]

AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
MONTH = objects.Span(AT, AT + timedelta(days=31))
LAST_MONTH = objects.Span(AT - timedelta(days=28), AT)
SEATS = objects.Price(
    price_id="price_seats", product_id="prod_app", unit_amount=1900, lookup_key="team", plan_code="team"
)
CALLS = objects.Price(price_id="price_calls", product_id="prod_api", unit_amount=2, metered=True)


@pytest.fixture
def make_event() -> MakeEvent:
    """Return a function that builds an event as the inbox passes it to the translator."""

    def make(
        type: str, object: Mapping[str, Any], *, previous: Mapping[str, Any] | None = None, body: bytes | None = None
    ) -> ProviderEvent:
        if body is None:
            sent = event(
                type,
                object,
                created=AT,
                api_version="2026-10-28.endive",
                event_id="evt_1",
                previous_attributes=previous,
            )
            body = json.dumps(sent).encode()
        return ProviderEvent(
            key=EventKey(event_id=EventId("evt_1"), livemode=False),
            type=type,
            api_version=None,
            created_at=AT,
            received_at=AT,
            body=body,
        )

    return make


@pytest.fixture
def subscription() -> objects.Subscription:
    """A team of five with metered calls, with unordered items, canceled at a later date."""
    return objects.Subscription(
        subscription_id="sub_1",
        customer_id="cus_1",
        status="active",
        created_at=LAST_MONTH.start,
        items=(
            objects.Item(item_id="si_2", price=CALLS, period=MONTH),
            objects.Item(item_id="si_1", price=SEATS, period=MONTH, quantity=5),
        ),
        metadata={"tenant_id": "acme"},
        trial=LAST_MONTH,
        cancel_at=MONTH.end,
        canceled_at=AT,
        pause_collection="void",
    )


@pytest.fixture
def invoice() -> objects.Invoice:
    """A paid renewal: seats in advance with tax, calls in arrears, a credit for a removed seat."""
    return objects.Invoice(
        invoice_id="in_1",
        customer_id="cus_1",
        status="paid",
        created_at=AT,
        period=LAST_MONTH,
        subscription_id="sub_1",
        subscription_metadata={"tenant_id": "acme"},
        number="ACME-0007",
        amount_paid=9780,
        finalized_at=AT + timedelta(hours=1),
        paid_at=AT + timedelta(hours=2),
        attempt_count=1,
        lines=(
            objects.InvoiceLine(
                line_id="il_3",
                amount=9500,
                price=SEATS,
                period=MONTH,
                quantity=5,
                subscription_id="sub_1",
                item_id="si_1",
                description="5 × Team",
                tax=280,
                metadata={"tenant_id": "acme"},
            ),
            objects.InvoiceLine(
                line_id="il_2",
                amount=200,
                price=CALLS,
                period=LAST_MONTH,
                quantity=100,
                subscription_id="sub_1",
                item_id="si_2",
                description="100 × Calls",
                metadata={"tenant_id": "acme"},
            ),
            objects.InvoiceLine(
                line_id="il_1",
                amount=-200,
                price=SEATS,
                period=MONTH,
                quantity=1,
                subscription_id="sub_1",
                item_id="si_1",
                invoice_item_id="ii_1",
                proration=True,
                description="Unused time on 1 × Team",
            ),
        ),
    )
