"""The contract of MessageHistory."""

from billing_core.model import TenantId
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.stream.ports import MessageHistory
from billing_core.testing.arrange import save
from billing_core.testing.builders import ACME, GLOBEX, message, messages
from billing_core.testing.state.samples import HOSTILE
from billing_core.testing.suite import Suite


class MessageHistoryContract(Suite):
    """All messages that were ever committed, by tenant and number.

    A binding provides `history`, and `unit_of_work` on the same data, empty.
    """

    async def test_an_unknown_tenant_has_no_messages(self, history: MessageHistory) -> None:
        """Its last number is 0."""
        assert await history.sequence(ACME) == 0
        assert await history.events(ACME, after=0, limit=10) == []

    async def test_a_message_survives_in_every_field(self, unit_of_work: UnitOfWork, history: MessageHistory) -> None:
        """The payload goes to clients verbatim: spaces, escapes and key order included."""
        sent = message(payload='{"b": 1,  "a":"\\u2028 💶 Zo\\u00eb", "n": 1.50, "a": 2}', event_type=HOSTILE)
        await save(unit_of_work, Changes(events=[sent]))
        assert await history.events(ACME, after=0, limit=10) == [sent]

    async def test_history_is_read_in_pages(self, unit_of_work: UnitOfWork, history: MessageHistory) -> None:
        """Strictly above `after`, lowest first, at most `limit`."""
        await save(unit_of_work, Changes(events=messages(ACME, 1, 12)))
        assert await history.events(ACME, after=9, limit=2) == messages(ACME, 10, 11)
        assert await history.events(ACME, after=11, limit=10) == messages(ACME, 12, 12)
        assert await history.events(ACME, after=12, limit=10) == []
        assert await history.events(ACME, after=10**15, limit=10) == []

    async def test_each_tenant_has_its_own_messages(self, unit_of_work: UnitOfWork, history: MessageHistory) -> None:
        """And its own numbers."""
        stored = [*messages(ACME, 1, 2), message(GLOBEX, 1)]
        await save(unit_of_work, Changes(events=stored), tenants=(ACME, GLOBEX))
        assert await history.events(ACME, after=0, limit=10) == messages(ACME, 1, 2)
        assert (await history.sequence(ACME), await history.sequence(GLOBEX)) == (2, 1)
        assert await history.sequences([ACME, GLOBEX, TenantId("unknown")]) == {ACME: 2, GLOBEX: 1}
        assert await history.sequences([GLOBEX]) == {GLOBEX: 1}
