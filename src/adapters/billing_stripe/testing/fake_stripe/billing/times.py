"""Instants and periods of billing."""

import calendar
from datetime import datetime, timedelta

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account

_MONTHS = {"month": 1, "year": 12}
_DAYS = {"day": 1, "week": 7}


def now_on(account: Account, test_clock_id: str | None) -> datetime:
    """Return the time on a test clock, or the account's for None."""
    clock = account.find(objects.Clock, test_clock_id)
    return account.now if clock is None else clock.frozen_at


def later(start: datetime, interval: str, count: int) -> datetime:
    """Return the instant that is so many intervals later; the last day of a month if the day does not exist there."""
    if interval in _DAYS:
        return start + timedelta(days=_DAYS[interval] * count)
    months = start.year * 12 + start.month - 1 + _MONTHS[interval] * count
    year, month = divmod(months, 12)
    return start.replace(year=year, month=month + 1, day=min(start.day, calendar.monthrange(year, month + 1)[1]))


def period_at(anchor: datetime, price: objects.Price, at: datetime) -> objects.Span:
    """Return the period of a price that contains an instant: periods begin at the anchor and repeat in both directions.

    The anchor keeps its day: from the 31st of January they begin on the 28th of February and the 31st of March.
    """
    step = 0
    while later(anchor, price.interval, step * price.interval_count) > at:
        step -= 1
    while (end := later(anchor, price.interval, (step + 1) * price.interval_count)) <= at:
        step += 1
    return objects.Span(later(anchor, price.interval, step * price.interval_count), end)


def longer_than(first: objects.Price, second: objects.Price) -> bool:
    """Return whether the interval of one price is longer than the other's."""
    return later(objects.LONG_AGO, first.interval, first.interval_count) > later(
        objects.LONG_AGO, second.interval, second.interval_count
    )
