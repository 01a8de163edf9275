"""What every StreamTickets, StreamQuota and Revocations must do.

Bind by subclassing, with the fixtures that each class names.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

import attrs

from billing_core.stream_access.ports import Principal, QuotaPolicy, Revocation, Revocations, StreamQuota, StreamTickets
from billing_core.testing.builders import ACME, AT, GLOBEX

MINUTE = timedelta(minutes=1)
MakeQuota = Callable[[QuotaPolicy], StreamQuota]
OPEN = QuotaPolicy(rate_per_minute=0, concurrent=0, lease=MINUTE)
"""No limit at all."""


class StreamTicketsContract:
    """A ticket lets one in, once, in time. A binding gives one fixture: `tickets`, empty."""

    async def test_a_ticket_lets_in_whom_it_was_made_for(self, tickets: StreamTickets) -> None:
        """All that is known of them survives, and of two tickets each is its own."""
        asked = Principal(tenant_id=ACME, role="owner", expires_at=AT, token_id="t1", issued_at=AT)  # noqa: S106
        bare = Principal(tenant_id=GLOBEX, role="viewer", expires_at=AT + MINUTE)
        await tickets.put(b"a" * 32, asked, ttl=MINUTE)
        await tickets.put(b"b" * 32, bare, ttl=MINUTE)
        assert await tickets.take(b"b" * 32) == bare
        assert await tickets.take(b"a" * 32) == asked

    async def test_a_ticket_is_good_for_one(self, tickets: StreamTickets) -> None:
        """However many bring it, one after the other or at once."""
        asked = Principal(tenant_id=ACME, role="viewer", expires_at=AT)
        await tickets.put(b"a" * 32, asked, ttl=MINUTE)
        taken = await asyncio.gather(*(tickets.take(b"a" * 32) for _ in range(8)))
        assert sorted(taken, key=bool) == [None] * 7 + [asked]
        assert await tickets.take(b"a" * 32) is None

    async def test_a_ticket_that_is_unknown_or_too_old_lets_nobody_in(self, tickets: StreamTickets) -> None:
        """Nor does one that begins like a good one."""
        asked = Principal(tenant_id=ACME, role="viewer", expires_at=AT)
        await tickets.put(b"a" * 32, asked, ttl=timedelta(0))
        await tickets.put(b"b" * 32, asked, ttl=MINUTE)
        assert await tickets.take(b"a" * 32) is None
        assert await tickets.take(b"b") is None
        assert await tickets.take(b"") is None
        assert await tickets.take(b"b" * 32) == asked


class StreamQuotaContract:
    """Two limits for each tenant, over everybody who counts.

    A binding gives one fixture: `make_quota`, which makes a quota of a policy; all that one test makes count together.
    """

    async def test_without_limits_everybody_gets_in(self, make_quota: MakeQuota) -> None:
        """0 is no limit."""
        quota = make_quota(OPEN)
        assert [await quota.enter(ACME, f"s{number}") for number in range(50)] == [None] * 50
        await quota.keep({ACME: ["s1"]})
        await quota.leave({ACME: ["s1"]})

    async def test_only_so_many_streams_are_open_at_a_time(self, make_quota: MakeQuota) -> None:
        """Of one tenant, at all servers together; the place of one that leaves is free at once."""
        policy = attrs.evolve(OPEN, concurrent=2)
        here, there = make_quota(policy), make_quota(policy)
        assert await here.enter(ACME, "a") is None
        assert await there.enter(ACME, "b") is None
        refusal = await here.enter(ACME, "c")
        assert refusal is not None
        assert refusal.limit == "concurrent"
        assert timedelta(0) < refusal.retry_after <= MINUTE
        assert await here.enter(GLOBEX, "d") is None
        await there.leave({ACME: ["a", "nobody"], GLOBEX: ["d"]})
        assert await here.enter(ACME, "c") is None
        assert (await here.enter(ACME, "d")) is not None

    async def test_a_stream_whose_server_died_frees_its_place(self, make_quota: MakeQuota) -> None:
        """When its lease has run out; one whose server says that it is open keeps its place."""
        quota = make_quota(attrs.evolve(OPEN, concurrent=2, lease=timedelta(milliseconds=300)))
        assert await quota.enter(ACME, "dead") is None
        assert await quota.enter(ACME, "kept") is None
        names = (f"new{number}" for number in count())
        while await quota.enter(ACME, next(names)) is not None:
            await quota.keep({ACME: ["kept"]})
            await asyncio.sleep(0.01)
        assert await quota.enter(ACME, "one too many") is not None

    async def test_places_are_counted_again_where_the_count_was_lost(self, make_quota: MakeQuota) -> None:
        """Streams that are open are said to be so time and again, to whoever forgot them."""
        quota = make_quota(attrs.evolve(OPEN, concurrent=2))
        await quota.keep({ACME: ["a", "b"], GLOBEX: ["c"]})
        assert await quota.enter(ACME, "d") is not None
        assert await quota.enter(GLOBEX, "d") is None

    async def test_only_so_many_streams_are_opened_in_a_minute(self, make_quota: MakeQuota) -> None:
        """So many at once; the next when its share of the minute has passed. What leaves is not opened back."""
        quota = make_quota(attrs.evolve(OPEN, rate_per_minute=3))
        assert [await quota.enter(ACME, f"s{number}") for number in range(3)] == [None] * 3
        await quota.leave({ACME: ["s0", "s1", "s2"]})
        refusal = await quota.enter(ACME, "s3")
        assert refusal is not None
        assert refusal.limit == "rate"
        assert timedelta(seconds=10) < refusal.retry_after <= timedelta(seconds=20)
        assert await quota.enter(GLOBEX, "s0") is None

    async def test_what_is_refused_counts_for_nothing(self, make_quota: MakeQuota) -> None:
        """Whoever asks too often is let in again no later for it."""
        quota = make_quota(attrs.evolve(OPEN, rate_per_minute=600))
        assert [await quota.enter(ACME, f"s{number}") for number in range(600)] == [None] * 600
        refusals = 0
        while await quota.enter(ACME, f"n{refusals}") is not None:
            refusals += 1
            await asyncio.sleep(0.01)

    async def test_saying_nothing_is_harmless(self, make_quota: MakeQuota) -> None:
        """A server without streams says so as well."""
        quota = make_quota(attrs.evolve(OPEN, concurrent=1))
        await quota.keep({})
        await quota.leave({})
        assert await quota.enter(ACME, "a") is None


class RevocationsContract:
    """What was revoked is known until it cannot matter any more. A binding gives one fixture: `revocations`, empty."""

    async def test_what_was_revoked_is_known(self, revocations: Revocations) -> None:
        """All of it, tokens and tenants apart, whatever they are called."""
        now = datetime.now(UTC).replace(microsecond=1)
        made = [
            Revocation(subject="token", name="globex", revoked_at=now, kept_until=now + MINUTE),
            Revocation(subject="tenant", name="globex", revoked_at=now, kept_until=now + 2 * MINUTE),
            Revocation(subject="tenant", name="a'; --\u00e9", revoked_at=now, kept_until=now + MINUTE),
        ]
        assert await revocations.current() == []
        for each in made:
            await revocations.revoke(each)
        assert await revocations.current() == [made[2], made[1], made[0]]

    async def test_the_later_instants_hold(self, revocations: Revocations) -> None:
        """Revoking again never takes anything back."""
        now = datetime.now(UTC)
        first = Revocation(subject="tenant", name="acme", revoked_at=now, kept_until=now + MINUTE)
        await revocations.revoke(first)
        await revocations.revoke(attrs.evolve(first, revoked_at=now - MINUTE, kept_until=now + 2 * MINUTE))
        assert await revocations.current() == [attrs.evolve(first, kept_until=now + 2 * MINUTE)]
        await revocations.revoke(attrs.evolve(first, revoked_at=now + MINUTE, kept_until=now))
        assert await revocations.current() == [
            attrs.evolve(first, revoked_at=now + MINUTE, kept_until=now + 2 * MINUTE)
        ]

    async def test_what_cannot_matter_any_more_is_forgotten(self, revocations: Revocations) -> None:
        """And may be revoked again."""
        now = datetime.now(UTC)
        over = Revocation(subject="token", name="t1", revoked_at=now - MINUTE, kept_until=now - MINUTE)
        await revocations.revoke(over)
        await revocations.revoke(attrs.evolve(over, name="t2"))
        assert await revocations.current() == []
        again = attrs.evolve(over, kept_until=now + MINUTE)
        await revocations.revoke(again)
        assert await revocations.current() == [again]
