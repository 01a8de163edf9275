"""The cost of "may this tenant use this feature?", in memory and in time, with 100,000 tenants kept.

Every tenant is asked for in random order, for features of every kind, beside a dict lookup of the same tenants in the
same order. Nothing waits: the answers come from `Entitlements.allows_cached`. Memory is what the process grew by.
`python benchmarks/entitlements.py --help` lists the options.
"""

import argparse
import asyncio
import gc
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import attrs

from billing_core.entitlements.cache import CachePolicy
from billing_core.entitlements.loading import EntitlementLoader
from billing_core.entitlements.service import Entitlements
from billing_core.model import (
    BillingRules,
    ItemId,
    Period,
    Plan,
    PlanFeature,
    PlanPrice,
    PriceId,
    TenantId,
    TenantState,
)
from billing_core.state.rules import RulesBook
from billing_core.testing.builders import invoice, item, subscription, usage
from billing_memory.clock import SystemClock
from billing_memory.database import MemoryDatabase
from billing_memory.state.repository import MemoryRepository
from billing_memory.stream.bus import MemoryEventBus

MOST_MICROSECONDS: Final = 20.0
MOST_MEGABYTES: Final = 150.0
_FEATURES: Final = ("exports", "projects", "members", "api_calls", "no_such_feature")
_PAGE: Final = 4096
_CALLS_TIMED: Final = 50


def _plans() -> Sequence[Plan]:
    def plan(code: str, size: int) -> Plan:
        return Plan(
            plan_code=code,
            prices=(PlanPrice(price_id=PriceId(f"price_{code}"), role="seat"),),
            features=(
                PlanFeature(key="exports"),
                PlanFeature(key="sso", enabled=size > 1),
                PlanFeature(key="projects", limit=10 * size),
                PlanFeature(key="members", limit=3, per_seat=True),
                PlanFeature(key="api_calls", metered=True, included=10_000 * size),
                PlanFeature(key="mails", metered=True, included=100 * size, enforcement="hard", reset="day"),
            ),
        )

    return [plan("starter", 1), plan("pro", 2), plan("max", 10)]


class Tenants(MemoryRepository):
    """States that are made when they are read: each tenant has a period, seats and usage of its own."""

    def __init__(self) -> None:
        super().__init__(MemoryDatabase(), SystemClock())
        self._now = datetime.now(UTC)

    async def state(self, tenant_id: TenantId) -> TenantState:
        """Return the state of a tenant: one in ten is past due, one in ten has a scheduled end."""
        draw = random.Random(tenant_id)
        code = draw.choice(["starter", "starter", "pro", "max"])
        start = self._now - timedelta(seconds=draw.randrange(86400 * 28))
        period = Period(start=start, end=start + timedelta(days=30))
        fields: dict[str, Any] = {}
        kind = draw.randrange(10)
        if kind == 0:
            fields["status"] = "past_due"
        elif kind == 1:
            fields["cancel_at_period_end"] = True
        seats = draw.randrange(1, 200)
        price = PriceId(f"price_{code}")
        items = (item(ItemId("si_1"), price_id=price, quantity=seats, period=period),)
        held = subscription("sub_1", tenant_id, items=items, plan_code=code, price_id=price, seat_count=seats, **fields)
        billed = usage(
            tenant_id=tenant_id, quantity=Decimal(draw.randrange(30_000)), period=Period(start=start, end=start)
        )
        return TenantState(
            tenant_id=tenant_id,
            sequence=draw.randrange(1, 1000),
            as_of=self._now,
            subscriptions=(held,),
            invoices=(invoice(tenant_id=tenant_id, failed_at=(start,)),) if kind == 0 else (),
            usage=(billed,),
        )


@attrs.frozen(kw_only=True)
class Measured:
    """The figures of one run; times in microseconds."""

    tenants: int
    megabytes: float
    bytes_per_tenant: float
    answer: float
    """The median; of fifty answers in a row each, since one takes little longer than reading the clock."""
    answer_p99: float
    answer_cpu: float
    """The mean processor time, which others on the machine change little."""
    lookup: float
    """The median of a dict with the same tenants, in the same order."""
    read_and_compile: float
    """The first question about a tenant, without a database."""


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE


def _timed(
    call: Callable[[TenantId, str], object], questions: Sequence[tuple[TenantId, str]]
) -> tuple[Sequence[float], float]:
    """Return microseconds per call of slices of the questions, and the processor time per call of all."""
    found, begun_cpu = [], time.thread_time_ns()
    for start in range(0, len(questions), _CALLS_TIMED):
        some = questions[start : start + _CALLS_TIMED]
        begun = time.perf_counter_ns()
        for tenant_id, feature in some:
            call(tenant_id, feature)
        found.append((time.perf_counter_ns() - begun) / 1000 / len(some))
    return found, (time.thread_time_ns() - begun_cpu) / 1000 / len(questions)


async def measure(count: int) -> Measured:
    """Fill a cache with so many tenants, and ask for each of them."""
    book = RulesBook(BillingRules(plans=tuple(_plans())))
    loader = EntitlementLoader(reader=Tenants(), rules=book)
    policy = CachePolicy(capacity=count, live_for=timedelta(hours=1))
    service = Entitlements(loader=loader, bus=MemoryEventBus(), policy=policy)
    await service.allows(TenantId("warm-up"), "exports")
    following = asyncio.create_task(service.run())
    await asyncio.sleep(0.1)
    tenants = [TenantId(f"tenant-{number:06}") for number in range(count)]
    before, begun = _resident(), time.perf_counter()
    for tenant_id in tenants:
        await service.allows(tenant_id, "exports")
    filled = time.perf_counter() - begun
    grown = _resident() - before

    random.Random(7).shuffle(tenants)
    questions = [(tenant_id, _FEATURES[number % len(_FEATURES)]) for number, tenant_id in enumerate(tenants)]
    unanswered = [each for each in questions if service.allows_cached(*each) is None]
    if unanswered:
        raise RuntimeError(f"{len(unanswered)} tenants were not kept")
    table = {tenant_id: number for number, tenant_id in enumerate(tenants)}
    lookups, _ = _timed(lambda tenant_id, _feature: table.get(tenant_id), questions)
    answers, cpu = _timed(service.allows_cached, questions)
    following.cancel()
    return Measured(
        tenants=count,
        megabytes=round(grown / 1e6, 1),
        bytes_per_tenant=round(grown / count),
        answer=round(statistics.median(answers), 2),
        answer_p99=round(statistics.quantiles(answers, n=100)[-1], 2),
        answer_cpu=round(cpu, 2),
        lookup=round(statistics.median(lookups), 2),
        read_and_compile=round(filled / count * 1e6, 1),
    )


def main() -> None:
    """Measure, print the figures, and fail if a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenants", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    found = asyncio.run(measure(options.tenants))
    if options.json:
        print(json.dumps(attrs.asdict(found)))
    else:
        print(f"{found.tenants:,} tenants: {found.megabytes} MB, {found.bytes_per_tenant:,.0f} bytes each")
        print(f"answer: median {found.answer} µs, p99 {found.answer_p99} µs, {found.answer_cpu} µs of processor time")
        print(f"dict lookup: median {found.lookup} µs")
        print(f"first question: {found.read_and_compile} µs, without a database")
    scaled_megabytes = MOST_MEGABYTES * options.tenants / 100_000
    if found.answer > MOST_MICROSECONDS or found.megabytes > scaled_megabytes:
        raise SystemExit(f"over {MOST_MICROSECONDS} µs or {scaled_megabytes:g} MB")


if __name__ == "__main__":
    main()
