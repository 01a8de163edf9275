"""Processor time of an event by the number of subscriptions that its tenant has beside the one it shows. Linux only.

The others are of one plan, and all ended or all active. Events come alone, each in a batch of its own, as in
statements.py: of the database's session and of Python, without HTTP and without a bus. Every figure is the tenth
percentile, in microseconds; the tenants take turns, so that drift of the machine affects all of them.
`python benchmarks/tenants.py --help` lists the options.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import load
from deployment import folder, migrate
from ingest import Traffic
from statements import Batches, Session

from billing_core.model import (
    BillingRules,
    CustomerId,
    ItemId,
    ItemSnapshot,
    Period,
    PriceId,
    Provenance,
    SubscriptionId,
    SubscriptionSnapshot,
    TenantId,
    TenantSubscription,
)
from billing_core.state.ports import Changes
from billing_core.state.rules import RulesBook
from billing_core.state.service import BillingService
from billing_embedded import embedded_servers
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository
from billing_stripe.translate import StripeTranslator

START = datetime(2025, 1, 1, tzinfo=UTC)
WARM_UP = 20
"""Events of each tenant that are not measured."""


def others(tenant: int, count: int, *, ended: bool) -> Sequence[TenantSubscription]:
    """Return subscriptions of a tenant whose periods began one after the other."""
    return [_other(tenant, number, START + timedelta(hours=number), ended=ended) for number in range(count)]


def _other(tenant: int, number: int, began: datetime, *, ended: bool) -> TenantSubscription:
    price_id = PriceId("price_pro")
    base = ItemSnapshot(
        item_id=ItemId(f"si_{tenant}_{number}"),
        price_id=price_id,
        quantity=1,
        period=Period(start=began, end=began + timedelta(days=31)),
    )
    seen = SubscriptionSnapshot(
        subscription_id=SubscriptionId(f"sub_{tenant}_{number}"),
        customer_id=CustomerId(f"cus_bench{tenant:06d}"),
        status="canceled" if ended else "active",
        ended_at=began if ended else None,
        items=(base,),
        price_id=price_id,
    )
    stamp = Provenance(observed_at=began, event_ids=(f"evt_{tenant}_{number}",))
    return TenantSubscription(tenant_id=TenantId(f"tenant-{tenant}"), snapshot=seen, provenance=stamp)


async def measure(counts: Sequence[int], events: int) -> dict[str, dict[str, float]]:
    """Measure a tenant of its own for each kind and number of other subscriptions, beside one without others."""
    cases = [(f"{count} {kind}", count, kind == "ended") for kind in ("ended", "active") for count in counts]
    cases.insert(0, ("none", 0, False))
    with folder() as data:
        async with embedded_servers(data) as urls:
            await migrate(urls)
            database = Database(url=urls.database_url)
            async with (
                await database.open_pool(size=1, min_size=1) as pool,
                await database.open_pool(size=1) as other_pool,
                PostgresEventInbox(database, other_pool) as inbox,
            ):
                repository = PostgresRepository(database, pool)
                service = BillingService(
                    unit_of_work=repository, translator=StripeTranslator(), rules=RulesBook(BillingRules())
                )
                for tenant, (_, count, ended) in enumerate(cases):
                    async with repository.transaction() as transaction:
                        await transaction.lock_tenants([TenantId(f"tenant-{tenant}")])
                        await transaction.save(Changes(subscriptions=others(tenant, count, ended=ended)))
                await pool.execute("ANALYZE")
                session = Session(await pool.fetchval("SELECT pg_backend_pid()"))
                batches = Batches(inbox, Traffic(range(len(cases))))
                return await _measure(service, batches, session, [name for name, _, _ in cases], events)


async def _measure(
    service: BillingService, batches: Batches, session: Session, names: Sequence[str], events: int
) -> dict[str, dict[str, float]]:
    sessions: dict[str, list[float]] = {name: [] for name in names}
    pythons: dict[str, list[float]] = {name: [] for name in names}
    for number in range((WARM_UP + events) * len(names)):
        batch = await batches.next(1)
        before, python_before = session.spent(), time.thread_time()
        applied = await service.apply(batch)
        spent, python_spent = session.spent() - before, (time.thread_time() - python_before) * 1e6
        if len(applied.events) < 1:
            raise RuntimeError("the event was not applied")
        if number >= WARM_UP * len(names):
            name = names[int(applied.events[0].tenant_id.removeprefix("tenant-"))]
            sessions[name].append(spent)
            pythons[name].append(python_spent)
    results = {name: (_p10(sessions[name]), _p10(pythons[name])) for name in names}
    least = sum(results[names[0]])
    return {
        name: {"session_us": of_session, "python_us": of_python, "ratio": round((of_session + of_python) / least, 2)}
        for name, (of_session, of_python) in results.items()
    }


def _p10(values: Sequence[float]) -> int:
    return round(statistics.quantiles(values, n=10)[0])


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--others", type=int, nargs="+", default=[1, 100, 1_000], help="other subscriptions")
    arguments.add_argument("--events", type=int, default=200, help="events of each tenant (default 200)")
    options = arguments.parse_args()
    print(json.dumps(await measure(options.others, options.events), indent=2))


if __name__ == "__main__":
    load.run(main())
