"""The contracts of WebhookVerifier and EventTranslator, bound to Stripe's."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from billing_core.events import ProviderEvent
from billing_core.inbox.ports import WebhookVerifier
from billing_core.state.ports import EventTranslator
from billing_core.testing.inbox.webhook_verifier import Delivery, WebhookVerifierContract
from billing_core.testing.state.event_translator import EventTranslatorContract
from billing_memory.clock import ManualClock
from billing_stripe.signature import StripeWebhookVerifier
from billing_stripe.testing import API_VERSIONS, builders, encode, event, objects, sign
from billing_stripe.translate import StripeTranslator

pytestmark = pytest.mark.stripe

AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
SECRET = "whsec_contract"
PRICE = objects.Price(price_id="price_1", product_id="prod_1", unit_amount=1900)
ITEM = objects.Item(item_id="si_1", price=PRICE, period=objects.Span(AT, AT + timedelta(days=31)))
TRIAL = objects.Subscription(
    subscription_id="sub_1", customer_id="cus_1", status="trialing", created_at=AT, items=(ITEM,)
)


def update_body(api_version: str) -> bytes:
    before = builders.subscription(TRIAL, api_version)
    after = builders.subscription(attrs.evolve(TRIAL, status="active"), api_version)
    return encode(
        event(
            "customer.subscription.updated",
            after,
            created=AT,
            api_version=api_version,
            event_id="evt_1",
            previous_attributes=builders.previous_attributes(before, after),
        )
    )


@pytest.fixture
def verifier() -> WebhookVerifier:
    return StripeWebhookVerifier((SECRET,), tolerance=timedelta(minutes=5), clock=ManualClock(AT))


class TestStripeWebhookVerifier(WebhookVerifierContract):
    """Against a real header."""

    @pytest.fixture
    def delivery(self) -> Delivery:
        body, garbage = update_body(API_VERSIONS[-1]), b'{"id": "evt_1"}'
        return Delivery(
            body=body,
            signature=sign(body, SECRET, AT),
            garbage=garbage,
            garbage_signature=sign(garbage, SECRET, AT),
        )


@pytest.mark.parametrize("api_version", API_VERSIONS)
class TestStripeTranslator(EventTranslatorContract):
    """In the shape of every API version."""

    @pytest.fixture
    def translator(self) -> EventTranslator:
        return StripeTranslator()

    @pytest.fixture
    def update(self, verifier: WebhookVerifier, api_version: str) -> ProviderEvent:
        body = update_body(api_version)
        return verifier.verify(body, sign(body, SECRET, AT))
