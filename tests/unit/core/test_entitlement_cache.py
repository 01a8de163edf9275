"""Entitlements in memory: what the bus tells, what the clock says, and what happens when either is away."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import attrs
import pytest
from tests.unit.core.entitlement_doubles import Bus, Register, Store, eventually, rules

from billing_core.entitlements.cache import CachePolicy
from billing_core.entitlements.loading import EntitlementLoader
from billing_core.entitlements.service import EntitlementReport, Entitlements
from billing_core.errors import StoreUnavailableError
from billing_core.model import (
    BillingRules,
    FeatureReason,
    Freshness,
    Plan,
    PlanFeature,
    RulesInForce,
    TenantId,
)
from billing_core.state.ports import Changes
from billing_core.state.rules import RulesBook
from billing_core.testing.arrange import save
from billing_core.testing.builders import ACME, AT, GLOBEX, message, subscription
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_memory.entitlements.usage_meter import MemoryUsageMeter
from billing_memory.state.repository import MemoryRepository

POLICY = CachePolicy(
    capacity=3,
    live_for=timedelta(seconds=60),
    polled_for=timedelta(seconds=2),
    stale_for=timedelta(minutes=15),
    patience=timedelta(milliseconds=50),
    rules_every=timedelta(milliseconds=10),
)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def reports() -> list[EntitlementReport]:
    return []


@pytest.fixture
async def service(store: Store, bus: Bus, reports: list[EntitlementReport]) -> AsyncIterator[Entitlements]:
    """A service whose loops run."""
    loader = EntitlementLoader(reader=store, rules=RulesBook(BillingRules(), Register(store)))
    service = Entitlements(loader=loader, bus=bus, policy=POLICY, elapsed=lambda: store.elapsed, observe=reports.append)
    running = asyncio.create_task(service.run())
    yield service
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.fixture
async def followed(service: Entitlements, bus: Bus, store: Store) -> Entitlements:
    """The same once it follows the bus and has read one tenant."""
    await service.allows(GLOBEX, "exports")
    await bus.say()
    await service.allows(ACME, "exports")
    store.readings.clear()
    return service


async def test_the_first_question_reads_and_later_ones_do_not(followed: Entitlements, store: Store) -> None:
    """With the bus, a tenant is read once."""
    first = await followed.allows(ACME, "projects", 5)
    assert (first.allowed, first.reason, first.freshness) == (True, FeatureReason.INCLUDED, Freshness.LIVE)
    assert followed.allows_cached(ACME, "projects", 6) == await followed.allows(ACME, "projects", 6)
    assert await followed.remaining(ACME, "projects") == 5
    assert (await followed.entitlements(ACME)).tenant_id == ACME
    assert store.readings == []


@pytest.mark.parametrize(("used", "allowed"), [(4, True), (5, False)])
async def test_a_question_without_a_quantity_is_about_one_more(
    followed: Entitlements, used: int, allowed: bool
) -> None:
    """Of five projects, the fifth may be created and the sixth may not."""
    assert (await followed.allows(ACME, "projects", used=used)).allowed is allowed
    cached = followed.allows_cached(ACME, "projects", used=used)
    assert cached is not None
    assert cached.allowed is allowed


async def test_a_tenant_that_was_not_read_has_no_answer_without_waiting(followed: Entitlements) -> None:
    """The caller decides whether to wait."""
    assert followed.allows_cached(TenantId("initech"), "exports") is None


async def test_a_message_makes_its_tenant_outdated_and_no_other(followed: Entitlements, store: Store, bus: Bus) -> None:
    """The next question after the message reads the new state."""
    await bus.say(store.change(ACME, "canceled"))
    assert followed.allows_cached(ACME, "exports") is None
    assert (await followed.allows(ACME, "exports")).reason is FeatureReason.ACCESS_BLOCKED
    assert store.readings == [ACME]


async def test_a_message_that_was_read_already_changes_nothing(followed: Entitlements, store: Store, bus: Bus) -> None:
    """The number of the state says so."""
    await bus.say(message(ACME, store.sequences[ACME]))
    assert followed.allows_cached(ACME, "exports") is not None


async def test_a_change_during_a_reading_is_not_lost(followed: Entitlements, store: Store, bus: Bus) -> None:
    """A message that arrives while an older state is on its way makes it be read again."""
    await bus.say(store.change(ACME, "unpaid"))
    store.gate = asyncio.Event()
    asked = asyncio.create_task(followed.allows(ACME, "exports"))
    await eventually(lambda: store.readings == [ACME])
    await bus.say(store.change(ACME, "canceled"))
    store.gate.set()
    await asked  # stale if its patience is over
    await eventually(lambda: store.readings == [ACME, ACME])
    verdict = await followed.allows(ACME, "exports")
    assert (verdict.reason, verdict.sequence) == (FeatureReason.ACCESS_BLOCKED, 3)
    assert store.readings == [ACME, ACME]


@pytest.mark.parametrize("ends", ["canceled", "failed"])
async def test_an_abandoned_reading_is_no_fault_of_the_event_loop(
    service: Entitlements, store: Store, ends: str
) -> None:
    """All who asked have gone when it ends. The loop would log its error with a traceback."""
    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    store.gate, store.unavailable = asyncio.Event(), True
    asked = asyncio.create_task(service.allows(ACME, "exports"))
    await eventually(lambda: store.readings == [ACME])
    asked.cancel()
    await asyncio.wait([asked])
    (reading,) = (task for task in asyncio.all_tasks() if task.get_name() == "entitlements")
    if ends == "canceled":
        reading.cancel()
    else:
        store.gate.set()
    await asyncio.wait([reading])
    del asked, reading
    gc.collect()
    assert faults == []


async def test_messages_may_have_been_missed(followed: Entitlements, store: Store, bus: Bus) -> None:
    """After an empty batch, every tenant is read again two seconds after its last reading."""
    store.change(ACME, "canceled")
    await bus.say()
    store.elapsed += 1.9
    known = followed.allows_cached(ACME, "exports")
    assert known is not None
    assert (known.allowed, known.freshness) == (True, Freshness.POLLED)
    store.elapsed += 0.2
    assert followed.allows_cached(ACME, "exports") is None
    assert not (await followed.allows(ACME, "exports")).allowed


async def test_a_change_without_a_message_counts_after_a_minute(followed: Entitlements, store: Store) -> None:
    """As after a replay in silence."""
    store.change(ACME, "canceled")
    store.elapsed += 59.9
    assert (await followed.allows(ACME, "exports")).allowed
    store.elapsed += 0.2
    assert not (await followed.allows(ACME, "exports")).allowed


async def test_without_the_bus_an_answer_is_two_seconds_old_at_most(
    followed: Entitlements, store: Store, bus: Bus
) -> None:
    """The state is read again, and the answer says so."""
    await bus.fail()
    store.change(ACME, "canceled")
    store.elapsed += 1.9
    known = await followed.allows(ACME, "exports")
    assert (known.allowed, known.freshness) == (True, Freshness.POLLED)
    store.elapsed += 0.2
    read = await followed.allows(ACME, "exports")
    assert (read.allowed, read.freshness) == (False, Freshness.POLLED)


async def test_once_the_bus_is_back_states_are_read_again_and_kept(
    followed: Entitlements, store: Store, bus: Bus
) -> None:
    """A state that was read without the bus is not trusted for longer because of it."""
    await bus.fail()
    await bus.say()
    assert followed.allows_cached(ACME, "exports") is not None  # read a moment ago
    store.elapsed += 3
    assert followed.allows_cached(ACME, "exports") is None
    assert (await followed.allows(ACME, "exports")).freshness is Freshness.LIVE
    store.elapsed += 30
    assert followed.allows_cached(ACME, "exports") is not None


async def test_other_rules_count_for_every_tenant(followed: Entitlements, store: Store) -> None:
    """A process notices rules that another one put in force without any message."""
    store.rules = RulesInForce(rules(limit=9), 2)
    await eventually(lambda: followed.allows_cached(ACME, "projects") is None)
    assert (await followed.allows(ACME, "projects")).limit == 9


async def test_the_last_known_state_answers_while_the_database_is_unavailable(
    followed: Entitlements, store: Store, bus: Bus
) -> None:
    """For fifteen minutes from its reading, and each answer says that it is stale; then it is an error."""
    await bus.fail()
    store.unavailable = True
    store.elapsed += 10
    verdict = await followed.allows(ACME, "exports")
    assert (verdict.allowed, verdict.freshness, verdict.stale) == (True, Freshness.STALE, True)
    store.elapsed += 15 * 60
    with pytest.raises(StoreUnavailableError):
        await followed.allows(ACME, "exports")
    with pytest.raises(StoreUnavailableError):
        await followed.allows(TenantId("initech"), "exports")


async def test_an_unavailable_database_is_asked_once_a_second(followed: Entitlements, store: Store, bus: Bus) -> None:
    """Other questions are answered from what is known, without waiting."""
    await bus.fail()
    store.unavailable = True
    store.elapsed += 10
    for _ in range(20):
        assert (await followed.allows(ACME, "exports")).stale
    assert store.readings == [ACME]
    store.unavailable = False
    store.elapsed += 1.5
    assert not (await followed.allows(ACME, "exports")).stale


async def test_a_database_that_does_not_answer_holds_up_a_known_tenant_for_a_moment_only(
    followed: Entitlements, store: Store, bus: Bus
) -> None:
    """The last known state answers, and the reading ends by itself."""
    await bus.say(store.change(ACME, "canceled"))
    store.gate = asyncio.Event()
    assert (await followed.allows(ACME, "exports")).stale
    store.gate.set()
    await eventually(lambda: followed.allows_cached(ACME, "exports") is not None)
    found = followed.allows_cached(ACME, "exports")
    assert found is not None
    assert not found.allowed


async def test_many_questions_about_one_tenant_are_one_reading(followed: Entitlements, store: Store) -> None:
    """All wait for the same answer, also if the one who asked first gives up."""
    store.gate = asyncio.Event()
    initech = TenantId("initech")
    asked = [asyncio.create_task(followed.allows(initech, "exports")) for _ in range(50)]
    await eventually(lambda: store.readings == [initech])
    asked[0].cancel()
    store.gate.set()
    verdicts = await asyncio.gather(*asked[1:])
    assert store.readings == [initech]
    assert len(verdicts) == 49


async def test_the_tenant_asked_for_the_longest_ago_makes_room(followed: Entitlements) -> None:
    """The number of tenants in memory is bounded; an answer from memory counts as asking."""
    await followed.allows(TenantId("three"), "exports")
    assert followed.allows_cached(GLOBEX, "exports") is not None
    await followed.allows(TenantId("four"), "exports")
    assert followed.allows_cached(ACME, "exports") is None
    for tenant_id in (GLOBEX, TenantId("three"), TenantId("four")):
        assert followed.allows_cached(tenant_id, "exports") is not None


async def test_a_state_that_stays_behind_its_messages_is_not_kept_as_current(
    followed: Entitlements, store: Store
) -> None:
    """As on a replica that lags: the question is answered, and the next one reads again."""
    store.gate = asyncio.Event()
    asked = asyncio.create_task(followed.allows(TenantId("initech"), "exports"))
    await eventually(lambda: store.readings == [TenantId("initech")])
    followed.hear(TenantId("initech"), 99)
    store.gate.set()
    assert (await asked).sequence < 99
    assert len(store.readings) == 3
    assert followed.allows_cached(TenantId("initech"), "exports") is None


async def test_time_passes_by_the_stores_clock(followed: Entitlements, store: Store) -> None:
    """The instant of a decision is that of the reading and the time since, whatever this machine's clock says."""
    store.elapsed += 30
    found = await followed.found(ACME)
    assert found.now - found.entitlements.as_of == timedelta(seconds=30)


async def test_the_age_of_a_state_counts_from_its_reading(followed: Entitlements, store: Store, bus: Bus) -> None:
    """The time that it took to arrive is part of it: by then changes may have been committed."""
    await bus.fail()
    initech = TenantId("initech")
    store.takes = 1.5
    found = await followed.found(initech)
    assert found.now - found.entitlements.as_of == timedelta(seconds=1.5)
    store.elapsed += 0.4
    assert followed.allows_cached(initech, "exports") is not None
    store.elapsed += 0.2
    assert followed.allows_cached(initech, "exports") is None


async def test_a_stale_answer_is_for_the_instant_after_the_wait(followed: Entitlements, store: Store, bus: Bus) -> None:
    """Ends count at their instant, whatever the database does; and a state that grew too old meanwhile is none."""
    await bus.fail()
    store.unavailable, store.takes = True, 1.0
    store.elapsed += 10
    found = await followed.found(ACME)
    assert (found.now - found.entitlements.as_of, found.freshness) == (timedelta(seconds=11), Freshness.STALE)
    store.elapsed += 15 * 60 - 11.5
    with pytest.raises(StoreUnavailableError):
        await followed.found(ACME)


async def test_nothing_is_followed_before_the_first_question(service: Entitlements, bus: Bus) -> None:
    """A process that never asks costs the bus nothing."""
    await bus.script.put(())
    await asyncio.sleep(0.02)
    assert not bus.script.empty()
    await service.allows(ACME, "exports")
    await eventually(bus.script.empty)


async def test_readings_and_stale_answers_are_reported_and_other_answers_are_not(
    followed: Entitlements, store: Store, bus: Bus, reports: list[EntitlementReport]
) -> None:
    """For metrics: what the database is asked, and whether it answers."""
    reports.clear()
    await followed.allows(ACME, "exports")
    assert reports == []
    await bus.say(store.change(ACME, "canceled"))
    await followed.allows(ACME, "exports")
    await bus.say(store.change(ACME, "active"))
    store.unavailable = True
    await followed.allows(ACME, "exports")
    await followed.allows(ACME, "exports")
    assert [each.result for each in reports] == ["read", "failed", "stale", "stale"]
    assert {each.kept for each in reports} == {2}


async def test_a_meter_counts_in_place_of_billed_usage() -> None:
    """It is asked for the windows of this tenant's metered features, when the tenant is read."""
    at = AT + timedelta(days=1)
    database, clock = MemoryDatabase(), ManualClock(at)
    repository, meter = MemoryRepository(database, clock), MemoryUsageMeter({"api_calls"})
    features = tuple(PlanFeature(key=key, metered=True, included=10) for key in ("api_calls", "mails"))
    plans = (attrs.evolve(Plan.of_prices("pro", base=["price_pro"]), features=features),)
    await save(repository, Changes(subscriptions=[subscription()]))
    meter.record(ACME, "api_calls", 4, at)
    meter.record(ACME, "api_calls", 4, AT - timedelta(days=1))
    loader = EntitlementLoader(reader=repository, rules=RulesBook(BillingRules(plans=plans)), meter=meter)
    found = await loader.load(ACME)
    assert [found.allows(key, at).remaining for key in ("api_calls", "mails")] == [6, 10]
    without = EntitlementLoader(reader=repository, rules=RulesBook(BillingRules(plans=plans)))
    assert (await without.load(ACME)).allows("api_calls", at).remaining == 10
