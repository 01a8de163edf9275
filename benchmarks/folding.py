"""Processor time that an event takes in Python alone: verify it, translate it, and fold it over the memory adapters.

Without HTTP and without a database, in one process. Every figure is the lowest of all batches, in microseconds per
event: it hardly depends on what else the machine does. Folding contains the memory adapters.
`python benchmarks/folding.py --help` lists the options.
"""

import argparse
import asyncio
import gc
import json
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Final

from deployment import WEBHOOK_SECRET
from ingest import TENANTS, Traffic

from billing_core.events import Claim, ProviderEvent
from billing_core.model import BillingRules
from billing_core.state.rules import RulesBook
from billing_core.state.service import BillingService
from billing_memory.clock import SystemClock
from billing_memory.database import MemoryDatabase
from billing_memory.inbox.event_inbox import MemoryEventInbox
from billing_memory.state.repository import MemoryRepository
from billing_stripe.signature import StripeWebhookVerifier
from billing_stripe.testing import sign
from billing_stripe.translate import StripeTranslator

_LEASE: Final = timedelta(hours=1)


async def measure(batches: int, size: int) -> dict[str, float]:
    """Measure batches of events of known subscriptions."""
    clock, traffic, translator = SystemClock(), Traffic(), StripeTranslator()
    verifier = StripeWebhookVerifier([WEBHOOK_SECRET], tolerance=_LEASE, clock=clock)
    database = MemoryDatabase()
    inbox = MemoryEventInbox(database, clock)
    service = BillingService(
        unit_of_work=MemoryRepository(database, clock), translator=translator, rules=RulesBook(BillingRules())
    )

    async def claim(event: ProviderEvent) -> Claim:
        receipt = await inbox.record(event, lease=_LEASE)
        assert receipt.claim is not None
        return receipt.claim

    spent: defaultdict[str, list[float]] = defaultdict(list)
    known = -(-TENANTS // size)  # batches until every subscription is known
    for number in range(known + batches):
        for table in (database.tables.dispatch, database.tables.messages, database.outbox):
            table.clear()  # so that they do not grow
        gc.collect()
        now = datetime.now(UTC)
        signed = [(body, sign(body, WEBHOOK_SECRET, now)) for body in traffic.bodies(size)]
        began = time.process_time()
        events = [verifier.verify(body, signature) for body, signature in signed]
        verified = time.process_time()
        claims = [await claim(event) for event in events]
        claimed = time.process_time()
        read = [(claim.without_body(), translator.translate(claim.event)) for claim in claims]
        translated = time.process_time()
        applied = await service.apply(read)
        folded = time.process_time()
        if len(applied.outcomes) < size:
            raise RuntimeError("not every event was applied")
        if number >= known:
            spent["verify"].append(verified - began)
            spent["translate"].append(translated - claimed)
            spent["fold"].append(folded - translated)
    return {name: round(min(seconds) / size * 1e6, 1) for name, seconds in spent.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--batches", type=int, default=100, help="batches that are measured (default 100)")
    arguments.add_argument("--size", type=int, default=100, help="events per batch (default 100)")
    options = arguments.parse_args()
    gc.disable()
    print(json.dumps(asyncio.run(measure(options.batches, options.size)), indent=2))


if __name__ == "__main__":
    main()
