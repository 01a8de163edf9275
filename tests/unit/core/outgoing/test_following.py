"""Receivers that are added, changed and removed while a worker runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.unit.core.conftest import until
from tests.unit.core.outgoing.conftest import CRM, SOON, URL, Rig, answer

from billing_core.consumers.values import Consumer, ConsumerMessage, ConsumerName
from billing_core.outgoing.delivering import WebhookPolicy
from billing_core.testing.builders import ACME, GLOBEX
from billing_core.testing.consumers.arrange import number_up_to
from billing_memory.clock import SystemClock
from billing_memory.state.repository import MemoryRepository

ADD: dict[str, Any] = {"url": URL, "changes": {}, "actor": "ada", "reason": None}


@asynccontextmanager
async def working(rig: Rig) -> AsyncIterator[None]:
    """Run what a worker runs."""
    tasks = [asyncio.create_task(rig.runner.run()), asyncio.create_task(rig.follower.run())]
    try:
        yield
    finally:
        rig.runner.stop()
        rig.follower.stop()
        await asyncio.gather(*tasks)


def a_rig() -> Rig:
    """Return a process in real time, with pauses that a test can wait for."""
    return Rig(SystemClock(), WebhookPolicy(shortest_pause=SOON, longest_pause=SOON))


def numbers(rig: Rig) -> list[str]:
    """Return tenant and number of each attempt."""
    return [each.message_id.partition(":")[2] for each in rig.sender.received[URL]]


async def test_a_receiver_that_is_added_gets_messages_in_order() -> None:
    """Without a restart, from the moment of the command, each tenant's messages in order."""
    rig = a_rig()
    unit_of_work = MemoryRepository(rig.database, rig.clock)
    await number_up_to(unit_of_work, 2)
    async with working(rig):
        await rig.administration.add(CRM, **ADD)
        await number_up_to(unit_of_work, 5, first=3)
        await number_up_to(unit_of_work, 2, GLOBEX)
        await until(lambda: len(rig.sender.received[URL]) == 5)
    ids = numbers(rig)
    assert [each for each in ids if ACME in each] == ["acme:3", "acme:4", "acme:5"]
    assert [each for each in ids if GLOBEX in each] == ["globex:1", "globex:2"]


async def test_an_outage_holds_messages_back_and_loses_none() -> None:
    """When the receiver is back, every message arrives in order, and none has used up its attempts."""
    rig = a_rig()
    unit_of_work = MemoryRepository(rig.database, rig.clock)
    rig.sender.answers[URL] = answer(500)
    async with working(rig):
        await rig.administration.add(CRM, **ADD)
        await number_up_to(unit_of_work, 3)
        await until(lambda: len(rig.reports) >= 20)
        failed = len(rig.sender.received[URL])
        assert set(numbers(rig)) == {"acme:1"}
        rig.sender.answers.clear()
        await until(lambda: sum(each.delivery.delivered for each in rig.reports) == 3)
    assert numbers(rig)[-3:] == ["acme:1", "acme:2", "acme:3"]
    assert failed >= 20


async def test_a_receiver_that_moves_is_reached_at_its_new_address() -> None:
    """The consumer goes on from its position."""
    rig = a_rig()
    unit_of_work = MemoryRepository(rig.database, rig.clock)
    async with working(rig):
        await rig.administration.add(CRM, **ADD)
        await number_up_to(unit_of_work, 1)
        await until(lambda: len(rig.sender.received[URL]) == 1)
        await rig.administration.add(CRM, **{**ADD, "url": "https://new.example.com/"})
        await until(lambda: rig.deliverer._known[CRM].url == "https://new.example.com/")
        await number_up_to(unit_of_work, 2, first=2)
        await until(lambda: len(rig.sender.received["https://new.example.com/"]) == 1)
    assert len(rig.sender.received[URL]) == 1


async def test_only_changes_are_reported(rig: Rig) -> None:
    """Begun, changed and removed receivers; a consumer without a receiver belongs to code."""
    await rig.register.register(Consumer(name="mails"))
    assert (await rig.follower.run_once()).begun == ()
    await rig.administration.add(CRM, **ADD)
    assert (await rig.follower.run_once()).begun == (CRM,)
    assert (await rig.follower.run_once()).begun == ()
    await rig.administration.add(CRM, **{**ADD, "changes": {"event_types": ("invoice.*",)}})
    changed = await rig.follower.run_once()
    assert (changed.begun, changed.ended) == ((CRM,), ())
    await rig.administration.remove(CRM, actor="ada", reason=None)
    removed = await rig.follower.run_once()
    assert (removed.begun, removed.ended) == ((), (CRM,))


async def test_a_consumer_that_is_removed_meanwhile_is_not_brought_back(rig: Rig) -> None:
    """The worker has read the receivers a moment before: it hands over messages, and registers nothing."""
    await rig.administration.add(CRM, **ADD)
    await rig.follower.run_once()
    await rig.administration.remove(CRM, actor="ada", reason=None)
    await rig.runner.register()
    assert await rig.register.registered() == []


async def test_a_receiver_with_the_name_of_a_handler_in_code_stops_nothing() -> None:
    """The code gets the messages, the other receivers get theirs, and it is reported once."""
    rig, received = a_rig(), list[int]()
    unit_of_work = MemoryRepository(rig.database, rig.clock)

    async def handler(message: ConsumerMessage) -> None:
        received.append(message.sequence)

    await rig.administration.add(CRM, **ADD)
    rig.runner.subscribe(Consumer(name=CRM), handler)
    async with working(rig):
        await rig.administration.add(ConsumerName("erp"), **{**ADD, "url": "https://erp.example.com/"})
        await until(lambda: any("erp" in each.begun for each in rig.followed))
        await number_up_to(unit_of_work, 2)
        await until(lambda: len(received) == 2 and len(rig.sender.received["https://erp.example.com/"]) == 2)
        await until(lambda: len(rig.followed) >= 5)
    assert URL not in rig.sender.received
    assert [each.refused for each in rig.followed if each.refused] == [(CRM,)]


async def test_a_receiver_begins_once_its_name_is_free(rig: Rig) -> None:
    """Without a restart, from the next look at the receivers."""

    async def handler(message: ConsumerMessage) -> None: ...

    await rig.administration.add(CRM, **ADD)
    rig.runner.subscribe(Consumer(name=CRM), handler)
    refused = await rig.follower.run_once()
    assert (refused.begun, refused.refused) == ((), (CRM,))
    rig.runner.unsubscribe(CRM)
    begun = await rig.follower.run_once()
    assert (begun.begun, begun.refused) == ((CRM,), ())
