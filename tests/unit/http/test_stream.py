"""The stream delivers every message once and in order, whatever clients and the bus do."""

from __future__ import annotations

import asyncio
import errno
import json
import re
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs
from tests.unit.http.conftest import eventually

from billing_app.http.stream.frames import KEEP_ALIVE
from billing_app.http.stream.sinks import ClientGoneError, SocketSink
from billing_app.settings import StreamSettings, Switches
from billing_core.errors import EventBusUnavailableError, StoreUnavailableError
from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.model.epoch import Epoch
from billing_core.state.ports import Changes, Transfer
from billing_core.testing.builders import ACME, GLOBEX, message, messages
from billing_memory.clock import ManualClock
from billing_memory.stream.bus import MemoryEventBus, NullEventBus
from billing_memory.stream.history import MemoryMessageHistory

if TYPE_CHECKING:
    from tests.unit.http.conftest import Eventually, Listen, MakeWorld, RawRequest, World

pytestmark = pytest.mark.stripe

STREAM = "/api/v1/billing/stream"
SOON = timedelta(milliseconds=50)
NEVER = timedelta(minutes=5)


async def test_a_stream_opens_with_its_position(world: World, listen: Listen) -> None:
    """Before the first event a client knows its position and when to reconnect."""
    await world.commit(ACME, 3)
    async with listen(world) as stream:
        opening = await stream.event()
        assert (opening.id, opening.event, opening.data) == ("3", None, None)
        assert 3000 <= int(opening.retry or 0) <= 6000


async def test_the_response_has_headers_that_prevent_buffering(world: World, http: aiohttp.ClientSession) -> None:
    """Neither caches nor proxies hold it back."""
    async with http.get(world.url + STREAM, headers=world.bearer()) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store, no-transform"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert "Content-Encoding" not in answer.headers


async def test_messages_arrive_as_they_were_written(world: World, listen: Listen) -> None:
    """Number, type and payload, with the payload unchanged on one line."""
    async with listen(world) as stream:
        await stream.event()
        (event,) = await world.publish(ACME)
        received = await stream.event()
        assert received.id == "1"
        assert received.event == "subscription.updated"
        assert received.data == event.payload


async def test_line_breaks_of_other_scripts_do_not_end_a_field(world: World, listen: Listen) -> None:
    """JSON leaves U+2028 and U+0085 unescaped, and only CR and LF end a line of the stream."""
    payload = json.dumps({"summary": "a\u2028b\u0085c\r\ndata: forged\n\nid: 99"}, ensure_ascii=False)
    odd = message(ACME, 1, payload=payload)
    async with listen(world) as stream:
        await stream.event()
        await world.commit(ACME)
        await world.bus.append([odd])
        assert (await stream.event()).data == payload


async def test_a_client_that_reconnects_gets_missed_messages_then_new_ones(world: World, listen: Listen) -> None:
    """No gap and no duplicate between history and live, over more than one page."""
    await world.publish(ACME, 700)
    async with listen(world, last_event_id=37) as stream:
        assert (await stream.event()).id == "37"
        assert await stream.numbers(600) == list(range(38, 638))
        await world.publish(ACME, 5)
        assert await stream.numbers(68) == list(range(638, 706))


async def test_a_first_connection_starts_at_the_position_of_the_state(world: World, listen: Listen) -> None:
    """`?after=` names the state's position; the browser's Last-Event-ID, which is later, overrides it."""
    await world.publish(ACME, 9)
    async with listen(world, after=4) as stream:
        assert (await stream.event()).id == "4"
        assert await stream.numbers(5) == [5, 6, 7, 8, 9]
    async with listen(world, after=4, last_event_id=7) as stream:
        assert (await stream.event()).id == "7"
        assert await stream.numbers(2) == [8, 9]
    async with listen(world, last_event_id=0) as stream:
        assert (await stream.event()).id == "0"
        assert await stream.numbers(9) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


HOSTILE_IDS = [
    "$",
    "+",
    "-",
    "-1",
    "1-0",
    "+1",
    "1e3",
    "0x10",
    "٣",
    "²",
    "1;DROP TABLE",
    "9" * 19,
    "9" * 7000,
    "",
]


@pytest.mark.parametrize("hostile", HOSTILE_IDS)
async def test_an_invalid_id_is_refused(world: World, raw_request: RawRequest, hostile: str) -> None:
    """Anything but a position is answered 400 and reaches no database."""
    await world.publish(ACME, 3)
    head = f"GET {STREAM} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {world.token()}\r\n"
    answer = await raw_request(world, f"{head}Last-Event-ID: {hostile}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"bad_last_event_id"' in answer


@pytest.mark.parametrize("after", ["x", "-1", "", "1.5", "9" * 19])
async def test_an_invalid_start_is_refused(world: World, http: aiohttp.ClientSession, after: str) -> None:
    """The same holds for `?after=`."""
    async with http.get(world.url + STREAM, headers=world.bearer(), params={"after": after}) as answer:
        assert answer.status == 400


@pytest.mark.parametrize("way", ["last_event_id", "after"])
async def test_a_client_ahead_of_the_history_is_reset(world: World, listen: Listen, way: str) -> None:
    """It does not wait for numbers that its tenant has not reached, and receives the messages that follow."""
    await world.publish(ACME, 3)
    async with listen(world, **{way: 999}) as stream:
        assert (await stream.event()).id == "3"
        reset = await stream.event()
        assert (reset.event, reset.id, reset.data) == ("reset", "3", '{"sequence":3}')
        await world.publish(ACME, 2)
        assert await stream.numbers(2) == [4, 5]


async def test_a_history_that_was_set_back_resets_open_streams(make_world: MakeWorld, listen: Listen) -> None:
    """After a restored backup, connected clients are reset, too, and get new messages."""
    async with make_world(stream=StreamSettings(keepalive=SOON)).serving() as world:
        await world.publish(ACME, 5)
        async with listen(world) as stream:
            assert (await stream.event()).id == "5"
            world.database.tables.counters[ACME] = 2
            world.bus.clear()
            reset = await stream.event()
            assert (reset.event, reset.id) == ("reset", "2")
            await world.publish(ACME, 2)
            assert await stream.numbers(2) == [3, 4]


async def test_a_client_of_an_erased_tenant_is_told_to_reset(make_world: MakeWorld, listen: Listen) -> None:
    """Connected, or away while the tenant was erased and came back: the messages that it misses are gone."""
    async with make_world(stream=StreamSettings(keepalive=SOON)).serving() as world:
        await world.publish(ACME, 3)
        async with listen(world) as stream:
            assert (await stream.event()).id == "3"
            await world.container.service().erase(ACME, actor="grace", reason="request 7")
            await world.bus.replace(ACME, [])
            reset = await stream.event()
            assert (reset.event, reset.id) == ("reset", "4")
            await world.publish(ACME, 2)
            assert await stream.numbers(2) == [5, 6]
        async with listen(world, last_event_id=3) as away:
            assert (await away.event()).id == "6"
            assert (await away.event()).event == "reset"
        async with listen(world, last_event_id=4) as current:
            await current.event()
            assert await current.numbers(2) == [5, 6]


async def test_tenants_receive_only_their_own_messages(world: World, listen: Listen) -> None:
    """Live and from the history."""
    await world.publish(GLOBEX, 5)
    async with listen(world, ACME, last_event_id=0) as acme, listen(world, GLOBEX, last_event_id=0) as globex:
        await acme.event()
        await globex.event()
        for _ in range(20):
            await world.publish(ACME, 2)
            await world.publish(GLOBEX, 1)
        for stream, tenant_id, count in ((acme, ACME, 40), (globex, GLOBEX, 25)):
            for number in range(1, count + 1):
                received = json.loads((await stream.event()).data or "")
                assert received == {"tenant_id": tenant_id, "sequence": number}


async def test_a_hole_on_the_bus_is_filled_from_the_history(make_world: MakeWorld, listen: Listen) -> None:
    """If the bus skips numbers, the next message reveals it, and no client misses one."""
    async with make_world(stream=StreamSettings(keepalive=NEVER)).serving() as world, listen(world) as stream:
        await stream.event()
        await world.publish(ACME, 2)
        assert await stream.numbers(2) == [1, 2]
        await world.commit(ACME, 3)
        world.bus.clear()
        await world.publish(ACME, 1)
        assert await stream.numbers(4) == [3, 4, 5, 6]


async def test_a_last_message_that_the_bus_lost_is_found_in_the_repository(
    make_world: MakeWorld, listen: Listen
) -> None:
    """No later message reveals the gap; the comparison with the repository finds it."""
    async with make_world(stream=StreamSettings(keepalive=SOON)).serving() as world, listen(world) as stream:
        await stream.event()
        await world.commit(ACME, 2)
        assert await stream.numbers(2) == [1, 2]
        await world.publish(ACME, 1)
        assert await stream.numbers(1) == [3]


async def test_messages_that_come_twice_are_sent_once(world: World, listen: Listen) -> None:
    """A bus that was emptied and filled again repeats messages."""
    async with listen(world) as stream:
        await stream.event()
        events = await world.publish(ACME, 3)
        world.bus.clear()
        await world.bus.append(events)
        await world.publish(ACME, 1)
        assert await stream.numbers(4) == [1, 2, 3, 4]


class FlakyBus(MemoryEventBus):
    """A bus that can become unavailable: its followers end and calls fail until it is back."""

    def __init__(self) -> None:
        super().__init__()
        self.unavailable = asyncio.Event()
        self.follows = 0

    async def read(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        if self.unavailable.is_set():
            raise EventBusUnavailableError("read")
        return await super().read(tenant_id, after=after, limit=limit)

    async def follow(self) -> AsyncIterator[Sequence[BillingEvent]]:  # type: ignore[override]
        self.follows += 1
        if self.unavailable.is_set():
            raise EventBusUnavailableError("follow")
        inner = super().follow()
        gone = asyncio.ensure_future(self.unavailable.wait())
        while True:
            batch = asyncio.ensure_future(anext(inner))
            await asyncio.wait([batch, gone], return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                batch.cancel()
                await asyncio.gather(batch, return_exceptions=True)
                raise EventBusUnavailableError("follow")
            yield batch.result()


async def test_without_the_bus_messages_come_from_the_history(
    make_world: MakeWorld, listen: Listen, eventually: Eventually
) -> None:
    """Streams stay open while the bus is unavailable, are served with a delay, and miss nothing when it is back."""
    bus = FlakyBus()
    world = make_world(stream=StreamSettings(keepalive=SOON))
    world.bus = bus
    world.replace(bus=bus)
    with capture_logs() as lines:
        async with world.serving(), listen(world, last_event_id=0) as stream:
            await stream.event()
            await world.publish(ACME, 2)
            assert await stream.numbers(2) == [1, 2]
            bus.unavailable.set()
            await world.commit(ACME, 3)
            assert await stream.numbers(3) == [3, 4, 5]
            async with listen(world, last_event_id=1) as newcomer:
                assert (await newcomer.event()).id == "1"
                assert await newcomer.numbers(4) == [2, 3, 4, 5]
            assert world.sample("stripe_billing_stream_bus_lost_total") == 1
            bus.unavailable.clear()
            follows = bus.follows
            await eventually(lambda: bus.follows > follows)
            bus.clear()
            await world.publish(ACME, 2)
            assert await stream.numbers(2) == [6, 7]
    found = [(line["event"], line["log_level"]) for line in lines if line["event"].startswith("stream.bus")]
    assert found == [("stream.bus_unavailable", "warning"), ("stream.bus_recovered", "info")]


async def test_an_unavailable_repository_delays_messages_and_loses_none(make_world: MakeWorld, listen: Listen) -> None:
    """Catching up waits until the history can be read again."""
    world = make_world(stream=StreamSettings(keepalive=SOON))

    class FlakyHistory(MemoryMessageHistory):
        failures = 0

        async def events(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
            if self.failures:
                self.failures -= 1
                raise StoreUnavailableError
            return await super().events(tenant_id, after=after, limit=limit)

    history = FlakyHistory(world.database)
    world.replace(history=history)
    await world.commit(ACME, 4)
    async with world.serving():
        history.failures = 2
        async with listen(world, last_event_id=1) as stream:
            assert (await stream.event()).id == "1"
            assert await stream.numbers(3) == [2, 3, 4]
            assert history.failures == 0


async def test_many_clients_of_one_tenant_catch_up_with_few_reads(make_world: MakeWorld, listen: Listen) -> None:
    """After a flush all clients of a tenant miss the same messages, which are read once, not once per client."""
    world = make_world(stream=StreamSettings(keepalive=NEVER))
    reads: list[int] = []

    class CountingHistory(MemoryMessageHistory):
        async def events(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
            reads.append(after)
            await asyncio.sleep(0.01)
            return await super().events(tenant_id, after=after, limit=limit)

    world.replace(history=CountingHistory(world.database))
    await world.commit(ACME, 50)
    async with world.serving():

        async def client() -> list[int]:
            async with listen(world, last_event_id=0) as stream:
                await stream.event()
                return await stream.numbers(50)

        received = await asyncio.gather(*(client() for _ in range(40)))
    assert received == [list(range(1, 51))] * 40
    assert len(reads) < 5


async def test_clients_that_connect_while_messages_flow_miss_none(world: World, listen: Listen) -> None:
    """A client gets every number from its own start on, whenever it connects."""
    total = 300

    async def client(start: int) -> list[int]:
        async with listen(world, last_event_id=start) as stream:
            assert (await stream.event()).id == str(start)
            return await stream.numbers(total - start)

    async def publisher() -> None:
        for _ in range(total // 3):
            await world.publish(ACME, 3)
            await asyncio.sleep(0)

    clients, publishing = [], asyncio.ensure_future(publisher())
    for _ in range(30):
        start = await world.container.history().sequence(ACME)
        clients.append((start, asyncio.ensure_future(client(start))))
        await asyncio.sleep(0)
    await publishing
    for start, listening in clients:
        assert await listening == list(range(start + 1, total + 1))


async def test_a_quiet_stream_gets_comments(make_world: MakeWorld, listen: Listen) -> None:
    """They keep proxies from closing the connection, and reveal clients that have left."""
    async with make_world(stream=StreamSettings(keepalive=SOON)).serving() as world, listen(world) as stream:
        await stream.event()
        for _ in range(3):
            frame = await stream.frame()
            assert frame is not None
            assert frame.comment


async def test_a_client_that_does_not_read_is_cut_off_and_delays_no_other(
    make_world: MakeWorld, listen: Listen, eventually: Eventually
) -> None:
    """After the write timeout its connection is cut; others are served meanwhile, and memory stays bounded."""
    settings = StreamSettings(write_timeout=timedelta(seconds=2), keepalive=NEVER, buffer=4)
    async with make_world(stream=settings).serving() as world, listen(world) as reading:
        await reading.event()
        _, stuck = await asyncio.open_connection("127.0.0.1", world.port, limit=1)
        with closing(stuck):
            stuck.write(f"GET {STREAM} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {world.token()}\r\n\r\n".encode())
            await eventually(lambda: world.sample("stripe_billing_stream_connections") == 2)
            number = 0
            while world.sample("stripe_billing_stream_connections") == 2:
                number += 1
                await asyncio.sleep(0.02)  # hundreds of megabytes would be published by the time of the cut
                await world.commit(ACME)
                await world.bus.append([message(ACME, number, payload=json.dumps("x" * 500_000))])
                assert (await reading.event()).id == str(number)


class Lost(web.StreamResponse):
    """A response whose connection is cut while a write waits: at once, or only at its deadline."""

    def __init__(self, cause: OSError | None) -> None:
        super().__init__()
        self._cause = cause

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._cause is None:
            await asyncio.Event().wait()
        raise ConnectionError("Connection lost") from self._cause


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        pytest.param(None, "stalled", id="our-deadline"),
        pytest.param(TimeoutError(errno.ETIMEDOUT, "timed out"), "stalled", id="the-kernels"),
        pytest.param(BrokenPipeError(), "client_left", id="closed"),
    ],
)
async def test_a_connection_that_is_cut_for_silence_counts_as_stalled(cause: OSError | None, reason: str) -> None:
    """By whichever deadline: the kernel's starts when the client's window is full, before a write has to wait."""
    sink = SocketSink(make_mocked_request("GET", STREAM), Lost(cause), write_timeout=SOON if cause is None else NEVER)
    with pytest.raises(ClientGoneError) as caught:
        await sink.write([KEEP_ALIVE])
    assert caught.value.reason == reason


@pytest.mark.parametrize("cancellation", [True, False])
async def test_a_client_that_vanished_frees_its_slot(
    make_world: MakeWorld, listen: Listen, eventually: Eventually, cancellation: bool
) -> None:
    """At once if the server is notified, and with the next keep-alive in any case."""
    keepalive = NEVER if cancellation else SOON
    async with make_world(stream=StreamSettings(keepalive=keepalive)).serving(
        handler_cancellation=cancellation
    ) as world:
        async with listen(world) as stream:
            await stream.event()
            assert world.sample("stripe_billing_stream_connections") == 1
        await eventually(lambda: world.sample("stripe_billing_stream_connections") == 0)
        assert world.sample("stripe_billing_stream_ended_total", reason="client_left") == 1


async def test_one_client_too_many_is_refused_until_a_slot_is_free(
    make_world: MakeWorld, listen: Listen, http: aiohttp.ClientSession, eventually: Eventually
) -> None:
    """503 with a Retry-After; connected clients are not affected."""
    async with make_world(stream=StreamSettings(max_connections=2)).serving() as world, listen(world) as first:
        await first.event()
        async with listen(world, GLOBEX) as second:
            await second.event()
            async with http.get(world.url + STREAM, headers=world.bearer()) as refused:
                assert refused.status == 503
                assert int(refused.headers["Retry-After"]) > 0
                assert (await refused.json())["error"]["code"] == "too_many_streams"
        await eventually(lambda: world.sample("stripe_billing_stream_connections") == 1)
        async with listen(world) as third:
            await third.event()
            await world.publish(ACME)
            assert await first.numbers(1) == await third.numbers(1) == [1]


async def test_a_stream_ends_with_its_token(make_world: MakeWorld, listen: Listen) -> None:
    """An expired token does not keep a stream open."""
    world, issued = make_world(), datetime.now(UTC)
    world.replace(clock=ManualClock(issued + timedelta(seconds=3599.9)))
    async with world.serving(), listen(world, now=issued, ttl=timedelta(hours=1)) as stream:
        await stream.event()
        last = await stream.event()
        assert (last.event, last.data) == ("reconnect", '{"reason":"token_expired"}')
        assert await stream.frame() is None


async def test_a_stream_has_a_maximum_lifetime(make_world: MakeWorld, listen: Listen) -> None:
    """Clients then reconnect, so that servers can be replaced and load is spread."""
    async with (
        make_world(stream=StreamSettings(max_life=timedelta(seconds=0.2))).serving() as world,
        listen(world) as stream,
    ):
        await stream.event()
        last = await stream.event()
        assert (last.event, last.data) == ("reconnect", '{"reason":"max_life"}')
        assert 3000 <= int(last.retry or 0) <= 6000
        assert await stream.frame() is None


async def test_a_server_that_stops_ends_every_stream_with_reconnect(make_world: MakeWorld, listen: Listen) -> None:
    """All streams end at once, but each gets a pause of its own: their clients do not come back in lockstep."""
    pauses = set()
    settings = StreamSettings(keepalive=NEVER, retry=timedelta(minutes=5))
    async with make_world(stream=settings).serving(shutdown_timeout=60) as world:
        streams = [listen(world), listen(world, GLOBEX)]
        opened = [await stream.__aenter__() for stream in streams]
        for stream in opened:
            await stream.event()
    for stream in opened:
        last = await stream.event()
        assert (last.event, last.data) == ("reconnect", '{"reason":"shutdown"}')
        pauses.add(int(last.retry or 0))
        assert await stream.frame() is None
    assert len(pauses) == len(streams)
    assert all(300_000 <= pause <= 600_000 for pause in pauses)
    for manager in streams:
        await manager.__aexit__(None, None, None)


async def test_a_proxy_that_speaks_http_1_0_is_served(world: World, eventually: Eventually) -> None:
    """nginx does so by default; the frames are then not chunked."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    with closing(writer):
        writer.write(f"GET {STREAM} HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {world.token()}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"chunked" not in head.lower()
        assert re.fullmatch(rb"retry: [3-6]\d{3}\nid: 0\n\n", await reader.readuntil(b"\n\n"))
        (event,) = await world.publish(ACME)
        expected = f"id: 1\nevent: subscription.updated\ndata: {event.payload}\n\n"
        assert await reader.readuntil(b"\n\n") == expected.encode()


async def test_a_head_request_opens_no_stream(world: World, http: aiohttp.ClientSession) -> None:
    """405 instead of a stream that is never read."""
    async with http.head(world.url + STREAM, headers=world.bearer()) as answer:
        assert answer.status == 405


async def test_a_disabled_stream_answers_why(make_world: MakeWorld, http: aiohttp.ClientSession) -> None:
    """404 with the setting's name; the read API still works."""
    async with make_world(switches=Switches(billing=True, stream=False)).serving() as world:
        async with http.get(world.url + STREAM, headers=world.bearer()) as answer:
            assert answer.status == 404
            assert "ENABLE_BILLING_STREAM" in (await answer.json())["error"]["message"]
        async with http.get(world.url + "/api/v1/billing/tenants/acme/events", headers=world.bearer()) as answer:
            assert answer.status == 200


async def test_delivered_messages_are_counted_by_source(
    make_world: MakeWorld, listen: Listen, eventually: Eventually
) -> None:
    """An operator sees whether messages come from the bus, its log or the database."""
    async with make_world(stream=StreamSettings(keepalive=NEVER)).serving() as world:
        delivered = "stripe_billing_stream_events_total"
        await world.commit(ACME, 2)
        await world.bus.append(messages(ACME, 2, 2))
        async with listen(world, last_event_id=0) as stream:
            await stream.event()
            await stream.numbers(2)
            await world.publish(ACME, 1)
            await stream.numbers(1)
        assert world.sample(delivered, source="history", result="delivered") == 2
        assert world.sample(delivered, source="live", result="delivered") == 1
        assert world.sample("billing_published_to_delivered_seconds_count") == 1
        async with listen(world, last_event_id=1) as stream:
            await stream.event()
            await stream.numbers(2)
        assert world.sample(delivered, source="log", result="delivered") == 2


class TestTypes:
    """`?types=` filters by event type and keeps the numbers of the whole stream."""

    async def test_only_wanted_types_arrive(self, world: World, listen: Listen) -> None:
        """For the others only the id is sent, live and from the history, so that resuming skips nothing."""
        kinds = ["invoice.paid", "subscription.updated", "invoice.voided", "subscription.canceled"]
        stored = [message(ACME, number, event_type=kind) for number, kind in enumerate(kinds, start=1)]
        async with world.repository.transaction() as transaction:
            await transaction.lock_tenants([ACME])
            await transaction.save(Changes(events=stored))
        async with listen(world, types="invoice.*", after=0) as stream:
            frames = [await stream.event() for _ in range(5)]
        seen = [(frame.id, frame.event) for frame in frames]
        assert seen == [("0", None), ("1", "invoice.paid"), ("2", None), ("3", "invoice.voided"), ("4", None)]

    async def test_live_messages_are_filtered_too(self, world: World, listen: Listen) -> None:
        """A client without a filter gets all of them from the same frames."""
        async with listen(world, types="invoice.paid,subscription.canceled") as filtered, listen(world) as unfiltered:
            await filtered.event()
            await unfiltered.event()
            await world.publish(ACME)
            skipped, whole = await filtered.event(), await unfiltered.event()
            assert (skipped.id, skipped.event, skipped.data) == ("1", None, None)
            assert (whole.id, whole.event) == ("1", "subscription.updated")

    @pytest.mark.parametrize("types", ["", "invoice.pad", "invoice.*,nothing.*", "[i]*", "*,", "*\r\nid: 9", "i" * 99])
    async def test_names_that_match_no_type_are_refused(
        self, world: World, http: aiohttp.ClientSession, types: str
    ) -> None:
        """With the known types: a typo must not look like a quiet stream."""
        async with http.get(world.url + STREAM, params={"types": types}, headers=world.bearer()) as answer:
            assert answer.status == 400
            assert "invoice.paid" in (await answer.json())["error"]["message"]


async def test_without_a_bus_messages_come_from_the_repository(make_world: MakeWorld, listen: Listen) -> None:
    """With a delay of seconds, in order and without a gap, also while a client is connected."""
    world = make_world(stream=StreamSettings(keepalive=SOON))
    world.replace(bus=NullEventBus())
    async with world.serving():
        await world.commit(ACME, 2)
        async with listen(world, after=0) as stream:
            frames = [await stream.event() for _ in range(3)]
            await world.commit(ACME, 1)
            frames.append(await stream.event())
    assert [frame.id for frame in frames] == ["0", "1", "2", "3"]


SECOND = Epoch(number=2, token="k3f9x2ab")


async def test_in_a_later_epoch_a_position_names_it(make_world: MakeWorld, listen: Listen) -> None:
    """In every frame with a position, with or without a message; a client resumes from it."""
    world = make_world()
    world.replace(epoch=SECOND)
    async with world.serving():
        await world.publish(ACME, 3)
        async with listen(world, last_event_id="1-k3f9x2ab", types="invoice.*") as stream:
            assert (await stream.event()).id == "1-k3f9x2ab"
            assert (await stream.event()).id == "3-k3f9x2ab"
        async with listen(world, after="1-k3f9x2ab") as stream:
            await stream.event()
            assert [(await stream.event()).id for _ in range(2)] == ["2-k3f9x2ab", "3-k3f9x2ab"]


@pytest.mark.parametrize("position", ["2", "2-otherone", "900"])
async def test_a_position_of_another_history_is_answered_with_a_reset(
    make_world: MakeWorld, listen: Listen, position: str
) -> None:
    """A message with the same number exists here, but it is not the one that the client has seen."""
    world = make_world()
    world.replace(epoch=SECOND)
    async with world.serving():
        await world.publish(ACME, 3)
        for number, how in enumerate(("last_event_id", "after"), start=3):
            async with listen(world, **{how: position}) as stream:
                assert (await stream.event()).id == f"{number}-k3f9x2ab"
                reset = await stream.event()
                assert (reset.id, reset.event) == (f"{number}-k3f9x2ab", "reset")
                assert reset.data == f'{{"sequence":{number}}}'
                await world.publish(ACME)
                assert (await stream.event()).id == f"{number + 1}-k3f9x2ab"


async def test_the_first_epoch_resets_positions_of_another(world: World, listen: Listen) -> None:
    """A position that names an epoch belongs to a history that was undone."""
    await world.publish(ACME, 3)
    async with listen(world, last_event_id="2-k3f9x2ab") as stream:
        assert (await stream.event()).id == "3"
        assert (await stream.event()).event == "reset"


async def test_an_invalid_position_is_refused(world: World, http: aiohttp.ClientSession) -> None:
    """In the query as well as in the header."""
    for position in ("x", "-1", "1-", "1-0", "1 OR 1=1", "9" * 19):
        async with http.get(world.url + STREAM, params={"after": position}, headers=world.bearer()) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (400, "bad_parameter")


async def withdraw(world: World, *numbers: int, tell: bool = False) -> list[BillingEvent]:
    """Withdraw messages, as a move does; they stay on the bus. The message that tells the tenant comes behind them."""
    withdrawn = [message(ACME, each, event_type="withdrawn", event_id=None, payload="{}") for each in numbers]
    last = await world.container.history().sequence(ACME)
    news = [message(ACME, last + 1, event_type="customer.unlinked")] if tell else []
    async with world.repository.transaction() as transaction:
        await transaction.lock_tenants([ACME, GLOBEX])
        await transaction.transfer(Transfer(from_tenant=ACME, to_tenant=GLOBEX, withdrawn=withdrawn))
        await transaction.save(Changes(events=news))
    return news


async def test_a_withdrawn_message_is_not_read_from_the_bus(world: World, listen: Listen) -> None:
    """Its log is passed over until it was replaced: clients that connect after the move get the history's version."""
    events = await world.publish(ACME, 4)
    await world.container.outbox().published(events)
    async with listen(world, last_event_id=4) as follower:
        await follower.event()
        await eventually(lambda: world.container.hub()._reader.bus_available)
        await withdraw(world, 2, 3)
        for replaced in (False, True):
            if replaced:
                rewriter = world.container.log_rewriter()
                assert (await rewriter.run_once()).replaced == 1
            async with listen(world, last_event_id=0) as stream:
                await stream.event()
                received = [await stream.event() for _ in range(4)]
            assert [each.event for each in received] == [
                "subscription.updated",
                "withdrawn",
                "withdrawn",
                "subscription.updated",
            ]
            assert [each.data for each in received][1:3] == ["{}", "{}"]
        assert [each.event_type for each in await world.bus.read(ACME, after=1, limit=2)] == ["withdrawn"] * 2


@pytest.mark.parametrize("tell", [True, False])
async def test_a_withdrawn_message_is_not_kept_in_memory(world: World, listen: Listen, tell: bool) -> None:
    """A client that lags keeps frames in memory for all. All are forgotten, also if nothing tells of the move."""
    hub = world.container.hub()
    await world.container.outbox().published(await world.publish(ACME, 1))
    async with listen(world, last_event_id=1) as follower:
        await follower.event()
        await eventually(lambda: hub._reader.bus_available)
        channel = hub._channels[ACME]
        (client,) = channel.clients.values()
        client.offer = lambda frame: False  # it lags from now on, so frames are kept
        await world.container.outbox().published(await world.publish(ACME, 3))
        await eventually(lambda: len(channel._recent) == 3)
        news = await withdraw(world, 2, 3, tell=tell)
        await world.bus.append(news)
        async with listen(world, last_event_id=1) as stream:
            await stream.event()
            assert [(await stream.event()).event for _ in range(2)] == ["withdrawn", "withdrawn"]


async def test_a_page_that_was_read_before_a_move_is_not_shared_after_it(make_world: MakeWorld, listen: Listen) -> None:
    """Its reader had connected before; later clients read again."""
    world = make_world(stream=StreamSettings(keepalive=NEVER))
    reading, moved = asyncio.Event(), asyncio.Event()

    class SlowHistory(MemoryMessageHistory):
        async def events(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
            found = await super().events(tenant_id, after=after, limit=limit)
            reading.set()
            await moved.wait()
            return found

    world.replace(history=SlowHistory(world.database))
    await world.commit(ACME, 3)
    async with world.serving(), listen(world, last_event_id=0) as early:
        await reading.wait()
        await withdraw(world, 1, 2)
        async with listen(world, last_event_id=0) as late:
            await late.event()
            moved.set()
            assert [(await late.event()).event for _ in range(3)] == ["withdrawn", "withdrawn", "subscription.updated"]
            await early.event()
            assert await early.numbers(3) == [1, 2, 3]


async def test_an_answer_that_is_late_does_not_trust_a_log_again(world: World) -> None:
    """The comparison with the history was asked before the move, and answered after it."""
    reader = world.container.hub()._reader
    asked, answer = asyncio.Event(), asyncio.Event()
    history = world.container.history()

    class LateHistory(MemoryMessageHistory):
        async def outdated_logs(self, tenant_ids: Collection[TenantId]) -> Sequence[TenantId]:
            asked.set()
            await answer.wait()
            return []

    reader._history = LateHistory(world.database)
    comparing = asyncio.create_task(reader.last_numbers([ACME]))
    await asked.wait()
    reader._history = history
    await world.commit(ACME, 2)
    await withdraw(world, 1)
    await reader.last_number(ACME)
    answer.set()
    await comparing
    assert reader.passes_over_log(ACME)
    world.database.rewrites.clear()
    await reader.last_number(ACME)
    assert not reader.passes_over_log(ACME)
