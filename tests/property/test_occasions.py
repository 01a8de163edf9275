"""Occasions in any order: the same ones are known in the end, and those that cannot be over are all announced."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.histories.deployment import Deployment, Event, deployed
from tests.histories.stripe import DECEMBER, NOVEMBER, OCTOBER, Span, day, invoice, item, line, sent, subscription
from tests.property.choices import scaled

from billing_memory.database import MemoryDatabase

TRIAL = Span(day("2026-09-17"), OCTOBER.start)
_TRIALING = subscription("trialing", item(period=TRIAL), trial=TRIAL, created_at=TRIAL.start)
_OCTOBER = subscription("active", item(period=OCTOBER), trial=TRIAL, created_at=TRIAL.start)
_NOVEMBER = subscription("past_due", trial=TRIAL, created_at=TRIAL.start)
_DECEMBER = subscription("active", item(period=DECEMBER), trial=TRIAL, created_at=TRIAL.start)
_LATE = {"invoice_id": "in_2", "created_at": DECEMBER.start}
_FAILED = invoice(attempt_count=1)
STORY: Sequence[Event] = (
    sent("customer.subscription.created", _TRIALING, TRIAL.start),
    sent("customer.subscription.trial_will_end", _TRIALING, "2026-09-28"),
    sent("customer.subscription.trial_will_end", _TRIALING, "2026-09-28 00:00:01"),
    sent("customer.subscription.updated", _OCTOBER, OCTOBER.start, before=_TRIALING),
    sent("customer.subscription.updated", _NOVEMBER, NOVEMBER.start, before=_OCTOBER),
    sent("invoice.finalized", invoice(), "2026-11-01 01:00"),
    sent("invoice.payment_failed", _FAILED, "2026-11-01 01:01"),
    sent("invoice.payment_action_required", _FAILED, "2026-11-01 01:01"),
    sent("invoice.payment_failed", _FAILED, "2026-11-02 01:01"),
    sent("invoice.paid", invoice("paid", amount_paid=2000, attempt_count=2), "2026-11-03"),
    sent("customer.subscription.updated", _DECEMBER, DECEMBER.start, before=_NOVEMBER),
    sent(
        "invoice.payment_failed",
        invoice("open", line("il_2", period=DECEMBER), attempt_count=1, **_LATE),
        "2026-12-01 01:01",
    ),
)
ALWAYS = {
    f"subscription.renewed:sub_1:{int(NOVEMBER.start.timestamp())}",
    f"invoice.payment_failed:in_2:1:{int(day('2026-12-01 01:01').timestamp())}",
}
"""The month that was paid, and the failure of an invoice that is still open."""
OVER = {
    f"subscription.trial_ending:sub_1:{int(TRIAL.end.timestamp())}",
    f"invoice.payment_failed:in_1:1:{int(day('2026-11-01 01:01').timestamp())}",
    f"invoice.payment_failed:in_1:1:{int(day('2026-11-02 01:01').timestamp())}",
    f"invoice.payment_action_required:in_1:1:{int(day('2026-11-01 01:01').timestamp())}",
}
"""Occasions that the end of the story has overtaken: whether they are announced depends on the order."""


@settings(max_examples=scaled(40), deadline=None)
@given(st.lists(st.sampled_from(STORY), max_size=6).flatmap(lambda again: st.permutations([*STORY, *again])))
def test_every_order_knows_the_same_occasions(arrivals: Sequence[Event]) -> None:
    """Each is announced at most once, and one that is not over exactly once."""
    known, announced = asyncio.run(_play(arrivals))
    assert known.keys() == ALWAYS | OVER
    assert all(known[key] is not None for key in ALWAYS)
    by_type = Counter(key.split(":")[0] for key, sequence in known.items() if sequence is not None)
    assert {type_: announced[type_] for type_ in by_type} == by_type
    assert len({sequence for sequence in known.values() if sequence is not None}) == sum(by_type.values())


def test_the_order_of_the_provider_announces_all() -> None:
    """Nothing is over when it happens."""
    known, _ = asyncio.run(_play(STORY))
    assert all(sequence is not None for sequence in known.values())


async def _play(arrivals: Sequence[Event]) -> tuple[Mapping[str, int | None], Counter[str]]:
    """Return the occasions with the numbers of their messages, and how many messages of each type there are."""
    async with deployed(now=day("2026-12-02")) as deployment:
        await deployment.receive(*arrivals)
        counted = Counter((await deployment.tenant()).message_types)
        return {key: sequence for (_, key), sequence in _database(deployment).tables.occasions.items()}, counted


def _database(deployment: Deployment) -> MemoryDatabase:
    database: MemoryDatabase = deployment.container.unit_of_work()._database
    return database
