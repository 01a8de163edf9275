"""Stripe's gateway beyond the contract: versions, pages, thin events, and lists that do not end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from billing_core.errors import GatewayAuthenticationError, GatewayPermissionError, GatewayUnavailableError
from billing_core.events import Translation
from billing_core.model import CustomerId, EventId, InvoiceId, InvoiceSnapshot, Snapshot, SubscriptionId, TenantId
from billing_stripe.client import Backoff, CallPolicy, GatewayCall, StripeClient, open_client
from billing_stripe.gateway import StripeGateway
from billing_stripe.testing import API_VERSIONS, builders, encode, event, objects
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe, faults
from billing_stripe.testing.thin import ThinEvent

pytestmark = pytest.mark.stripe

ENDIVE = API_VERSIONS[-1]
NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
MONTH = objects.Span(NOW, NOW + timedelta(days=31))
SEATS = objects.Price(price_id="price_seats", product_id="prod_app", unit_amount=1900, lookup_key="team")
MOMENT = Backoff(timedelta(milliseconds=1), timedelta(milliseconds=1))
POLICY = CallPolicy(attempts=2, backoff=MOMENT, lock_backoff=MOMENT, load_backoff=MOMENT)


def make_invoice(lines: int) -> objects.Invoice:
    """An open invoice of acme's."""
    return objects.Invoice(
        invoice_id="in_1",
        customer_id="cus_1",
        status="open",
        created_at=NOW,
        period=MONTH,
        finalized_at=NOW,
        subscription_id="sub_1",
        subscription_metadata={"tenant_id": "acme"},
        lines=tuple(
            objects.InvoiceLine(
                line_id=f"il_{number:03}",
                amount=100,
                price=SEATS,
                period=MONTH,
                subscription_id="sub_1",
                item_id="si_1",
            )
            for number in range(lines)
        ),
    )


CUSTOMER = objects.Customer(customer_id="cus_1", created_at=NOW, metadata={"tenant_id": "acme"})
SUBSCRIPTION = objects.Subscription(
    subscription_id="sub_1",
    customer_id="cus_1",
    status="trialing",
    created_at=NOW,
    trial=MONTH,
    cancel_at=MONTH.end,
    pause_collection="void",
    metadata={"tenant_id": "acme"},
    items=(objects.Item(item_id="si_1", price=SEATS, period=MONTH, quantity=5),),
)
CHECKOUT = objects.CheckoutSession(
    session_id="cs_1", created_at=NOW, customer_id="cus_1", subscription_id="sub_1", client_reference_id="acme"
)


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    """A Stripe that knows nothing yet."""
    async with fake_stripe() as running:
        yield running


@pytest.fixture
def calls() -> list[GatewayCall]:
    """The calls that the observer received."""
    return []


@asynccontextmanager
async def connect(
    fake: FakeStripe, *, api_version: str = ENDIVE, key: str | None = None, calls: list[GatewayCall] | None = None
) -> AsyncIterator[StripeClient]:
    """A client of the fake."""
    seen = [] if calls is None else calls
    async with open_client(
        secret_key=key or fake.secret_key,
        api_version=api_version,
        base_url=fake.url,
        policy=POLICY,
        observe=seen.append,
    ) as client:
        yield client


@pytest.fixture
async def client(fake: FakeStripe, calls: list[GatewayCall]) -> AsyncIterator[StripeClient]:
    """A client in the newest version."""
    async with connect(fake, calls=calls) as connected:
        yield connected


@pytest.fixture
def gateway(client: StripeClient) -> StripeGateway:
    """The gateway on trial."""
    return StripeGateway(client)


def only(translation: Translation | None) -> Snapshot:
    assert translation is not None
    (snapshot,) = translation.snapshots
    return snapshot


def paths(fake: FakeStripe) -> list[str]:
    return [request.path for request in fake.requests]


async def test_whatever_version_is_pinned_the_facts_are_the_same(fake: FakeStripe) -> None:
    """Pinning a newer one changes nothing."""
    fake.put(CUSTOMER, SUBSCRIPTION, CHECKOUT, make_invoice(lines=25))
    seen = []
    for version in API_VERSIONS:
        async with connect(fake, api_version=version) as client:
            gateway = StripeGateway(client)
            seen.append(
                (
                    await gateway.fetch_customer(CustomerId("cus_1")),
                    await gateway.fetch_subscription(SubscriptionId("sub_1")),
                    await gateway.fetch_checkout_session("cs_1"),
                    only(await gateway.fetch_invoice(InvoiceId("in_1"))),
                )
            )
    assert all(one == seen[-1] for one in seen)
    assert seen[-1][1] is not None
    assert seen[-1][1].tenant_hint == TenantId("acme")
    assert {request.headers["Stripe-Version"] for request in fake.requests} == set(API_VERSIONS)


@pytest.mark.parametrize(("lines", "cursors"), [(10, []), (11, ["il_009"]), (111, ["il_009", "il_109"])])
async def test_pages_go_on_where_the_invoice_stops(
    lines: int, cursors: list[str], fake: FakeStripe, gateway: StripeGateway
) -> None:
    """No line is read twice, and no request is made for nothing."""
    fake.put(make_invoice(lines))
    await gateway.fetch_invoice(InvoiceId("in_1"))
    assert paths(fake) == ["/v1/invoices/in_1", *["/v1/invoices/in_1/lines"] * len(cursors)]
    assert [request.query["starting_after"] for request in fake.requests[1:]] == cursors


async def test_a_failing_page_is_tried_again_by_itself(
    fake: FakeStripe, gateway: StripeGateway, calls: list[GatewayCall]
) -> None:
    """The pages read before it are kept; each call is reported under its own name."""
    fake.put(make_invoice(lines=150))
    fake.fail("/v1/invoices/in_1/lines", faults.DroppedBody())
    snapshot = only(await gateway.fetch_invoice(InvoiceId("in_1")))
    assert isinstance(snapshot, InvoiceSnapshot)
    assert len(snapshot.lines) == 150
    assert [(call.operation, call.attempts) for call in calls] == [
        ("fetch_invoice", 1),
        ("fetch_invoice_lines", 2),
        ("fetch_invoice_lines", 1),
    ]


async def test_an_invoice_that_goes_while_it_is_read_is_gone(fake: FakeStripe, gateway: StripeGateway) -> None:
    """Half of it would be a lie."""
    fake.put(make_invoice(lines=30))
    body = b'{"error": {"code": "resource_missing", "message": "No such invoice", "param": "id"}}'
    fake.fail("/v1/invoices/in_1/lines", faults.Answer(status=404, body=body))
    assert await gateway.fetch_invoice(InvoiceId("in_1")) is None


async def test_a_list_that_changes_while_it_is_read_has_to_be_read_again(
    fake: FakeStripe, gateway: StripeGateway
) -> None:
    """The line after which to continue has been removed: the fake answers as Stripe does."""
    fake.put(make_invoice(lines=30))
    rendered = builders.invoice(make_invoice(lines=1), ENDIVE)
    rendered["lines"] = {
        **rendered["lines"],
        "has_more": True,
        "data": [{**rendered["lines"]["data"][0], "id": "il_x"}],
    }
    fake.fail("/v1/invoices/in_1", faults.Answer(status=200, body=encode(rendered)))
    with pytest.raises(GatewayUnavailableError):
        await gateway.fetch_invoice(InvoiceId("in_1"))


@pytest.mark.parametrize(
    "page",
    [
        {"object": "list", "data": [{"id": "il_000"}], "has_more": True},
        {"object": "list", "data": [], "has_more": True},
        {"object": "list", "has_more": True},
        {"object": "list", "data": "lines", "has_more": True},
        {"object": "list", "data": [{"id": None}, 7], "has_more": True},
    ],
)
async def test_a_list_that_never_ends_is_left_incomplete(
    page: dict[str, Any], fake: FakeStripe, gateway: StripeGateway
) -> None:
    """Reading ends as soon as a page brings nothing new, and the invoice is marked as incomplete."""
    fake.put(make_invoice(lines=30))
    fake.fail("/v1/invoices/in_1/lines", faults.Answer(status=200, body=encode(page)), times=10)
    snapshot = only(await gateway.fetch_invoice(InvoiceId("in_1")))
    assert isinstance(snapshot, InvoiceSnapshot)
    assert not snapshot.lines_complete
    assert len(snapshot.lines) == 10
    assert len(fake.requests) == 2


async def test_the_address_in_a_thin_event_is_never_called(fake: FakeStripe, gateway: StripeGateway) -> None:
    """An object is fetched by its type and id; an address could lead our key anywhere."""
    fake.put(CUSTOMER)
    async with fake_stripe() as stranger:
        related = {"id": "cus_1", "type": "customer", "url": f"{stranger.url}/v1/customers/cus_1"}
        body = encode({"id": "evt_1", "object": "v2.core.event", "related_object": related})
        fake.fail("/v2/core/events/evt_1", faults.Answer(status=200, body=body))
        fetched = await gateway.fetch_event(EventId("evt_1"))
        assert fetched is not None
        assert only(fetched.translation).object_id == "cus_1"
        assert stranger.requests == []
    assert paths(fake) == ["/v2/core/events/evt_1", "/v1/customers/cus_1"]


@pytest.mark.parametrize("related", [None, {}, [], "cus_1", {"type": "customer"}, {"type": "customer", "id": 7}])
async def test_a_thin_event_without_a_readable_object_is_ignored(
    related: object, fake: FakeStripe, gateway: StripeGateway
) -> None:
    """Any JSON value may be in its place."""
    body = encode({"id": "evt_1", "object": "v2.core.event", "snapshot_event": "", "related_object": related})
    fake.fail("/v2/core/events/evt_1", faults.Answer(status=200, body=body))
    fetched = await gateway.fetch_event(EventId("evt_1"))
    assert fetched is not None
    assert fetched.snapshot_event_id is None
    assert fetched.translation == Translation(ignored="unhandled_type")


async def test_a_thin_event_about_a_checkout_is_resolved(fake: FakeStripe, gateway: StripeGateway) -> None:
    """The one kind that has no snapshot of its own."""
    checkout = ThinEvent(
        event_id="evt_1",
        type="v1.checkout.session.completed",
        created_at=NOW,
        related_type="checkout.session",
        related_id="cs_1",
    )
    fake.put(CHECKOUT, checkout)
    fetched = await gateway.fetch_event(EventId("evt_1"))
    assert fetched is not None
    assert fetched.translation == Translation(
        customer_id=CustomerId("cus_1"), about=("sub_1",), tenant_hint=TenantId("acme")
    )


async def test_a_thin_event_that_an_operation_caused_says_so(fake: FakeStripe, gateway: StripeGateway) -> None:
    """Stripe names the request as the reason of the event."""
    fake.put(CUSTOMER)
    reason = {"type": "request", "request": {"id": "req_1", "idempotency_key": "bo_1.create"}}
    related = {"id": "cus_1", "type": "customer"}
    body = encode({"id": "evt_1", "object": "v2.core.event", "reason": reason, "related_object": related})
    fake.fail("/v2/core/events/evt_1", faults.Answer(status=200, body=body))
    fetched = await gateway.fetch_event(EventId("evt_1"))
    assert fetched is not None
    assert fetched.translation is not None
    assert fetched.translation.request_key == "bo_1.create"


async def test_ids_are_never_read_as_addresses(fake: FakeStripe, gateway: StripeGateway) -> None:
    """They come from outside."""
    fake.put(CUSTOMER, make_invoice(lines=1))
    assert await gateway.fetch_invoice(InvoiceId("../customers/cus_1")) is None
    assert await gateway.fetch_invoice(InvoiceId("")) is None
    assert not fake.requests
    assert only(await gateway.fetch_customer(CustomerId("cus_1"))).object_id == "cus_1"


async def test_a_wrong_key_is_an_operators_business(fake: FakeStripe) -> None:
    """The error does not contain the key."""
    async with connect(fake, key="rk_test_revoked") as client:
        with pytest.raises(GatewayAuthenticationError) as raised:
            await StripeGateway(client).fetch_customer(CustomerId("cus_1"))
    assert "rk_test" not in repr(raised.value)
    assert len(fake.requests) == 1


# --- the fake itself --------------------------------------------------------------------------------------------


async def test_the_fake_keeps_snapshot_events_as_they_were_made(fake: FakeStripe, client: StripeClient) -> None:
    """An event stays in its own version, whatever the request's version is."""
    old = API_VERSIONS[0]
    body = event(
        "customer.subscription.created",
        builders.subscription(SUBSCRIPTION, old),
        created=NOW,
        api_version=old,
        event_id="evt_1",
    )
    fake.put_event(body)
    assert await client.get("fetch_snapshot_event", "evt_1") == body
    fake.remove("evt_1")
    assert await client.get("fetch_snapshot_event", "evt_1") is None


async def test_the_fake_finds_the_invoice_of_a_payment(fake: FakeStripe, client: StripeClient) -> None:
    """By the intent that the invoice's oldest rendering names; other payments find nothing."""
    paid = attrs.evolve(make_invoice(lines=1), status="paid", amount_paid=100, paid_at=NOW)
    fake.put(paid, attrs.evolve(paid, invoice_id="in_2"))
    intent = builders.invoice(paid, API_VERSIONS[0])["payment_intent"]
    found = await client.get(
        "list_invoice_payments", params={"payment": {"type": "payment_intent", "payment_intent": intent}}
    )
    assert found is not None
    assert [(payment["invoice"], payment["status"]) for payment in found["data"]] == [("in_1", "paid")]
    none = await client.get(
        "list_invoice_payments", params={"payment": {"type": "payment_intent", "payment_intent": "pi_none"}}
    )
    assert none is not None
    assert none["data"] == []


async def test_faults_strike_in_the_order_they_were_asked_for(fake: FakeStripe, gateway: StripeGateway) -> None:
    """And only at the paths they are meant for."""
    fake.put(CUSTOMER, SUBSCRIPTION)
    fake.fail("/v1/customers/*", faults.conflict())
    fake.fail("/v1/customers/*", faults.Answer(status=403, body=b'{"error": {}}'))
    assert await gateway.fetch_subscription(SubscriptionId("sub_1")) is not None
    with pytest.raises(GatewayPermissionError):
        await gateway.fetch_customer(CustomerId("cus_1"))
    assert await gateway.fetch_customer(CustomerId("cus_1")) is not None


def test_the_fake_takes_no_preview() -> None:
    """A forecast has no id to be fetched by."""
    with pytest.raises(ValueError, match="preview"):
        FakeStripe(secret_key="sk_test_fake", api_version=ENDIVE).put(
            attrs.evolve(make_invoice(lines=1), invoice_id=None)
        )
