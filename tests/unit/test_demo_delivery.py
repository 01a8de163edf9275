"""How the demo delivers and listens: duplicated, out of order, again after failures; every number once and in order."""

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
from billing_demo.delivery import Courier, DeliveryError, Manners, Parcel, Tally, parcels
from billing_demo.listener import Audience, Frame, FrameParser, Listener
from billing_demo.run import Counted, value
from billing_demo.scenario import PlayedEvent, Scenario
from billing_memory.clock import SystemClock
from billing_stripe.signature import StripeWebhookVerifier

SECRET = Secret("whsec_delivery_test")


def events(count: int) -> list[PlayedEvent]:
    """The first events of a scenario."""
    return list(islice(Scenario(seed="d", tenants=10, today=datetime(2026, 11, 22, tzinfo=UTC)).events(), count))


def sent(manners: Manners, count: int = 500) -> list[Parcel]:
    """The sendings of a scenario's first events."""
    return list(parcels(events(count), manners, Random(1)))


def test_every_event_leaves_and_some_leave_twice() -> None:
    """Nothing is lost on the way; the share of second sendings is the one asked for, some in the other shape."""
    leaving = Counter(parcel.event.event_id for parcel in sent(Manners(duplicates=0.2)))
    assert leaving.keys() == {event.event_id for event in events(500)}
    assert set(leaving.values()) == {1, 2}
    assert 60 < sum(count == 2 for count in leaving.values()) < 140
    versions = Counter((parcel.event.event_id, parcel.api_version) for parcel in sent(Manners(duplicates=0.2)))
    in_both = Counter(event_id for event_id, _ in versions)
    assert {1, 2} == set(in_both.values())


def test_no_event_is_overtaken_by_more_than_the_window() -> None:
    """Order is disturbed, and only within the window."""
    place = {event.event_id: number for number, event in enumerate(events(500))}
    order = [place[parcel.event.event_id] for parcel in sent(Manners(duplicates=0, window=40))]
    assert order != sorted(order)
    highest = 0
    for number in order:
        highest = max(highest, number)
        assert highest - number <= 40


def test_without_a_window_there_is_no_order() -> None:
    """With an infinite window the last event may leave first; with none everything stays in place."""
    place = {event.event_id: number for number, event in enumerate(events(500))}
    wild = [place[parcel.event.event_id] for parcel in sent(Manners(duplicates=0, window=float("inf")))]
    assert max(abs(number - position) for position, number in enumerate(wild)) > 250
    tame = [place[parcel.event.event_id] for parcel in sent(Manners(duplicates=0, window=0))]
    assert tame == sorted(tame)


class Endpoint:
    """A webhook endpoint that checks signatures and refuses every third request."""

    def __init__(self) -> None:
        self.verifier = StripeWebhookVerifier([SECRET.reveal()], tolerance=timedelta(minutes=5), clock=SystemClock())
        self.requests = 0
        self.known: set[str] = set()

    async def receive(self, request: web.Request) -> web.Response:
        """Answer as the server does."""
        self.requests += 1
        event = self.verifier.verify(await request.read(), request.headers["Stripe-Signature"])
        if self.requests % 3 == 0:
            return web.Response(status=503)
        status = "duplicate" if event.event_id in self.known else "accepted"
        self.known.add(event.event_id)
        return web.json_response({"status": status, "event_id": event.event_id}, status=202)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client session that is closed in the end."""
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_the_courier_keeps_at_it_until_everything_is_accepted(session: aiohttp.ClientSession) -> None:
    """Refused sendings are signed and sent again; each answer is counted for what it is."""
    endpoint = Endpoint()
    app = web.Application()
    app.router.add_post("/hook", endpoint.receive)
    async with TestServer(app) as server:
        tally, manners = Tally(), Manners(duplicates=0.3, connections=4)
        courier = Courier(
            session=session, url=str(server.make_url("/hook")), secret=SECRET, manners=manners, tally=tally
        )
        leaving = list(parcels(events(60), manners, Random(1)))
        await courier.deliver(leaving)
    assert len(endpoint.known) == 60
    assert (tally.accepted, tally.duplicates) == (60, len(leaving) - 60)
    assert tally.posted == endpoint.requests == len(leaving) + tally.failed
    assert tally.failed > 0


async def test_the_courier_waits_for_a_server_that_is_away(unused_tcp_port: int) -> None:
    """A refused connection is a failure like any other: what was sent arrives once the server is there."""
    refused = asyncio.Event()

    async def note(*_: object) -> None:
        refused.set()

    tracing = aiohttp.TraceConfig()
    tracing.on_request_exception.append(note)
    tally, manners = Tally(), Manners(duplicates=0, connections=2)
    url = f"http://127.0.0.1:{unused_tcp_port}/hook"
    endpoint, app = Endpoint(), web.Application()
    app.router.add_post("/hook", endpoint.receive)
    async with aiohttp.ClientSession(trace_configs=[tracing]) as session:
        courier = Courier(session=session, url=url, secret=SECRET, manners=manners, tally=tally)
        delivering = asyncio.create_task(courier.deliver(Parcel(event, event.api_version) for event in events(3)))
        await refused.wait()
        async with TestServer(app, port=unused_tcp_port):
            await delivering
    assert tally.accepted == 3
    assert tally.failed > 0


async def test_the_courier_gives_up_on_a_server_that_accepts_nothing(unused_tcp_port: int) -> None:
    """A run against a server that never answers ends, and says so."""
    url = f"http://127.0.0.1:{unused_tcp_port}/hook"
    manners = Manners(duplicates=0, connections=2)
    async with aiohttp.ClientSession() as session:
        courier = Courier(session=session, url=url, secret=SECRET, manners=manners, tally=Tally(), patience=0.01)
        with pytest.raises(DeliveryError, match="has not accepted anything"):
            await courier.deliver(Parcel(event, event.api_version) for event in events(20))


def frame(number: int, *, sequence: int | None = None, status: str | None = None) -> bytes:
    """One message as the stream sends it."""
    subscription = None if status is None else {"status": status}
    payload = {"sequence": sequence or number, "tenant_id": "acme", "subscription": subscription}
    return f"id: {number}\nevent: subscription.updated\ndata: {json.dumps(payload)}\n\n".encode()


class Stream:
    """A stream that sends what it is told, one connection after the other."""

    def __init__(self, *connections: bytes) -> None:
        self._connections = list(connections)
        self.resumed_after: list[str] = []
        self.exhausted = asyncio.Event()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Send the next connection's bytes and hang up; hold the connection when there are none left."""
        self.resumed_after.append(request.headers["Last-Event-ID"])
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if self._connections:
            await response.write(b"retry: 500\nid: 0\n\n" + self._connections.pop(0))
            return response
        self.exhausted.set()
        await asyncio.Event().wait()
        return response

    async def heard_by_a_listener(self, session: aiohttp.ClientSession) -> Listener:
        """A listener that has heard everything."""
        app = web.Application()
        app.router.add_get("/stream", self.serve)
        async with TestServer(app) as server:
            url = str(server.make_url("/stream"))
            audience = Audience(session=session, url=url, token=lambda tenant_id: f"token of {tenant_id}")
            audience.invite("acme")
            audience.invite("acme")
            await self.exhausted.wait()
            listener = audience.listeners["acme"]
            await audience.leave()
        return listener


async def test_a_listener_resumes_where_it_was_cut_off(session: aiohttp.ClientSession) -> None:
    """It reconnects with the last number it has seen, and finds nothing wrong with a stream that goes on from there."""
    stream = Stream(frame(1) + b": keep-alive\n\n" + frame(2, status="active"), frame(3), b"")
    listener = await stream.heard_by_a_listener(session)
    assert stream.resumed_after == ["0", "2", "3", "3"]
    assert (listener.last, listener.violations, listener.status) == (3, [], "active")


async def test_what_dismissed_listeners_heard_still_counts(session: aiohttp.ClientSession) -> None:
    """Tenants of an earlier generation stop listening; their messages and complaints stay in the sum."""
    stream = Stream(frame(1) + frame(3))
    app = web.Application()
    app.router.add_get("/stream", stream.serve)
    async with TestServer(app) as server:
        audience = Audience(session=session, url=str(server.make_url("/stream")), token=str)
        audience.invite("acme")
        await stream.exhausted.wait()
        audience.dismiss()
        assert (audience.listeners, audience.messages, len(audience.violations)) == ({}, 3, 1)
        audience.invite("acme")
        await audience.leave()
    assert audience.messages == 3


@pytest.mark.parametrize(
    ("sent_bytes", "complaint"),
    [
        (frame(1) + frame(1), "acme: 1 came after 1"),
        (frame(1) + frame(3), "acme: 3 came after 1"),
        (frame(1, sequence=2), "acme: frame 1 holds another message"),
        (frame(1) + b"event: reset\nid: 0\ndata: {}\n\n", "acme: was told to reset after 1"),
    ],
)
async def test_a_listener_notices_every_irregularity(
    session: aiohttp.ClientSession, sent_bytes: bytes, complaint: str
) -> None:
    """A number twice, a gap, a wrong message and a reset are all reported."""
    listener = await Stream(sent_bytes).heard_by_a_listener(session)
    assert listener.violations == [complaint]


def test_frames_are_read_as_the_standard_says() -> None:
    """Comments and retry lines make no frame, data lines are joined, one space after the colon is not content."""
    parser = FrameParser()
    lines = ["retry: 500", "", ": hello", "", "id:7", "event: note", "data: a", "data:  b", ""]
    frames = [found for line in lines if (found := parser.feed(line))]
    assert frames == [Frame(event="note", id="7", data="a\n b")]


def test_a_value_is_found_on_the_metrics_page() -> None:
    """With and without labels, and not in the middle of another name."""
    page = '# HELP a_seconds x\nother_a_seconds 9.0\na_seconds 1.5\nb_total{kind="x"} 2e3\n'
    assert value(page, "a_seconds") == 1.5
    assert value(page, 'b_total{kind="x"}') == 2000
    assert value(page, "seconds") is None


def test_a_counter_goes_on_where_a_killed_process_left_it() -> None:
    """A counter that starts again at zero is added to what was counted before; a blind moment changes nothing."""
    counted = Counted()
    assert [counted.update(shown) for shown in (5, 9, None, 2, 4)] == [5, 9, 9, 11, 13]
