"""The contract of Revocations."""

from datetime import timedelta

import attrs

from billing_core.state.ports import Clock
from billing_core.stream_access.ports import Revocation, Revocations
from billing_core.testing.suite import Suite

MINUTE = timedelta(minutes=1)


class RevocationsContract(Suite):
    """Revocations, kept for as long as they can concern a valid proof.

    A binding provides `revocations`, empty, and `clock`.
    """

    async def test_a_revocation_is_known(self, revocations: Revocations, clock: Clock) -> None:
        """In every field; tokens and tenants of the same name are told apart."""
        now = clock.now().replace(microsecond=1)
        made = [
            Revocation(subject="token", name="globex", revoked_at=now, kept_until=now + MINUTE),
            Revocation(subject="tenant", name="globex", revoked_at=now, kept_until=now + 2 * MINUTE),
            Revocation(subject="tenant", name="a'; --\u00e9", revoked_at=now, kept_until=now + MINUTE),
        ]
        assert await revocations.current() == []
        for each in made:
            await revocations.revoke(each)
        assert await revocations.current() == [made[2], made[1], made[0]]

    async def test_the_later_instants_hold(self, revocations: Revocations, clock: Clock) -> None:
        """Revoking again never weakens a revocation."""
        now = clock.now()
        first = Revocation(subject="tenant", name="acme", revoked_at=now, kept_until=now + MINUTE)
        await revocations.revoke(first)
        await revocations.revoke(attrs.evolve(first, revoked_at=now - MINUTE, kept_until=now + 2 * MINUTE))
        assert await revocations.current() == [attrs.evolve(first, kept_until=now + 2 * MINUTE)]
        await revocations.revoke(attrs.evolve(first, revoked_at=now + MINUTE, kept_until=now))
        assert await revocations.current() == [
            attrs.evolve(first, revoked_at=now + MINUTE, kept_until=now + 2 * MINUTE)
        ]

    async def test_an_expired_revocation_is_forgotten(self, revocations: Revocations, clock: Clock) -> None:
        """And its subject may be revoked again."""
        now = clock.now()
        over = Revocation(subject="token", name="t1", revoked_at=now - MINUTE, kept_until=now - MINUTE)
        await revocations.revoke(over)
        await revocations.revoke(attrs.evolve(over, name="t2"))
        assert await revocations.current() == []
        again = attrs.evolve(over, kept_until=now + MINUTE)
        await revocations.revoke(again)
        assert await revocations.current() == [again]

    async def test_an_expired_revocation_is_replaced_where_it_stands(
        self, revocations: Revocations, clock: Clock
    ) -> None:
        """Revoking its subject again needs no other call in between that deletes it."""
        now = clock.now()
        over = Revocation(subject="token", name="t1", revoked_at=now - MINUTE, kept_until=now - MINUTE)
        await revocations.revoke(over)
        again = attrs.evolve(over, revoked_at=now, kept_until=now + MINUTE)
        await revocations.revoke(again)
        assert await revocations.current() == [again]
