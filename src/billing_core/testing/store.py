"""What every Inbox must do. Bind it by subclassing `EventInboxContract`; see its fixtures."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from billing_core.events import ReceiptStatus
from billing_core.oversight.ports import Backlog
from billing_core.testing.builders import provider_event
from billing_core.testing.stores import Inbox

Elapse = Callable[[timedelta], Awaitable[None]]

LEASE = timedelta(milliseconds=200)
"""Short enough to wait for, where the store's time cannot be turned forward."""
LONG = timedelta(minutes=5)
TICK = timedelta(milliseconds=10)


class EventInboxContract:
    """Durable, without duplicates, and every event is somebody's or due.

    A binding gives two fixtures: `store`, empty, and `elapse`, which lets a span of the store's time pass.
    """

    async def test_a_recorded_event_comes_back_unchanged(self, store: Inbox) -> None:
        """The body survives byte by byte, be it text or not, and so does the whole envelope."""
        body = bytes(range(256)) + '{"name": "Zoë \\u0000 \'); DROP TABLE --"}'.encode()
        sent = provider_event("evt_1", body=body, account="acct_9", livemode=True, secret_slot=3, api_version=None)
        receipt = await store.record(sent)
        assert (receipt.status, receipt.event_id, receipt.claim) == (ReceiptStatus.ACCEPTED, "evt_1", None)
        (claim,) = await store.claim(limit=10, lease=LONG)
        assert (claim.event, claim.attempt) == (sent, 1)

    async def test_an_event_is_accepted_once(self, store: Inbox) -> None:
        """The second delivery is a duplicate, also when its body differs, and is not processed again."""
        await store.record(provider_event("evt_1", body=b"first"))
        again = await store.record(provider_event("evt_1", body=b"second"), lease=LONG)
        assert (again.status, again.claim) == (ReceiptStatus.DUPLICATE, None)
        (claim,) = await store.claim(limit=10, lease=LONG)
        assert claim.event.body == b"first"

    async def test_ids_are_unique_within_account_and_mode_only(self, store: Inbox) -> None:
        """Another connected account, or live instead of test, makes it another event."""
        keys = [("", False), ("", True), ("acct_1", False), ("acct_1", True)]
        events = [provider_event("evt_1", account=account, livemode=livemode) for account, livemode in keys]
        receipts = [await store.record(event) for event in events]
        assert [receipt.status for receipt in receipts] == [ReceiptStatus.ACCEPTED] * 4
        assert {claim.event.key for claim in await store.claim(limit=10, lease=LONG)} == {e.key for e in events}

    async def test_stored_keys_are_known(self, store: Inbox) -> None:
        """Whether they wait, are worked on or are over; account and mode tell keys apart, and order does not matter."""
        events = [provider_event(f"evt_{number}", account=account) for number in range(3) for account in ("", "acct_1")]
        for event in events[:5]:
            await store.record(event)
        claims = await store.claim(limit=2, lease=LONG)
        await store.bury(claims[0], reason="unexpected", error="broken")
        stored = {event.key for event in events[:5]}
        assert set(await store.known([event.key for event in reversed(events)])) == stored
        assert not await store.known([provider_event("evt_1", livemode=True).key])
        assert not await store.known([])

    async def test_of_concurrent_records_of_one_key_one_is_accepted(self, store: Inbox) -> None:
        """Whether they share a commit or not, exactly one of them is the first."""
        events = [provider_event(f"evt_{number % 5}") for number in range(100)]
        receipts = await asyncio.gather(*(store.record(event, lease=LONG) for event in events))
        accepted = [receipt.event_id for receipt in receipts if receipt.status is ReceiptStatus.ACCEPTED]
        assert sorted(accepted) == [f"evt_{number}" for number in range(5)]
        assert all((receipt.claim is not None) == (receipt.status is ReceiptStatus.ACCEPTED) for receipt in receipts)

    async def test_a_burst_is_stored_whole(self, store: Inbox) -> None:
        """More events at once than fit into one commit all arrive, each with its own body."""
        events = [provider_event(f"evt_{number}", body=str(number).encode()) for number in range(600)]
        await asyncio.gather(*(store.record(event) for event in events))
        claims = await store.claim(limit=1000, lease=LONG)
        assert {claim.event.key: claim.event.body for claim in claims} == {e.key: e.body for e in events}

    async def test_a_cancelled_caller_harms_nobody(self, store: Inbox) -> None:
        """A client that hangs up takes no other event with it, and its own can be sent again."""
        tasks = [asyncio.create_task(store.record(provider_event(f"evt_{number}"))) for number in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(not isinstance(result, Exception) for result in results[1::2])
        for number in range(20):
            await store.record(provider_event(f"evt_{number}"))
        assert len(await store.claim(limit=100, lease=LONG)) == 20

    async def test_a_lease_claims_the_event_for_its_recorder(self, store: Inbox, elapse: Elapse) -> None:
        """Nobody else gets it before the lease runs out; then anybody does, as the second attempt."""
        receipt = await store.record(provider_event(), lease=LEASE)
        assert receipt.claim is not None
        assert (receipt.claim.attempt, receipt.claim.event) == (1, provider_event())
        assert await store.claim(limit=10, lease=LONG) == []
        await elapse(LEASE)
        (claim,) = await store.claim(limit=10, lease=LONG)
        assert (claim.dispatch_id, claim.attempt) == (receipt.claim.dispatch_id, 2)

    async def test_a_claim_is_exclusive_until_its_lease_runs_out(self, store: Inbox, elapse: Elapse) -> None:
        """A worker that died is replaced, and what it counted stays counted."""
        await store.record(provider_event())
        (first,) = await store.claim(limit=10, lease=LEASE)
        assert await store.claim(limit=10, lease=LEASE) == []
        await elapse(LEASE)
        (second,) = await store.claim(limit=10, lease=LEASE)
        assert (first.attempt, second.attempt) == (1, 2)

    async def test_the_backlog_tells_what_waits(self, store: Inbox, elapse: Elapse) -> None:
        """What is claimed in time or done is no backlog; the dead are counted by reason."""
        assert await store.backlog() == Backlog()
        await store.record(provider_event("evt_1"))
        await store.record(provider_event("evt_2"))
        (first,) = await store.claim(limit=1, lease=LONG)
        await store.bury(first, reason="bug", error="ValueError")
        await elapse(LEASE)
        backlog = await store.backlog()
        assert (backlog.due, backlog.parked, dict(backlog.dead)) == (1, 0, {"bug": 1})
        assert backlog.oldest_due >= LEASE
        await store.claim(limit=1, lease=LEASE)
        assert (await store.backlog()).due == 0
        await elapse(LEASE)
        assert (await store.backlog()).due == 1

    async def test_concurrent_claims_share_the_work(self, store: Inbox) -> None:
        """No event goes to two of them, and none is left over."""
        await asyncio.gather(*(store.record(provider_event(f"evt_{number}")) for number in range(60)))
        shares = await asyncio.gather(*(store.claim(limit=20, lease=LONG) for _ in range(4)))
        rest = await store.claim(limit=60, lease=LONG)
        claimed = [claim.event.event_id for share in [*shares, rest] for claim in share]
        assert sorted(claimed) == sorted(f"evt_{number}" for number in range(60))

    async def test_claims_come_oldest_due_first_and_within_the_limit(self, store: Inbox, elapse: Elapse) -> None:
        """Nothing starves behind newer events."""
        for number in range(4):
            await store.record(provider_event(f"evt_{number}"))
            await elapse(TICK)
        claims = await store.claim(limit=4, lease=LONG)
        assert [claim.event.event_id for claim in claims] == ["evt_0", "evt_1", "evt_2", "evt_3"]
        for wait, claim in zip((4, 1, 3, 2), claims, strict=True):
            await store.retry(claim, after=wait * LEASE / 4, reason="unexpected", error="boom")
        await elapse(LEASE)
        first = await store.claim(limit=3, lease=LONG)
        second = await store.claim(limit=3, lease=LONG)
        assert [claim.event.event_id for claim in [*first, *second]] == ["evt_1", "evt_3", "evt_2", "evt_0"]

    async def test_a_retry_is_due_when_its_wait_is_over(self, store: Inbox, elapse: Elapse) -> None:
        """Not a moment before; and it is the next attempt."""
        await store.record(provider_event())
        (claim,) = await store.claim(limit=10, lease=LONG)
        assert await store.retry(claim, after=LEASE, reason="unexpected", error="boom")
        assert await store.claim(limit=10, lease=LONG) == []
        await elapse(LEASE)
        (again,) = await store.claim(limit=10, lease=LONG)
        assert again.attempt == 2

    async def test_a_buried_event_is_never_claimed(self, store: Inbox, elapse: Elapse) -> None:
        """Dead is dead until an operator says otherwise, and the provider's next delivery does not."""
        await store.record(provider_event())
        (claim,) = await store.claim(limit=10, lease=LEASE)
        assert await store.bury(claim, reason="unexpected", error="boom")
        await elapse(LEASE)
        assert await store.claim(limit=10, lease=LONG) == []
        assert (await store.record(provider_event())).status is ReceiptStatus.DUPLICATE

    async def test_errors_may_quote_whatever_a_payload_held(self, store: Inbox) -> None:
        """Text that a database may refuse does not keep an event from being retried or buried."""
        hostile = "'; DROP TABLE x; -- \x00 \ud800 \u2028 💶" * 1000
        await store.record(provider_event("evt_1"))
        await store.record(provider_event("evt_2"))
        first, second = await store.claim(limit=10, lease=LONG)
        assert await store.retry(first, after=LONG, reason="unexpected", error=hostile)
        assert await store.bury(second, reason="unexpected", error=hostile)

    @pytest.mark.parametrize("by", ["retry", "bury", "release"])
    async def test_a_lost_claim_changes_nothing(self, store: Inbox, elapse: Elapse, by: str) -> None:
        """A worker that slept through its lease cannot take the event from the one that has it now."""
        await store.record(provider_event())
        (lost,) = await store.claim(limit=10, lease=LEASE)
        await elapse(LEASE)
        (current,) = await store.claim(limit=10, lease=LONG)
        if by == "retry":
            assert not await store.retry(lost, after=timedelta(0), reason="unexpected", error="late")
        elif by == "bury":
            assert not await store.bury(lost, reason="unexpected", error="late")
        else:
            await store.release([lost])
        assert await store.claim(limit=10, lease=LONG) == []
        assert await store.bury(current, reason="unexpected", error="still ours")

    async def test_a_released_claim_is_due_at_once_and_uncounted(self, store: Inbox) -> None:
        """An orderly shutdown costs an event no attempt."""
        await store.record(provider_event("evt_1"))
        await store.record(provider_event("evt_2"))
        claims = await store.claim(limit=10, lease=LONG)
        await store.release([])
        await store.release(claims)
        again = await store.claim(limit=10, lease=LONG)
        assert {(claim.event.event_id, claim.attempt) for claim in again} == {("evt_1", 1), ("evt_2", 1)}

    async def test_a_released_claim_is_no_longer_held(self, store: Inbox) -> None:
        """Whoever gave it back cannot end it afterwards."""
        await store.record(provider_event())
        claims = await store.claim(limit=10, lease=LONG)
        await store.release(claims)
        assert not await store.bury(claims[0], reason="unexpected", error="late")

    async def test_waiting_ends_when_an_event_is_recorded(self, store: Inbox) -> None:
        """Whoever found nothing to claim hears of the next event, also of one recorded before it began to wait."""
        assert await store.claim(limit=10, lease=LONG) == []
        waiting = asyncio.create_task(store.wait(at_most=LONG))
        await store.record(provider_event("evt_1"))
        await asyncio.wait_for(waiting, timeout=10)
        assert len(await store.claim(limit=10, lease=LONG)) == 1
        await store.record(provider_event("evt_2"))
        await asyncio.wait_for(store.wait(at_most=LONG), timeout=10)

    async def test_waiting_ends_by_itself(self, store: Inbox) -> None:
        """Nothing depends on being woken."""
        await store.wait(at_most=TICK)
        await store.claim(limit=10, lease=LONG)
        await asyncio.wait_for(store.wait(at_most=TICK), timeout=10)
