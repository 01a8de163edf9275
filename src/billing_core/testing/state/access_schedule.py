"""The contract of AccessSchedule."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from billing_core.model import AccessReason, AccessState, AccessVerdict, AnnouncedAccess, TenantId
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.testing.arrange import save
from billing_core.testing.builders import ACME, GLOBEX, message
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LONG, Elapse

INITECH = TenantId("initech")
OURS, OTHER = "policy-1", "policy-2"


def known(due_at: datetime | None = None, *, policy: str | None = OURS) -> AnnouncedAccess:
    """Return full access that a tenant was told of."""
    verdict = AccessVerdict(state=AccessState.FULL, reason=AccessReason.ACTIVE, until=due_at)
    return AnnouncedAccess(verdict=verdict, due_at=due_at, policy=policy)


class AccessScheduleContract(Suite):
    """Tenants are due by the store's clock or by a changed policy, each to one unit of work at a time.

    A binding provides `unit_of_work` on an empty store, and `elapse` for the store's clock.
    """

    serial = False
    """True for a store with one unit of work at a time: none can leave out what another one holds."""

    async def test_what_a_tenant_was_told_survives(self, unit_of_work: UnitOfWork) -> None:
        """With the instant of its end, and without one; a tenant that was told nothing has nothing."""
        at = await self._now(unit_of_work) + LONG
        announced = {ACME: known(at), GLOBEX: known(policy=None)}
        await self._know(unit_of_work, announced)
        async with unit_of_work.transaction() as transaction:
            locked = await transaction.lock_tenants([ACME, GLOBEX, INITECH])
        assert locked.announced == announced

    async def test_a_tenant_is_due_at_its_instant(self, unit_of_work: UnitOfWork, elapse: Elapse) -> None:
        """Not before it, and no longer once it was decided on again."""
        at = await self._now(unit_of_work) + timedelta(hours=1)
        await self._know(unit_of_work, {ACME: known(at), GLOBEX: known(at + LONG), INITECH: known()})
        await save(unit_of_work, Changes(events=[message(ACME, 1)]))
        assert await self._due(unit_of_work) == []
        await elapse(timedelta(hours=1))
        async with unit_of_work.transaction() as transaction:
            locked = await transaction.lock_due(policy=OURS, limit=10)
            assert (locked.counters, locked.announced) == ({ACME: 1}, {ACME: known(at)})
            assert locked.now >= at
            await transaction.save(Changes(access={ACME: known(at + LONG)}))
        assert await self._due(unit_of_work) == []

    async def test_the_longest_due_come_first(self, unit_of_work: UnitOfWork, elapse: Elapse) -> None:
        """Within the limit of a batch."""
        at = await self._now(unit_of_work)
        hours = {INITECH: 1, ACME: 2, GLOBEX: 3}
        await self._know(unit_of_work, {id_: known(at + timedelta(hours=each)) for id_, each in hours.items()})
        await elapse(timedelta(hours=4))
        assert await self._due(unit_of_work, limit=2) == [ACME, INITECH]
        assert await self._due(unit_of_work) == [ACME, GLOBEX, INITECH]

    async def test_another_policy_makes_every_tenant_due(self, unit_of_work: UnitOfWork) -> None:
        """Also those that none has decided about, each until ours has; in batches."""
        decided = {TenantId(f"t{number}"): known(policy=policy) for number, policy in enumerate(("a", OURS, "z", None))}
        await self._know(unit_of_work, decided)
        async with unit_of_work.transaction() as transaction:
            await transaction.lock_tenants([ACME])
        assert await self._due(unit_of_work) == [ACME, "t0", "t2", "t3"]
        assert len(await self._due(unit_of_work, limit=1)) < 4
        await self._know(unit_of_work, dict.fromkeys([ACME, *decided], known()))
        assert await self._due(unit_of_work) == []

    async def test_each_tenant_goes_to_one_of_many_at_a_time(self, unit_of_work: UnitOfWork, elapse: Elapse) -> None:
        """Units of work that run at once take no tenant twice, and none waits for another."""
        at = await self._now(unit_of_work)
        tenants = [TenantId(f"tenant-{number:02}") for number in range(40)]
        await self._know(unit_of_work, dict.fromkeys(tenants, known(at)))
        await elapse(timedelta(seconds=1))
        taken: list[TenantId] = []

        async def take() -> None:
            while len(taken) < len(tenants):
                async with unit_of_work.transaction() as transaction:
                    locked = await transaction.lock_due(policy=OURS, limit=7)
                    taken.extend(locked.counters)
                    await asyncio.sleep(0)
                    await transaction.save(Changes(access=dict.fromkeys(locked.counters, known())))

        await asyncio.gather(*(take() for _ in range(4)))
        assert sorted(taken) == tenants

    async def test_a_tenant_that_is_locked_elsewhere_is_left_out(
        self, unit_of_work: UnitOfWork, elapse: Elapse
    ) -> None:
        """Its lock is not waited for: its holder decides on its access."""
        await self._know(unit_of_work, {ACME: known(await self._now(unit_of_work))})
        await elapse(timedelta(seconds=1))
        async with unit_of_work.transaction() as transaction:
            await transaction.lock_tenants([ACME])
            other = asyncio.create_task(self._due(unit_of_work))
            done, _ = await asyncio.wait([other], timeout=0.5)
            await transaction.save(Changes(access={ACME: known()}))
        assert await other == []
        assert done or self.serial

    async def _now(self, unit_of_work: UnitOfWork) -> datetime:
        async with unit_of_work.transaction() as transaction:
            return (await transaction.lock_tenants([])).now

    async def _know(self, unit_of_work: UnitOfWork, announced: dict[TenantId, AnnouncedAccess]) -> None:
        await save(unit_of_work, Changes(access=announced), tenants=announced)

    async def _due(self, unit_of_work: UnitOfWork, *, policy: str = OURS, limit: int = 100) -> Sequence[TenantId]:
        async with unit_of_work.transaction() as transaction:
            return sorted((await transaction.lock_due(policy=policy, limit=limit)).counters)
