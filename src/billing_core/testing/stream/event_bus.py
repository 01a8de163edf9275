"""The contract of EventBus."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from billing_core.events import BillingEvent
from billing_core.stream.ports import EventBus
from billing_core.testing.builders import ACME, AT, GLOBEX, message, messages
from billing_core.testing.suite import Suite


class EventBusContract(Suite):
    """Numbers without gaps, repeated calls without effect, followers that miss nothing once they listen.

    A binding provides `event_bus`, empty.
    """

    async def test_messages_are_read_back_as_they_were_appended(self, event_bus: EventBus) -> None:
        """Every field survives, the payload character by character."""
        payload = '{"summary":"Zoë’s \\"plan\\" \\u2028 \u2028 💶 日本","nested":{"a":[1,2.50]}}'
        sent = message(ACME, 1, payload=payload, occurred_at=AT + timedelta(microseconds=123_456))
        assert await event_bus.append([sent]) == {ACME: 1}
        assert list(await event_bus.read(ACME, after=0, limit=10)) == [sent]

    async def test_a_message_without_an_event_stays_one(self, event_bus: EventBus) -> None:
        """The clock may have caused it."""
        sent = [message(ACME, 1, event_id=None)]
        await event_bus.append(sent)
        assert list(await event_bus.read(ACME, after=0, limit=10)) == sent

    async def test_an_append_of_nothing_is_harmless(self, event_bus: EventBus) -> None:
        """A publisher need not check whether it has messages."""
        assert await event_bus.append([]) == {}

    async def test_reading_starts_above_the_given_number_and_stops_at_the_limit(self, event_bus: EventBus) -> None:
        """Lowest first, strictly above, never more than the limit."""
        await event_bus.append(messages(ACME, 1, 12))
        assert list(await event_bus.read(ACME, after=8, limit=3)) == messages(ACME, 9, 11)
        assert list(await event_bus.read(ACME, after=11, limit=3)) == messages(ACME, 12, 12)
        assert list(await event_bus.read(ACME, after=12, limit=3)) == []
        assert list(await event_bus.read(ACME, after=10**15, limit=3)) == []

    async def test_an_unknown_tenant_has_an_empty_log(self, event_bus: EventBus) -> None:
        """Reading creates nothing and finds nothing."""
        await event_bus.append(messages(ACME, 1, 2))
        assert list(await event_bus.read(GLOBEX, after=0, limit=10)) == []

    async def test_appending_again_changes_nothing(self, event_bus: EventBus) -> None:
        """A publisher that does not know whether its call arrived may repeat it."""
        await event_bus.append(messages(ACME, 1, 3))
        assert await event_bus.append(messages(ACME, 1, 3)) == {ACME: 3}
        assert await event_bus.append(messages(ACME, 2, 5)) == {ACME: 5}
        assert list(await event_bus.read(ACME, after=0, limit=10)) == messages(ACME, 1, 5)

    async def test_a_log_is_replaced_as_a_whole(self, event_bus: EventBus) -> None:
        """Other tenants keep theirs. Messages that are appended late are in it already, later ones continue it."""
        await event_bus.append([*messages(ACME, 1, 6), *messages(GLOBEX, 1, 2)])
        instead = [message(ACME, number, event_type="withdrawn", event_id=None) for number in (4, 5, 6)]
        for _ in range(2):
            await event_bus.replace(ACME, instead)
        assert list(await event_bus.read(ACME, after=0, limit=10)) == instead
        assert list(await event_bus.read(GLOBEX, after=0, limit=10)) == messages(GLOBEX, 1, 2)
        assert await event_bus.append(messages(ACME, 1, 5)) == {ACME: 6}
        assert await event_bus.append(messages(ACME, 7, 7)) == {ACME: 7}
        assert list(await event_bus.read(ACME, after=0, limit=10)) == [*instead, message(ACME, 7)]

    async def test_a_log_can_be_replaced_by_nothing(self, event_bus: EventBus) -> None:
        """It then accepts any first number."""
        await event_bus.append(messages(ACME, 1, 6))
        await event_bus.replace(ACME, [])
        assert list(await event_bus.read(ACME, after=0, limit=10)) == []
        assert await event_bus.append(messages(ACME, 9, 9)) == {ACME: 9}

    async def test_a_message_that_would_leave_a_hole_is_not_taken(self, event_bus: EventBus) -> None:
        """The answer says where the log ends; sending the missing messages closes the hole."""
        await event_bus.append(messages(ACME, 1, 2))
        assert await event_bus.append(messages(ACME, 4, 6)) == {ACME: 2}
        assert list(await event_bus.read(ACME, after=0, limit=10)) == messages(ACME, 1, 2)
        assert await event_bus.append(messages(ACME, 3, 6)) == {ACME: 6}
        assert list(await event_bus.read(ACME, after=2, limit=10)) == messages(ACME, 3, 6)

    async def test_a_hole_inside_one_call_stops_it_there(self, event_bus: EventBus) -> None:
        """Messages before the hole are taken, those behind it are not."""
        sent = [*messages(ACME, 1, 2), *messages(ACME, 4, 5)]
        assert await event_bus.append(sent) == {ACME: 2}
        assert list(await event_bus.read(ACME, after=0, limit=10)) == messages(ACME, 1, 2)

    async def test_an_empty_log_takes_any_first_number(self, event_bus: EventBus) -> None:
        """After a loss the log continues where the publisher is, instead of copying all history."""
        assert await event_bus.append(messages(ACME, 41, 43)) == {ACME: 43}
        assert list(await event_bus.read(ACME, after=41, limit=10)) == messages(ACME, 42, 43)
        assert await event_bus.append(messages(ACME, 1, 5)) == {ACME: 43}

    async def test_large_numbers_stay_exact(self, event_bus: EventBus) -> None:
        """Numbers up to 2^53 are kept digit by digit."""
        first = 2**53 - 3
        assert await event_bus.append(messages(ACME, first, first + 2)) == {ACME: first + 2}
        assert list(await event_bus.read(ACME, after=first, limit=10)) == messages(ACME, first + 1, first + 2)

    async def test_one_call_serves_many_tenants_each_on_its_own(self, event_bus: EventBus) -> None:
        """A hole in one tenant's messages does not delay another's; interleaving does not matter."""
        await event_bus.append(messages(ACME, 1, 1))
        sent = [message(ACME, 3), message(GLOBEX, 1), message(ACME, 4), message(GLOBEX, 2)]
        assert await event_bus.append(sent) == {ACME: 1, GLOBEX: 2}
        assert list(await event_bus.read(GLOBEX, after=0, limit=10)) == messages(GLOBEX, 1, 2)

    async def test_concurrent_publishers_leave_one_copy_in_order(self, event_bus: EventBus) -> None:
        """Publishers that overlap, as after a lost lease, do no harm."""
        await asyncio.gather(*(event_bus.append(messages(ACME, 1, 20)) for _ in range(8)))
        assert list(await event_bus.read(ACME, after=0, limit=100)) == messages(ACME, 1, 20)

    async def test_a_follower_hears_everything_from_its_empty_first_batch_on(self, event_bus: EventBus) -> None:
        """Earlier messages do not come; later ones are complete and in order per tenant."""
        await event_bus.append(messages(ACME, 1, 3))
        follower = event_bus.follow()
        assert list(await anext(follower)) == []
        await event_bus.append(messages(ACME, 4, 5))
        await event_bus.append([*messages(GLOBEX, 1, 2), *messages(ACME, 6, 6)])
        heard = await _hear(follower, 5)
        assert [event for event in heard if event.tenant_id == ACME] == messages(ACME, 4, 6)
        assert [event for event in heard if event.tenant_id == GLOBEX] == messages(GLOBEX, 1, 2)
        await _close(follower)

    async def test_a_follower_hears_nothing_twice_and_nothing_that_was_refused(self, event_bus: EventBus) -> None:
        """Repeated appends and messages behind a hole are not announced."""
        follower = event_bus.follow()
        await anext(follower)
        await event_bus.append(messages(ACME, 1, 2))
        await event_bus.append(messages(ACME, 1, 2))
        await event_bus.append(messages(ACME, 4, 5))
        await event_bus.append(messages(ACME, 3, 3))
        assert await _hear(follower, 3) == messages(ACME, 1, 3)
        await _close(follower)

    async def test_an_unannounced_message_is_only_in_the_log(self, event_bus: EventBus) -> None:
        """Backfilled history is not news."""
        follower = event_bus.follow()
        await anext(follower)
        assert await event_bus.append(messages(ACME, 1, 3), announced=False) == {ACME: 3}
        await event_bus.append(messages(ACME, 3, 4))
        assert await _hear(follower, 1) == messages(ACME, 4, 4)
        assert list(await event_bus.read(ACME, after=0, limit=10)) == messages(ACME, 1, 4)
        await _close(follower)

    async def test_followers_get_the_context_of_the_trace_and_the_log_does_not(self, event_bus: EventBus) -> None:
        """A message that was not traced has none, whatever came before it."""
        follower = event_bus.follow()
        await anext(follower)
        context = f"00-{'a' * 32}-{'b' * 16}-01"
        await event_bus.append(messages(ACME, 1, 2), trace_context=context)
        await event_bus.append(messages(ACME, 3, 3))
        heard = await _hear(follower, 3)
        assert [event.trace_context for event in heard] == [context, context, None]
        assert {event.trace_context for event in await event_bus.read(ACME, after=0, limit=10)} == {None}
        await _close(follower)

    async def test_every_follower_hears_everything(self, event_bus: EventBus) -> None:
        """Followers are independent: each server process has one."""
        followers = [event_bus.follow() for _ in range(3)]
        for follower in followers:
            await anext(follower)
        await event_bus.append(messages(ACME, 1, 4))
        for follower in followers:
            assert await _hear(follower, 4) == messages(ACME, 1, 4)
            await _close(follower)

    async def test_a_follower_that_stops_does_not_disturb_the_others(self, event_bus: EventBus) -> None:
        """One that is canceled, at any moment, ends at once and affects no other."""
        staying = event_bus.follow()
        await anext(staying)
        for steps in range(6):
            leaving = event_bus.follow()
            await anext(leaving)
            waiting = asyncio.ensure_future(anext(leaving))
            for _ in range(steps):
                await asyncio.sleep(0)
            waiting.cancel()
            ended, _ = await asyncio.wait([waiting], timeout=30)
            assert waiting in ended
            assert waiting.cancelled()
        await event_bus.append(messages(ACME, 1, 2))
        assert await _hear(staying, 2) == messages(ACME, 1, 2)
        await _close(staying)


async def _hear(follower: AsyncIterator[Sequence[BillingEvent]], count: int) -> list[BillingEvent]:
    """Read batches until at least `count` messages have come, and return all of them."""
    heard: list[BillingEvent] = []
    while len(heard) < count:
        heard += await asyncio.wait_for(anext(follower), timeout=30)
    return heard


async def _close(follower: AsyncIterator[Sequence[BillingEvent]]) -> None:
    """Close a follower's connection; an iterator without `aclose` holds none."""
    close = getattr(follower, "aclose", None)
    if close is not None:
        await close()
