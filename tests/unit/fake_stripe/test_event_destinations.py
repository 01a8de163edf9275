"""Event destinations and thin events, through Stripe's SDK and a receiver of webhooks."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import stripe
from aiohttp import web
from tests.unit.fake_stripe.conftest import Shop

from billing_stripe.testing import API_VERSIONS


class Receiver:
    """A server that takes webhooks."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[tuple[str, str]] = []
        """Body and signature of each."""

    async def receive(self, request: web.Request) -> web.Response:
        """Accept one."""
        self.received.append((await request.text(), request.headers["Stripe-Signature"]))
        return web.Response()

    @property
    def types(self) -> list[str]:
        """The types of the events, in the order of their arrival."""
        return [json.loads(body)["type"] for body, _ in self.received]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that runs."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/", receiver.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = "http://{}:{}/".format(*runner.addresses[0])
    yield receiver
    await runner.cleanup()


async def destination(shop: Shop, url: str, *events: str, payload: str = "thin", **params: Any) -> Any:
    """Register a receiver, and show its secret."""
    given: Any = {
        "name": "App",
        "type": "webhook_endpoint",
        "event_payload": payload,
        "enabled_events": list(events),
        "webhook_endpoint": {"url": url},
        "include": ["webhook_endpoint.signing_secret", "webhook_endpoint.url"],
        **params,
    }
    return await shop.client.v2.core.event_destinations.create_async(given)


async def test_address_and_secret_are_shown_on_request(shop: Shop) -> None:
    """The secret once, with the creation; the address whenever it is asked for."""
    destinations: Any = shop.client.v2.core.event_destinations
    created = await destination(shop, "https://app.test/hooks", "*", metadata={"app": "1"})
    assert created.webhook_endpoint.url == "https://app.test/hooks"
    assert created.webhook_endpoint.signing_secret.startswith("whsec_")
    assert (created.status, created.snapshot_api_version) == ("enabled", None)
    assert (await destinations.retrieve_async(created.id)).webhook_endpoint is None
    include = {"include": ["webhook_endpoint.url"]}
    shown = await destinations.retrieve_async(created.id, include)
    assert shown.webhook_endpoint.to_dict() == {"url": "https://app.test/hooks"}
    snapshots = await destination(shop, "https://app.test/hooks", "*", payload="snapshot")
    assert snapshots.snapshot_api_version == API_VERSIONS[-1]
    listed = await destinations.list_async(include)
    assert [(each.id, each.webhook_endpoint.url) for each in listed.data] == [
        (snapshots.id, "https://app.test/hooks"),
        (created.id, "https://app.test/hooks"),
    ]
    changes = {"name": "Other", "enabled_events": ["v1.invoice.paid"], "webhook_endpoint": {"url": "https://b.test"}}
    changed = await destinations.update_async(created.id, {**changes, **include})
    assert (changed.name, changed.enabled_events) == ("Other", ["v1.invoice.paid"])
    assert (changed.webhook_endpoint.url, changed.metadata.to_dict()) == ("https://b.test", {"app": "1"})
    await destinations.delete_async(created.id)
    with pytest.raises(stripe.InvalidRequestError) as missing:
        await destinations.retrieve_async(created.id)
    assert missing.value.http_status == 404


async def test_what_makes_no_sense_is_refused(shop: Shop) -> None:
    """An address without scheme, and a version of events that have none."""
    for params, param in (
        ({"webhook_endpoint": {"url": "app.test"}}, "webhook_endpoint.url"),
        ({"snapshot_api_version": API_VERSIONS[-1]}, "snapshot_api_version"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await destination(shop, "https://app.test/hooks", "*", **params)
        assert refused.value.param == param


async def test_a_thin_event_names_an_object_and_its_snapshot(shop: Shop, receiver: Receiver) -> None:
    """The SDK verifies the notification, and fetches the event and the object."""
    created = await destination(shop, receiver.url, "v1.customer.created")
    customer = await shop.customer(card=None)
    await shop.api.customers.update_async(customer.id, {"name": "Zoe"})
    await shop.fake.delivered()
    ((body, signature),) = receiver.received
    secret = created.webhook_endpoint.signing_secret
    notification: Any = shop.client.parse_event_notification(body, signature, secret)
    assert (notification.type, notification.related_object.id) == ("v1.customer.created", customer.id)
    assert notification.related_object.url == f"/v1/customers/{customer.id}"
    event: Any = await shop.client.v2.core.events.retrieve_async(notification.id)
    assert (event.type, event.related_object.id) == ("v1.customer.created", customer.id)
    snapshot = await shop.api.events.retrieve_async(event.snapshot_event)
    assert (snapshot.type, snapshot.data.object["name"]) == ("customer.created", "Acme")
    with pytest.raises(stripe.InvalidRequestError):
        await shop.client.v2.core.events.retrieve_async("evt_unknown")


async def test_a_destination_of_snapshots_receives_its_version(shop: Shop, receiver: Receiver) -> None:
    """Like a webhook endpoint."""
    version = "2022-11-15"
    await destination(shop, receiver.url, "customer.created", payload="snapshot", snapshot_api_version=version)
    await shop.customer(card=None)
    await shop.fake.delivered()
    assert receiver.types == ["customer.created"]
    assert json.loads(receiver.received[0][0])["api_version"] == version


async def test_a_ping_reaches_the_destination_alone(shop: Shop, receiver: Receiver) -> None:
    """It is no event of the first generation, and every payload takes it."""
    first = await destination(shop, receiver.url, "v1.invoice.paid")
    await destination(shop, receiver.url, "*", payload="snapshot")
    shop.fake.add_webhook_endpoint(receiver.url)
    sent: Any = await shop.client.v2.core.event_destinations.ping_async(first.id)
    await shop.fake.delivered()
    assert receiver.types == ["v2.core.event_destination.ping"] == [sent.type]
    assert sent.related_object.id == first.id
    assert (await shop.client.v2.core.events.retrieve_async(sent.id)).type == sent.type
    assert not (await shop.api.events.list_async()).data


async def test_a_disabled_destination_receives_nothing(shop: Shop, receiver: Receiver) -> None:
    """Until it is enabled again."""
    destinations: Any = shop.client.v2.core.event_destinations
    created = await destination(shop, receiver.url, "*")
    disabled = await destinations.disable_async(created.id)
    assert (disabled.status, disabled.status_details.disabled.reason) == ("disabled", "user")
    await shop.customer(card=None)
    assert (await destinations.enable_async(created.id)).status == "enabled"
    customer = await shop.customer(card=None)
    await shop.fake.delivered()
    assert [json.loads(body)["related_object"]["id"] for body, _ in receiver.received] == [customer.id]


async def test_thin_events_are_listed_page_by_page(shop: Shop) -> None:
    """Newest first; pages keep the filters of the first."""
    customer = await shop.customer(card=None)
    for number in range(3):
        await shop.api.customers.update_async(customer.id, {"name": f"Acme {number}"})
    await shop.customer(card=None)
    events: Any = shop.client.v2.core.events
    first = await events.list_async({"object_id": customer.id, "types": ["v1.customer.updated"], "limit": 2})
    assert [len(first.data), {each.type for each in first.data}] == [2, {"v1.customer.updated"}]
    everything = [each async for each in first.auto_paging_iter()]
    assert [each.related_object.id for each in everything] == [customer.id] * 3
    assert len({each.id for each in everything}) == 3
    assert [each.id for each in (await events.list_async({"object_id": customer.id})).data][:3] == [
        each.id for each in everything
    ]


async def test_thin_events_are_listed_by_time(shop: Shop) -> None:
    """Times are texts in the second generation."""
    await shop.customer(card=None)
    events: Any = shop.client.v2.core.events
    assert (await events.list_async({"created": {"gt": "2000-01-01T00:00:00Z"}})).data
    assert not (await events.list_async({"created": {"lt": "2000-01-01T00:00:00Z"}})).data
    with pytest.raises(stripe.InvalidRequestError, match="page"):
        await shop.client.raw_request_async("get", "/v2/core/events", page="nonsense")
