"""A tenant's messages for code in the same process, and as server-sent events."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import attrs
import pytest
from tests.unit.host.conftest import PLANS, signed, subscription_event

from billing_app import (
    SSE_HEADERS,
    BadPositionError,
    Billing,
    Settings,
    StreamResetError,
    TooManyStreamsError,
    open_billing,
)
from billing_app.settings import Switches
from billing_core.errors import ConfigurationError
from billing_core.payloads import loads


async def arrive(billing: Billing, *numbers: int, tenant_id: str = "acme") -> None:
    """Receive and process events about a tenant; each makes one message."""
    for number in numbers:
        await billing.receive(*signed(subscription_event(number, tenant_id=tenant_id)))
        assert await billing.process_due() == 1


async def test_messages_come_once_and_in_order(billing: Billing) -> None:
    """First those that are stored, then new ones; others' are not among them."""
    await arrive(billing, 1, 2)
    await arrive(billing, 1, tenant_id="globex")
    async with aclosing(billing.stream("acme", after="0")) as messages:
        assert [(await anext(messages)).sequence for _ in range(2)] == [1, 2]
        await arrive(billing, 3)
        third = await anext(messages)
    assert (third.tenant_id, third.sequence, third.subscription and third.subscription.seat_count) == ("acme", 3, 3)
    async with aclosing(billing.stream("acme", after=billing.position(third))) as messages:
        await arrive(billing, 4)
        assert (await anext(messages)).sequence == 4


async def test_a_stream_continues_from_the_state(billing: Billing) -> None:
    """With nothing missed in between, and nothing twice."""
    await arrive(billing, 1)
    state = await billing.state("acme")
    await arrive(billing, 2)
    messages = billing.stream("acme", after=state.position)
    assert (await anext(messages)).sequence == 2


async def test_without_a_position_a_stream_starts_with_the_next_message(billing: Billing) -> None:
    """The stored ones are left out."""
    await arrive(billing, 1)
    messages = billing.stream("acme")
    first = asyncio.ensure_future(anext(messages))
    await asyncio.sleep(0.05)
    await arrive(billing, 2)
    assert (await first).sequence == 2


async def test_a_slow_reader_misses_nothing(billing: Billing) -> None:
    """It gets more messages than wait in memory, from the log or the repository."""
    async with aclosing(billing.stream("acme", after="0")) as messages:
        await arrive(billing, 1)
        assert (await anext(messages)).sequence == 1
        for number in range(2, 232):
            await billing.receive(*signed(subscription_event(number)))
        await billing.process_due()
        last = (await billing.state("acme")).sequence
        assert [(await anext(messages)).sequence for _ in range(last - 1)] == list(range(2, last + 1))


@pytest.mark.parametrize("position", ["5", "1-other"])
async def test_a_position_that_does_not_exist_asks_for_the_state(billing: Billing, position: str) -> None:
    """One that is ahead, and one of another history: the error has the position to continue from."""
    await arrive(billing, 1)
    with pytest.raises(StreamResetError) as caught:
        await anext(billing.stream("acme", after=position))
    assert caught.value.position == "1"


async def test_a_text_that_is_no_position_is_refused_at_once(billing: Billing) -> None:
    """Before a response could begin."""
    for ask in (
        lambda: billing.stream("acme", after="one"),
        lambda: billing.server_sent_events("acme", last_event_id="one"),
    ):
        with pytest.raises(BadPositionError):
            ask()


async def test_a_stream_ends_when_billing_closes() -> None:
    """Its reader leaves its loop."""
    billing = open_billing(Settings.for_tests(PLANS))

    async def read() -> list[int]:
        return [message.sequence async for message in billing.stream("acme", after="0")]

    async with billing:
        await arrive(billing, 1)
        reading = asyncio.create_task(read())
        await asyncio.sleep(0.05)
    assert await reading == [1]


async def test_streams_have_a_limit() -> None:
    """Per process, as the server has; one that was closed counts no more."""
    async with open_billing(Settings.for_tests({"BILLING_STREAM_MAX_CONNECTIONS": "1"})) as billing:
        await arrive(billing, 1)
        async with aclosing(billing.stream("acme", after="0")) as messages:
            await anext(messages)
            with pytest.raises(TooManyStreamsError):
                await anext(billing.stream("acme", after="0"))
            with pytest.raises(TooManyStreamsError):
                billing.server_sent_events("acme")
        async with aclosing(billing.stream("acme", after="0")) as messages:
            assert (await anext(messages)).sequence == 1


async def test_a_disabled_stream_says_so() -> None:
    """By the name of the setting."""
    settings = attrs.evolve(Settings.for_tests(), switches=Switches(billing=True, stream=False))
    async with open_billing(settings) as billing:
        with pytest.raises(ConfigurationError, match="ENABLE_BILLING_STREAM"):
            billing.stream("acme")


async def test_server_sent_events_are_those_of_our_route(billing: Billing) -> None:
    """An opening with the id to resume from, a frame per message, and headers that keep proxies from holding it."""
    await arrive(billing, 1)
    async with aclosing(billing.server_sent_events("acme", last_event_id="0")) as frames:
        opening = (await anext(frames)).decode()
        frame = (await anext(frames)).decode()
    assert opening.startswith("retry: ")
    assert opening.endswith("\nid: 0\n\n")
    names = [line.partition(": ")[0] for line in frame.splitlines()]
    assert names == ["id", "event", "data", ""]
    assert loads(frame.splitlines()[2].removeprefix("data: ")).sequence == 1
    assert SSE_HEADERS["Content-Type"].startswith("text/event-stream")
    assert SSE_HEADERS["X-Accel-Buffering"] == "no"


async def test_a_client_with_a_foreign_position_gets_a_reset(billing: Billing) -> None:
    """In the stream itself, as browsers expect it."""
    await arrive(billing, 1)
    async with aclosing(billing.server_sent_events("acme", last_event_id="7")) as frames:
        assert (await anext(frames)).decode().endswith("\nid: 1\n\n")
        assert (await anext(frames)).decode() == 'id: 1\nevent: reset\ndata: {"sequence":1}\n\n'


async def test_an_old_stream_asks_its_client_to_reconnect() -> None:
    """So that the application decides again whether the client may read."""
    settings = Settings.for_tests({"BILLING_STREAM_MAX_LIFE_SECONDS": "0.1"})
    async with open_billing(settings) as billing:
        frames = [frame async for frame in billing.server_sent_events("acme")]
        assert frames[-1].endswith(b'event: reconnect\ndata: {"reason":"max_life"}\n\n')
        assert b"stripe_billing_stream_connections" in billing.metrics()[0]
