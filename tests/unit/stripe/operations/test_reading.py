"""A checkout session as Stripe shows it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from billing_core.errors import GatewayNotFoundError
from billing_core.model import CustomerId, SubscriptionId, TenantId
from billing_core.operations.results import Checkout
from billing_stripe.client import StripeAnswer, StripeRequest
from billing_stripe.operations.reading import StripeBillingReader

AT = datetime(2026, 12, 1, tzinfo=UTC)
STARTED = {
    "id": "sub_1",
    "object": "subscription",
    "customer": "cus_1",
    "status": "trialing",
    "items": {"data": [{"id": "si_1", "price": {"id": "price_pro"}, "quantity": 5}]},
}
SESSION: dict[str, Any] = {
    "id": "cs_1",
    "object": "checkout.session",
    "status": "complete",
    "customer": "cus_1",
    "client_reference_id": "globex",
    "metadata": {"tenant_id": "acme"},
    "subscription": STARTED,
}


@attrs.define
class Stripe:
    """The part of a `StripeClient` that reads one session."""

    session: dict[str, Any] | None
    asked: list[StripeRequest] = attrs.field(factory=list)

    async def call(self, request: StripeRequest) -> StripeAnswer:
        self.asked.append(request)
        if self.session is None:
            raise GatewayNotFoundError("fetch_checkout_session")
        return StripeAnswer(data=self.session, request_id="req_1", replayed=False, answered_at=AT)


def reader(stripe: Stripe) -> StripeBillingReader:
    return StripeBillingReader(stripe)  # type: ignore[arg-type] # the part of it that is called


@attrs.define
class Sessions:
    """The part of a `StripeClient` that lists sessions."""

    rows: list[dict[str, Any]]

    async def each(self, operation: str, *, params: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        assert (operation, params) == ("list_checkout_sessions", {"customer": "cus_1", "status": "open"})
        for row in self.rows:
            yield row


async def test_the_open_sessions_of_a_shared_customer_are_one_tenants() -> None:
    """Sessions that name no tenant count as well, and pages for something else do not."""
    rows = [
        {"id": "cs_own", "mode": "subscription", "metadata": {"tenant_id": "acme"}},
        {"id": "cs_other", "mode": "subscription", "metadata": {"tenant_id": "globex"}},
        {"id": "cs_bare", "mode": "subscription", "metadata": {}},
        {"id": "cs_card", "mode": "setup", "metadata": {"tenant_id": "acme"}},
    ]
    stripe = StripeBillingReader(Sessions(rows))  # type: ignore[arg-type] # the part of it that is called
    found = await stripe.open_checkout_sessions(CustomerId("cus_1"), TenantId("acme"))
    assert found == ("cs_own", "cs_bare")


async def test_a_completed_session_shows_the_subscription_it_started() -> None:
    """In one call, with the tenant that our server named: anyone may set the reference in the page's address."""
    stripe = Stripe(SESSION)
    found = await reader(stripe).checkout("cs_1")
    assert found is not None
    assert (found.status, found.tenant_id, found.customer_id, found.answered_at) == (
        "complete",
        TenantId("acme"),
        CustomerId("cus_1"),
        AT,
    )
    assert found.subscription is not None
    assert (found.subscription.subscription_id, found.subscription.status) == (SubscriptionId("sub_1"), "trialing")
    assert [item.quantity for item in found.subscription.items] == [5]
    (request,) = stripe.asked
    assert (request.operation, request.ids) == ("fetch_checkout_session", ("cs_1",))
    assert "subscription" in request.params["expand"]


@pytest.mark.parametrize("status", ["open", "expired"])
async def test_a_session_without_a_result_shows_none(status: str) -> None:
    """It may have no customer yet, and no metadata of ours."""
    bare = {**SESSION, "status": status, "customer": None, "subscription": None, "metadata": {}}
    assert await reader(Stripe(bare)).checkout("cs_1") == Checkout(
        session_id="cs_1",
        status=status,  # type: ignore[arg-type] # a parameter of the test
        answered_at=AT,
    )


async def test_an_unknown_session_is_none() -> None:
    """One whose id Stripe would never assign is not asked for."""
    stripe = Stripe(None)
    assert await reader(stripe).checkout("cs_1") is None
    assert await reader(stripe).checkout("sub_1") is None
    assert len(stripe.asked) == 1
