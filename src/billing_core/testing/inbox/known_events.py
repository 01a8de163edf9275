"""The contract of KnownEvents."""

from billing_core.inbox.ports import EventInbox, EventQueue, KnownEvents
from billing_core.testing.builders import provider_event
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LONG


class KnownEventsContract(Suite):
    """Answers by key, whatever the status.

    A binding provides `known_events`, and `inbox` and `queue` on the same data, all empty.
    """

    async def test_stored_keys_are_known(self, inbox: EventInbox, queue: EventQueue, known_events: KnownEvents) -> None:
        """Due, claimed or finished; account and mode tell keys apart, and their order does not matter."""
        events = [provider_event(f"evt_{number}", account=account) for number in range(3) for account in ("", "acct_1")]
        for event in events[:5]:
            await inbox.record(event)
        claims = await queue.claim(limit=2, lease=LONG)
        await queue.bury(claims[0], reason="unexpected", error="broken")
        stored = {event.key for event in events[:5]}
        assert set(await known_events.known([event.key for event in reversed(events)])) == stored
        assert not await known_events.known([provider_event("evt_1", livemode=True).key])
        assert not await known_events.known([])
