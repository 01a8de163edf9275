"""The contract of EventInbox."""

import asyncio

from billing_core.events import ReceiptStatus
from billing_core.inbox.ports import EventInbox, EventQueue
from billing_core.testing.builders import provider_event
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LEASE, LONG, Elapse


class EventInboxContract(Suite):
    """Durable intake without duplicates.

    A binding provides `inbox`, empty, `queue` on the same data, and `elapse`.
    """

    async def test_a_recorded_event_comes_back_unchanged(self, inbox: EventInbox, queue: EventQueue) -> None:
        """The body survives byte by byte, text or not, and so does the whole envelope."""
        body = bytes(range(256)) + '{"name": "Zoë \\u0000 \'); DROP TABLE --"}'.encode()
        sent = provider_event("evt_1", body=body, account="acct_9", livemode=True, secret_slot=3, api_version=None)
        receipt = await inbox.record(sent)
        assert (receipt.status, receipt.event_id, receipt.claim) == (ReceiptStatus.ACCEPTED, "evt_1", None)
        (claim,) = await queue.claim(limit=10, lease=LONG)
        assert (claim.event, claim.attempt) == (sent, 1)

    async def test_the_context_of_a_trace_is_stored_with_its_event(self, inbox: EventInbox, queue: EventQueue) -> None:
        """Of events of one commit, each claim has the context of its own; an event that was not traced has none."""
        contexts = {"evt_1": None, "evt_2": f"00-{'a' * 32}-{'b' * 16}-01", "evt_3": f"00-{'c' * 32}-{'d' * 16}-00"}
        await asyncio.gather(
            *(inbox.record(provider_event(id_, trace_context=context)) for id_, context in contexts.items())
        )
        await inbox.record(provider_event("evt_4", trace_context=f"00-{'e' * 32}-{'f' * 16}-01"))
        claims = await queue.claim(limit=10, lease=LONG)
        assert {claim.event.event_id: claim.event.trace_context for claim in claims} == {
            **contexts,
            "evt_4": f"00-{'e' * 32}-{'f' * 16}-01",
        }

    async def test_an_event_is_accepted_once(self, inbox: EventInbox, queue: EventQueue) -> None:
        """A second delivery is a duplicate, even with a different body, and is not processed again."""
        await inbox.record(provider_event("evt_1", body=b"first"))
        again = await inbox.record(provider_event("evt_1", body=b"second"), lease=LONG)
        assert (again.status, again.claim) == (ReceiptStatus.DUPLICATE, None)
        (claim,) = await queue.claim(limit=10, lease=LONG)
        assert claim.event.body == b"first"

    async def test_ids_are_unique_only_within_account_and_mode(self, inbox: EventInbox, queue: EventQueue) -> None:
        """The same id in another connected account, or live instead of test, is another event."""
        keys = [("", False), ("", True), ("acct_1", False), ("acct_1", True)]
        events = [provider_event("evt_1", account=account, livemode=livemode) for account, livemode in keys]
        receipts = [await inbox.record(event) for event in events]
        assert [receipt.status for receipt in receipts] == [ReceiptStatus.ACCEPTED] * 4
        assert {claim.event.key for claim in await queue.claim(limit=10, lease=LONG)} == {e.key for e in events}

    async def test_equal_ids_of_one_commit_are_told_apart(self, inbox: EventInbox, queue: EventQueue) -> None:
        """Two accounts and two modes, recorded concurrently: four events, each with its own body and its own claim.

        The second delivery of each is a duplicate of that one.
        """
        keys = [("", False), ("", True), ("acct_1", False), ("acct_1", True)]
        events = [
            provider_event("evt_1", account=account, livemode=livemode, body=f"{account} {livemode}".encode())
            for account, livemode in keys
        ]
        receipts = await asyncio.gather(*(inbox.record(event, lease=LONG) for event in [*events, *events]))
        assert [receipt.status for receipt in receipts] == [ReceiptStatus.ACCEPTED] * 4 + [ReceiptStatus.DUPLICATE] * 4
        claims = [receipt.claim for receipt in receipts if receipt.claim is not None]
        assert [claim.event for claim in claims] == events
        await queue.release(claims)
        stored = await queue.claim(limit=10, lease=LONG)
        assert {claim.dispatch_id: claim.event for claim in stored} == {c.dispatch_id: c.event for c in claims}

    async def test_of_concurrent_records_of_one_key_one_is_accepted(self, inbox: EventInbox) -> None:
        """Exactly one of them is the first, whether or not they share a commit."""
        events = [provider_event(f"evt_{number % 5}") for number in range(100)]
        receipts = await asyncio.gather(*(inbox.record(event, lease=LONG) for event in events))
        accepted = [receipt.event_id for receipt in receipts if receipt.status is ReceiptStatus.ACCEPTED]
        assert sorted(accepted) == [f"evt_{number}" for number in range(5)]
        assert all((receipt.claim is not None) == (receipt.status is ReceiptStatus.ACCEPTED) for receipt in receipts)

    async def test_a_burst_is_stored_whole(self, inbox: EventInbox, queue: EventQueue) -> None:
        """More concurrent events than fit into one commit all arrive, each with its own body."""
        events = [provider_event(f"evt_{number}", body=str(number).encode()) for number in range(600)]
        await asyncio.gather(*(inbox.record(event) for event in events))
        claims = await queue.claim(limit=1000, lease=LONG)
        assert {claim.event.key: claim.event.body for claim in claims} == {e.key: e.body for e in events}

    async def test_a_canceled_caller_does_not_affect_others(self, inbox: EventInbox, queue: EventQueue) -> None:
        """A client that disconnects takes no other event with it, and its own can be sent again."""
        tasks = [asyncio.create_task(inbox.record(provider_event(f"evt_{number}"))) for number in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(not isinstance(result, Exception) for result in results[1::2])
        for number in range(20):
            await inbox.record(provider_event(f"evt_{number}"))
        assert len(await queue.claim(limit=100, lease=LONG)) == 20

    async def test_a_lease_claims_the_event_for_its_recorder(
        self, inbox: EventInbox, queue: EventQueue, elapse: Elapse
    ) -> None:
        """No other worker gets it before the lease runs out; then any worker may claim it, as the second attempt."""
        receipt = await inbox.record(provider_event(), lease=LEASE)
        assert receipt.claim is not None
        assert (receipt.claim.attempt, receipt.claim.event) == (1, provider_event())
        assert await queue.claim(limit=10, lease=LONG) == []
        await elapse(LEASE)
        (claim,) = await queue.claim(limit=10, lease=LONG)
        assert (claim.dispatch_id, claim.attempt) == (receipt.claim.dispatch_id, 2)
