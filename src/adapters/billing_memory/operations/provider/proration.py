"""Proration: a part of a period costs a part of its price, by the second."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import attrs

from billing_core.model import ItemSnapshot, Period


@attrs.frozen
class ProratedItem:
    """One item for the rest of its period: credited, or charged."""

    item: ItemSnapshot
    amount: int
    rest: Period | None
    """None if nothing of the period is left."""


def prorated(before: Sequence[ItemSnapshot], after: Sequence[ItemSnapshot], at: datetime) -> Iterator[ProratedItem]:
    """Yield a credit and a charge for each licensed item that is another one afterwards."""
    was = {item.item_id: item for item in before}
    becomes = {item.item_id: item for item in after}
    for item_id in sorted(was.keys() | becomes.keys()):
        old, new = was.get(item_id), becomes.get(item_id)
        if old == new:
            continue
        for item, sign in ((old, -1), (new, 1)):
            if item is not None and item.period is not None and item.usage_type == "licensed":
                yield _rest(item, item.period, at, sign)


def _rest(item: ItemSnapshot, period: Period, at: datetime, sign: int) -> ProratedItem:
    begins = max(at, period.start)
    share = max(0.0, (period.end - begins) / (period.end - period.start))
    amount = sign * round((item.unit_amount or 0) * (item.quantity or 0) * share)
    return ProratedItem(item, amount, Period(start=begins, end=period.end) if share else None)
