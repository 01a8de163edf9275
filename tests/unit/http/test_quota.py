"""Stream quotas: the limits of a tenant, and admission while the quota is unavailable."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest

from billing_app.http.stream.quota import StreamLeases
from billing_app.settings import QuotaSettings
from billing_core.errors import EventBusUnavailableError
from billing_core.model import TenantId
from billing_core.stream_access.ports import Leases, QuotaPolicy, QuotaRefusal, StreamQuota
from billing_core.testing.builders import ACME, AT, GLOBEX
from billing_memory.clock import ManualClock
from billing_memory.stream_access.quota import MemoryStreamQuota

if TYPE_CHECKING:
    from tests.unit.http.conftest import Eventually, Listen, MakeWorld, World

STREAM = "/api/v1/billing/stream"
ADMISSIONS = "stripe_billing_stream_admissions_total"


class Quota:
    """A quota that can be made unavailable, and records its calls."""

    def __init__(self) -> None:
        self.unavailable = False
        self.entered: list[str] = []
        self.kept: list[Leases] = []
        self.left: set[str] = set()
        self.beats: list[set[TenantId]] = []

    async def enter(self, tenant_id: TenantId, lease: str) -> QuotaRefusal | None:
        """See StreamQuota: every stream is admitted."""
        self._check()
        self.entered.append(lease)
        return None

    async def keep(self, leases: Leases) -> None:
        """See StreamQuota."""
        self._check()
        self.kept.append(leases)

    async def beat(self, tenants: Collection[TenantId]) -> None:
        """See StreamQuota."""
        self._check()
        self.beats.append(set(tenants))

    async def leave(self, leases: Leases) -> None:
        """See StreamQuota."""
        self._check()
        self.left.update(name for names in leases.values() for name in names)

    def _check(self) -> None:
        if self.unavailable:
            raise EventBusUnavailableError("quota")


async def refused(world: World, http: aiohttp.ClientSession, tenant_id: TenantId = ACME) -> tuple[int, str, int]:
    """Return the status, the code and the seconds to wait of a refused stream."""
    async with http.get(world.url + STREAM, headers=world.bearer(tenant_id)) as answer:
        return answer.status, (await answer.json())["error"]["code"], int(answer.headers["Retry-After"])


async def test_one_stream_too_many_is_answered_429(
    make_world: MakeWorld, listen: Listen, http: aiohttp.ClientSession, eventually: Eventually
) -> None:
    """The limit holds per tenant, and a stream that ends frees its place."""
    async with make_world(quota=QuotaSettings(concurrent=2)).serving() as world:
        async with AsyncExitStack() as streams:
            for _ in range(2):
                await streams.enter_async_context(listen(world))
            status, code, wait = await refused(world, http)
            assert (status, code) == (429, "too_many_tenant_streams")
            assert 1 <= wait <= 45
            async with listen(world, GLOBEX):
                pass
        await eventually(lambda: world.sample("stripe_billing_stream_connections") == 0)
        while (await world.container.quota().enter(ACME, "probe")) is not None:  # released a moment later
            pass
        assert world.sample(ADMISSIONS, result="admitted") == 3
        assert world.sample(ADMISSIONS, result="concurrent") == 1


async def test_streams_that_are_opened_too_often_are_answered_429(
    make_world: MakeWorld, listen: Listen, http: aiohttp.ClientSession
) -> None:
    """The rate limit also counts short streams; Retry-After says when the next may be opened."""
    async with make_world(quota=QuotaSettings(rate_per_minute=3)).serving() as world:
        for _ in range(3):
            async with listen(world):
                pass
        status, code, wait = await refused(world, http)
        assert (status, code) == (429, "stream_rate_limited")
        assert 1 <= wait <= 20
        assert world.sample(ADMISSIONS, result="rate") == 1


async def test_streams_are_admitted_while_the_quota_is_unavailable(make_world: MakeWorld, listen: Listen) -> None:
    """The failure is counted and the stream is served."""
    world, quota = make_world(), Quota()
    quota.unavailable = True
    world.replace(quota=quota)
    async with world.serving(), listen(world) as stream:
        await stream.event()
        await world.publish(ACME)
        assert (await stream.event()).id == "1"
    assert world.sample(ADMISSIONS, result="unavailable") == 1


async def test_open_streams_renew_their_leases(make_world: MakeWorld, listen: Listen, eventually: Eventually) -> None:
    """Leases are renewed at intervals, also for streams admitted without the quota; all are released at shutdown."""
    world, quota = (
        make_world(quota=QuotaSettings(lease=timedelta(milliseconds=30), life=timedelta(milliseconds=30))),
        Quota(),
    )
    world.replace(quota=quota)
    async with world.serving():
        quota.unavailable = True
        async with listen(world), listen(world), listen(world, GLOBEX):
            quota.unavailable = False
            await eventually(lambda: bool(quota.kept))
            kept = quota.kept[-1]
            assert (len(kept[ACME]), len(kept[GLOBEX])) == (2, 1)
            names = {name for each in kept.values() for name in each}
            await eventually(lambda: {ACME, GLOBEX} in quota.beats)
        await eventually(lambda: quota.left == names)
        await eventually(lambda: quota.kept[-1] == {})
        async with listen(world):
            pass
    assert quota.left == names | set(quota.entered)


class PassingTime:
    """A `sleep` that lets a clock pass instead, and calls `meanwhile` before each return."""

    def __init__(self, clock: ManualClock, meanwhile: Callable[[], Awaitable[None]], *, sleeps: int) -> None:
        self._clock = clock
        self._meanwhile = meanwhile
        self._sleeps = sleeps
        self.over = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        """Sleep, unless there was enough of it."""
        if self._sleeps == 0:
            self.over.set()
            await asyncio.Event().wait()
        self._sleeps -= 1
        self._clock.advance(timedelta(seconds=seconds))
        await self._meanwhile()


class FailsEverySecondTime(MemoryStreamQuota):
    """A quota that loses every second renewal."""

    _renewals = 0

    async def keep(self, leases: Leases) -> None:
        """See StreamQuota."""
        self._renewals += 1
        if self._renewals % 2:
            raise EventBusUnavailableError("quota")
        await super().keep(leases)


@pytest.mark.parametrize("quota_class", [MemoryStreamQuota, FailsEverySecondTime])
async def test_a_place_is_kept_until_its_stream_ends(
    make_world: MakeWorld, quota_class: type[MemoryStreamQuota]
) -> None:
    """For twenty renewals no other stream gets it, also where single renewals fail; then it is free at once."""
    clock, policy = ManualClock(AT), QuotaPolicy(rate_per_minute=0, concurrent=1, lease=timedelta(seconds=45))
    quota = quota_class(clock, policy)
    admitted: list[bool] = []

    async def open_another() -> None:
        admitted.append(await quota.enter(ACME, f"other {len(admitted)}") is None)

    time = PassingTime(clock, open_another, sleeps=20)
    leases = StreamLeases(quota, make_world().metrics, policy=policy, sleep=time)
    with await leases.acquire(ACME):
        renewing = asyncio.create_task(leases.run())
        await time.over.wait()
        assert admitted == [False] * 20
    renewing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await renewing
    await open_another()
    assert admitted[-1]


def test_the_fake_quota_satisfies_the_port() -> None:
    """The type checker compares the methods."""
    quota: StreamQuota = Quota()
    assert quota
