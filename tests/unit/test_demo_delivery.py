"""Delivery and streaming in the demo: duplicates, reordering and retries; every number once and in order."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from billing_app.secret import Secret
from billing_demo.delivery import (
    Delivery,
    DeliveryCounts,
    DeliveryError,
    DeliveryOptions,
    WebhookSender,
    plan_deliveries,
)
from billing_demo.run import CounterTotal, metric_value
from billing_demo.scenario import DemoEvent, Scenario
from billing_demo.stream_followers import EventParser, ServerSentEvent, StreamFollower, StreamFollowers
from billing_memory.clock import SystemClock
from billing_stripe.signature import StripeWebhookVerifier

SECRET = Secret("whsec_delivery_test")


def events(count: int) -> list[DemoEvent]:
    """The first events of a scenario."""
    return list(islice(Scenario(seed="d", tenants=10, today=datetime(2026, 11, 22, tzinfo=UTC)).events(), count))


def sent(options: DeliveryOptions, count: int = 500) -> list[Delivery]:
    """The deliveries of a scenario's first events."""
    return list(plan_deliveries(events(count), options, Random(1)))


def test_every_event_is_sent_and_some_are_sent_twice() -> None:
    """No event is lost; the share of duplicates is the requested one, some in the other API version."""
    leaving = Counter(delivery.event.event_id for delivery in sent(DeliveryOptions(duplicates=0.2)))
    assert leaving.keys() == {event.event_id for event in events(500)}
    assert set(leaving.values()) == {1, 2}
    assert 60 < sum(count == 2 for count in leaving.values()) < 140
    versions = Counter(
        (delivery.event.event_id, delivery.api_version) for delivery in sent(DeliveryOptions(duplicates=0.2))
    )
    in_both = Counter(event_id for event_id, _ in versions)
    assert {1, 2} == set(in_both.values())


def test_no_event_is_overtaken_by_more_than_the_window() -> None:
    """Events are reordered, but only within the window."""
    position = {event.event_id: number for number, event in enumerate(events(500))}
    order = [position[delivery.event.event_id] for delivery in sent(DeliveryOptions(duplicates=0, window=40))]
    assert order != sorted(order)
    highest = 0
    for number in order:
        highest = max(highest, number)
        assert highest - number <= 40


def test_an_infinite_window_shuffles_and_an_empty_one_keeps_the_order() -> None:
    """With an infinite window the last event may be sent first; with an empty one every event stays in place."""
    position = {event.event_id: number for number, event in enumerate(events(500))}
    shuffled = [
        position[delivery.event.event_id] for delivery in sent(DeliveryOptions(duplicates=0, window=float("inf")))
    ]
    assert max(abs(number - place) for place, number in enumerate(shuffled)) > 250
    ordered = [position[delivery.event.event_id] for delivery in sent(DeliveryOptions(duplicates=0, window=0))]
    assert ordered == sorted(ordered)


class Endpoint:
    """A webhook endpoint that verifies signatures and rejects every third request."""

    def __init__(self) -> None:
        self.verifier = StripeWebhookVerifier([SECRET.reveal()], tolerance=timedelta(minutes=5), clock=SystemClock())
        self.requests = 0
        self.known: set[str] = set()

    async def receive(self, request: web.Request) -> web.Response:
        """Respond as the server does."""
        self.requests += 1
        event = self.verifier.verify(await request.read(), request.headers["Stripe-Signature"])
        if self.requests % 3 == 0:
            return web.Response(status=503)
        status = "duplicate" if event.event_id in self.known else "accepted"
        self.known.add(event.event_id)
        return web.json_response({"status": status, "event_id": event.event_id}, status=202)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client session, closed after the test."""
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_the_sender_retries_until_every_event_is_accepted(session: aiohttp.ClientSession) -> None:
    """Rejected deliveries are signed again and retried; every response is counted by its kind."""
    endpoint = Endpoint()
    app = web.Application()
    app.router.add_post("/hook", endpoint.receive)
    async with TestServer(app) as server:
        counts, options = DeliveryCounts(), DeliveryOptions(duplicates=0.3, connections=4)
        sender = WebhookSender(
            session=session, url=str(server.make_url("/hook")), secret=SECRET, options=options, counts=counts
        )
        deliveries = list(plan_deliveries(events(60), options, Random(1)))
        await sender.send(deliveries)
    assert len(endpoint.known) == 60
    assert (counts.accepted, counts.duplicates) == (60, len(deliveries) - 60)
    assert counts.posted == endpoint.requests == len(deliveries) + counts.failed
    assert counts.failed > 0


async def test_the_sender_waits_for_an_unavailable_server(unused_tcp_port: int) -> None:
    """A refused connection is a failure like any other: the events arrive once the server is available."""
    refused = asyncio.Event()

    async def note(*_: object) -> None:
        refused.set()

    tracing = aiohttp.TraceConfig()
    tracing.on_request_exception.append(note)
    counts, options = DeliveryCounts(), DeliveryOptions(duplicates=0, connections=2)
    url = f"http://127.0.0.1:{unused_tcp_port}/hook"
    endpoint, app = Endpoint(), web.Application()
    app.router.add_post("/hook", endpoint.receive)
    async with aiohttp.ClientSession(trace_configs=[tracing]) as session:
        sender = WebhookSender(session=session, url=url, secret=SECRET, options=options, counts=counts)
        delivering = asyncio.create_task(sender.send(Delivery(event, event.api_version) for event in events(3)))
        await refused.wait()
        async with TestServer(app, port=unused_tcp_port):
            await delivering
    assert counts.accepted == 3
    assert counts.failed > 0


async def test_the_sender_gives_up_on_a_server_that_accepts_nothing(unused_tcp_port: int) -> None:
    """A run against a server that never responds ends with an error."""
    url = f"http://127.0.0.1:{unused_tcp_port}/hook"
    options = DeliveryOptions(duplicates=0, connections=2)
    async with aiohttp.ClientSession() as session:
        sender = WebhookSender(
            session=session, url=url, secret=SECRET, options=options, counts=DeliveryCounts(), give_up_after=0.01
        )
        with pytest.raises(DeliveryError, match="has not accepted any event"):
            await sender.send(Delivery(event, event.api_version) for event in events(20))


def frame(number: int, *, sequence: int | None = None, status: str | None = None) -> bytes:
    """One message as the stream sends it."""
    subscription = None if status is None else {"status": status}
    payload = {"sequence": sequence or number, "tenant_id": "acme", "subscription": subscription}
    return f"id: {number}\nevent: subscription.updated\ndata: {json.dumps(payload)}\n\n".encode()


class Stream:
    """A stream that sends prepared bytes, one item per connection."""

    def __init__(self, *connections: bytes) -> None:
        self._connections = list(connections)
        self.resumed_after: list[str] = []
        self.exhausted = asyncio.Event()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Send the bytes of the next connection and close it; keep the connection open when none are left."""
        self.resumed_after.append(request.headers["Last-Event-ID"])
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if self._connections:
            await response.write(b"retry: 500\nid: 0\n\n" + self._connections.pop(0))
            return response
        self.exhausted.set()
        await asyncio.Event().wait()
        return response

    async def received_by_a_client(self, session: aiohttp.ClientSession) -> StreamFollower:
        """Return a client that has received everything."""
        app = web.Application()
        app.router.add_get("/stream", self.serve)
        async with TestServer(app) as server:
            url = str(server.make_url("/stream"))
            streams = StreamFollowers(session=session, url=url, token=lambda tenant_id: f"token of {tenant_id}")
            streams.connect("acme")
            streams.connect("acme")
            await self.exhausted.wait()
            client = streams.followers["acme"]
            await streams.close()
        return client


async def test_a_client_resumes_after_the_last_message(session: aiohttp.ClientSession) -> None:
    """It reconnects with the last number it has received, and reports no violation if the stream continues there."""
    stream = Stream(frame(1) + b": keep-alive\n\n" + frame(2, status="active"), frame(3), b"")
    client = await stream.received_by_a_client(session)
    assert stream.resumed_after == ["0", "2", "3", "3"]
    assert (client.last, client.violations, client.status) == (3, [], "active")


async def test_messages_of_disconnected_clients_stay_in_the_totals(session: aiohttp.ClientSession) -> None:
    """Clients of an earlier generation disconnect; their messages and violations stay in the totals."""
    stream = Stream(frame(1) + frame(3))
    app = web.Application()
    app.router.add_get("/stream", stream.serve)
    async with TestServer(app) as server:
        streams = StreamFollowers(session=session, url=str(server.make_url("/stream")), token=str)
        streams.connect("acme")
        await stream.exhausted.wait()
        streams.disconnect()
        assert (streams.followers, streams.messages, len(streams.violations)) == ({}, 3, 1)
        streams.connect("acme")
        await streams.close()
    assert streams.messages == 3


@pytest.mark.parametrize(
    ("sent_bytes", "violation"),
    [
        (frame(1) + frame(1), "acme: received message 1 after 1"),
        (frame(1) + frame(3), "acme: received message 3 after 1"),
        (frame(1, sequence=2), "acme: frame 1 contains another message"),
        (frame(1) + b"event: reset\nid: 0\ndata: {}\n\n", "acme: reset after message 1"),
    ],
)
async def test_a_client_reports_every_violation(
    session: aiohttp.ClientSession, sent_bytes: bytes, violation: str
) -> None:
    """A duplicate number, a gap, a wrong message and a reset are all reported."""
    client = await Stream(sent_bytes).received_by_a_client(session)
    assert client.violations == [violation]


def test_frames_are_parsed_according_to_the_standard() -> None:
    """Comments and retry lines make no frame, data lines are joined, and one space after the colon is not content."""
    parser = EventParser()
    lines = ["retry: 500", "", ": hello", "", "id:7", "event: note", "data: a", "data:  b", ""]
    frames = [found for line in lines if (found := parser.feed(line))]
    assert frames == [ServerSentEvent(event="note", id="7", data="a\n b")]


def test_a_value_is_found_on_the_metrics_page() -> None:
    """It is found with and without labels, and not in the middle of another name."""
    page = '# HELP a_seconds x\nother_a_seconds 9.0\na_seconds 1.5\nb_total{kind="x"} 2e3\n'
    assert metric_value(page, "a_seconds") == 1.5
    assert metric_value(page, 'b_total{kind="x"}') == 2000
    assert metric_value(page, "seconds") is None


def test_a_counter_total_survives_a_restart_of_the_process() -> None:
    """A counter that restarts at zero is added to the previous total; an unavailable counter changes nothing."""
    total = CounterTotal()
    assert [total.update(value) for value in (5, 9, None, 2, 4)] == [5, 9, 9, 11, 13]
