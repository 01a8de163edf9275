"""A span says that a message was sent to the clients of a process, where messages are traced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.trace import SpanKind
from tests.unit.traces import Traces, context, parent_of

from billing_core.testing.builders import ACME, GLOBEX, message

if TYPE_CHECKING:
    from tests.unit.http.conftest import Listen, Listener, MakeWorld, World


@pytest.fixture
def traces() -> Traces:
    return Traces()


async def keeping_up(world: World, *streams: Listener) -> int:
    """Publish messages without a context until each stream got one as it came; return how many these are."""
    for stream in streams:
        await stream.event()
    published = 0
    while True:
        before = live(world)
        await world.publish(ACME)
        published += 1
        for stream in streams:
            await stream.event()
        if live(world) == before + len(streams):
            return published


def live(world: World) -> float:
    """Return how many messages clients got as they came."""
    return world.sample("stripe_billing_stream_events_total", source="live", result="delivered")


async def test_a_message_that_is_sent_to_clients_is_one_span_of_its_publishing(
    traces: Traces, make_world: MakeWorld, listen: Listen
) -> None:
    """One for all clients of the tenant in this process, with their number; what they get has no context."""
    world = make_world()
    world.replace(tracing=traces.tracing)
    async with world.serving(), listen(world) as first, listen(world) as second:
        last = await keeping_up(world, first, second)
        await world.bus.append(await world.commit(ACME), trace_context=context(7))
        received = [await each.event() for each in (first, second)]
        assert received[0] == received[1]
        assert received[0].data == message(ACME, last + 1).payload
    span = traces["deliver billing_events"]
    assert (span.kind, parent_of(span)) == (SpanKind.CONSUMER, f"{7:032x}-{7:016x}")
    assert span.attributes == {
        "messaging.system": "redis",
        "messaging.operation.type": "process",
        "messaging.operation.name": "deliver",
        "messaging.destination.name": "billing_events",
        "billing.event.type": "subscription.updated",
        "billing.stream.clients": 2,
        "billing.stream.clients_behind": 0,
    }


async def test_a_message_without_clients_or_without_a_context_has_no_span(
    traces: Traces, make_world: MakeWorld, listen: Listen
) -> None:
    """Most processes serve no client of a message's tenant; a publisher that does not trace sends no context."""
    world = make_world()
    world.replace(tracing=traces.tracing)
    async with world.serving(), listen(world) as stream:
        await world.bus.append([message(GLOBEX, 1)], trace_context=context(7))
        await keeping_up(world, stream)
    assert traces.exporter.get_finished_spans() == ()


async def test_a_server_that_does_not_trace_ignores_the_context(make_world: MakeWorld, listen: Listen) -> None:
    """Servers and workers of one deployment may differ."""
    world = make_world()
    async with world.serving(), listen(world) as stream:
        last = await keeping_up(world, stream)
        await world.bus.append(await world.commit(ACME), trace_context=context(7))
        assert (await stream.event()).data == message(ACME, last + 1).payload
