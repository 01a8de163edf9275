"""Processor time of one batch: of the database's session, statement by statement, and of Python. Linux only.

Events of known subscriptions are applied in this process, over one connection, without HTTP and without a bus. Every
figure is the tenth percentile of all batches, in microseconds: it hardly depends on what else the machine does. A
statement's time contains its planning; the session's, begin and commit as well.
`python benchmarks/statements.py --help` lists the options.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import load
from deployment import WEBHOOK_SECRET, folder, migrate
from ingest import TENANTS, Traffic

from billing_core.events import Claim, Translation
from billing_core.model import BillingRules
from billing_core.state.rules import RulesBook
from billing_core.state.service import BillingService
from billing_embedded import embedded_servers
from billing_memory.clock import SystemClock
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository
from billing_postgres.state.transaction import PostgresTransaction
from billing_stripe.signature import StripeWebhookVerifier
from billing_stripe.testing import sign
from billing_stripe.translate import StripeTranslator

_LEASE: Final = timedelta(hours=1)


class Session:
    """Processor time of one session of the database, in all and by statement, in microseconds."""

    def __init__(self, pid: int) -> None:
        self._stat = Path(f"/proc/{pid}/schedstat")
        self.by_statement: defaultdict[str, list[float]] = defaultdict(list)

    def spent(self) -> float:
        """Return the session's processor time so far."""
        return int(self._stat.read_text(encoding="ascii").split()[0]) / 1000

    def watch(self) -> None:
        """Note what each statement of a unit of work takes."""
        fetch = PostgresTransaction._fetch

        async def watched(transaction: PostgresTransaction, query: str, *arguments: object) -> object:
            before = self.spent()
            found = await fetch(transaction, query, *arguments)
            self.by_statement[query].append(self.spent() - before)
            return found

        PostgresTransaction._fetch = watched


class Batches:
    """Batches of claimed and translated events."""

    def __init__(self, inbox: PostgresEventInbox, traffic: Traffic) -> None:
        self._inbox = inbox
        self._traffic = traffic
        self._verifier = StripeWebhookVerifier([WEBHOOK_SECRET], tolerance=_LEASE, clock=SystemClock())
        self._translator = StripeTranslator()

    async def next(self, size: int) -> Sequence[tuple[Claim, Translation]]:
        """Store some events, and return them as intake hands them over."""
        now = datetime.now(UTC)
        bodies = list(self._traffic.bodies(size))
        events = [self._verifier.verify(body, sign(body, WEBHOOK_SECRET, now)) for body in bodies]
        receipts = await asyncio.gather(*(self._inbox.record(event, lease=_LEASE) for event in events))
        claims = [receipt.claim for receipt in receipts if receipt.claim is not None]
        return [(claim.without_body(), self._translator.translate(claim.event)) for claim in claims]


async def measure(sizes: Sequence[int], events: int) -> dict[int, dict[str, object]]:
    """Measure every size on the same tables."""
    with folder() as data:
        async with embedded_servers(data) as urls:
            await migrate(urls)
            database = Database(url=urls.database_url)
            async with (
                await database.open_pool(size=1, min_size=1) as pool,
                await database.open_pool(size=1) as others,
                PostgresEventInbox(database, others) as inbox,
            ):
                service = BillingService(
                    unit_of_work=PostgresRepository(database, pool),
                    translator=StripeTranslator(),
                    rules=RulesBook(BillingRules()),
                )
                batches = Batches(inbox, Traffic())
                for _ in range(10):  # so that every subscription is known
                    await service.apply(await batches.next(TENANTS // 10))
                session = Session(await pool.fetchval("SELECT pg_backend_pid()"))
                session.watch()
                return {size: await _measure_one(service, batches, session, size, events) for size in sizes}


async def _measure_one(
    service: BillingService, batches: Batches, session: Session, size: int, events: int
) -> dict[str, object]:
    session.by_statement.clear()
    sessions, pythons = [], []
    for _ in range(max(40, events // size)):
        batch = await batches.next(size)
        before, python_before = session.spent(), time.thread_time()
        applied = await service.apply(batch)
        sessions.append(session.spent() - before)
        pythons.append((time.thread_time() - python_before) * 1e6)
        if len(applied.events) < size:
            raise RuntimeError("not every event was applied")
    return {
        "session_us_per_event": _p10(sessions) / size,
        "python_us_per_event": _p10(pythons) / size,
        "statements_us_per_batch": {name: _p10(spent) for name, spent in session.by_statement.items()},
    }


def _p10(values: Sequence[float]) -> int:
    return round(statistics.quantiles(values, n=10)[0])


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sizes", type=int, nargs="+", default=[1, 8, 32, 60], help="events per batch")
    arguments.add_argument("--events", type=int, default=400, help="events at each size (default 400)")
    options = arguments.parse_args()
    print(json.dumps(await measure(options.sizes, options.events), indent=2))


if __name__ == "__main__":
    load.run(main())
