"""The contract of StreamTickets."""

import asyncio
from datetime import timedelta

from billing_core.stream_access.ports import Principal, StreamTickets
from billing_core.testing.builders import ACME, AT, GLOBEX
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LEASE, Elapse

MINUTE = timedelta(minutes=1)


class StreamTicketsContract(Suite):
    """Tickets that open one stream each, in time. A binding provides `tickets`, empty, and `elapse`."""

    async def test_a_ticket_returns_the_principal_it_was_issued_to(self, tickets: StreamTickets) -> None:
        """Every field survives, and two tickets are not confused."""
        asked = Principal(tenant_id=ACME, role="owner", expires_at=AT, token_id="t1", issued_at=AT)  # noqa: S106
        bare = Principal(tenant_id=GLOBEX, role="viewer", expires_at=AT + MINUTE)
        await tickets.put(b"a" * 32, asked, ttl=MINUTE)
        await tickets.put(b"b" * 32, bare, ttl=MINUTE)
        assert await tickets.take(b"b" * 32) == bare
        assert await tickets.take(b"a" * 32) == asked

    async def test_a_ticket_is_good_for_one_use(self, tickets: StreamTickets) -> None:
        """Further uses are refused, in sequence or concurrently."""
        asked = Principal(tenant_id=ACME, role="viewer", expires_at=AT)
        await tickets.put(b"a" * 32, asked, ttl=MINUTE)
        taken = await asyncio.gather(*(tickets.take(b"a" * 32) for _ in range(8)))
        assert sorted(taken, key=bool) == [None] * 7 + [asked]
        assert await tickets.take(b"a" * 32) is None

    async def test_an_unknown_or_expired_ticket_is_refused(self, tickets: StreamTickets) -> None:
        """So is a digest that begins like a valid one."""
        asked = Principal(tenant_id=ACME, role="viewer", expires_at=AT)
        await tickets.put(b"b" * 32, asked, ttl=MINUTE)
        await tickets.put(b"a" * 32, asked, ttl=timedelta(0))
        assert await tickets.take(b"a" * 32) is None
        assert await tickets.take(b"b") is None
        assert await tickets.take(b"") is None
        assert await tickets.take(b"b" * 32) == asked

    async def test_a_ticket_expires_while_it_is_stored(self, tickets: StreamTickets, elapse: Elapse) -> None:
        """No other call has to come between: what is expired is refused, deleted or not."""
        asked = Principal(tenant_id=ACME, role="viewer", expires_at=AT)
        await tickets.put(b"a" * 32, asked, ttl=LEASE)
        await tickets.put(b"b" * 32, asked, ttl=MINUTE)
        await elapse(LEASE)
        assert await tickets.take(b"a" * 32) is None
        assert await tickets.take(b"b" * 32) == asked

    async def test_expired_tickets_hide_no_valid_one(self, tickets: StreamTickets, elapse: Elapse) -> None:
        """New tickets are stored while older ones expire; the valid ones among those stay."""
        asked = Principal(tenant_id=ACME, role="viewer", expires_at=AT)
        await tickets.put(b"a" * 32, asked, ttl=MINUTE)
        await tickets.put(b"b" * 32, asked, ttl=LEASE)
        await elapse(LEASE)
        await tickets.put(b"c" * 32, asked, ttl=MINUTE)
        taken = [await tickets.take(digest * 32) for digest in (b"a", b"b", b"c")]
        assert taken == [asked, None, asked]
