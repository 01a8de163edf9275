"""Metered usage, as far as billing needs it."""

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account

UsageReader = Callable[[Account, str, objects.Price, objects.Span], int | Decimal]
"""Returns the usage of a customer that a metered price bills for a period."""

_NAME = "usage"


def read_usage_with(account: Account, reader: UsageReader) -> None:
    """Take the usage from a function instead of from meters."""
    account.settings[_NAME] = reader


def usage_of(account: Account, customer_id: str, price: objects.Price, period: objects.Span) -> int | Decimal:
    """Return what is billed for a customer's usage in a period; never less than zero, as at Stripe."""
    reader: UsageReader = account.settings.get(_NAME, _metered)
    return max(0, reader(account, customer_id, price, period))


def events_in(
    account: Account, meter: objects.Meter, customer_id: str, period: objects.Span
) -> Iterator[objects.MeterEvent]:
    """Yield the valid events of a customer in a period, those received last first."""
    for event in account.all(objects.MeterEvent):
        of_customer = (event.meter_id, event.customer_id) == (meter.meter_id, customer_id)
        if of_customer and not event.canceled and period.start <= event.used_at < period.end:
            yield event


def aggregated(meter: objects.Meter, events: Iterable[objects.MeterEvent]) -> Decimal:
    """Return the usage that events, those received last first, make up."""
    found = list(events)
    if meter.formula == "count":
        return Decimal(len(found))
    if meter.formula == "last":
        return max(found, key=lambda event: event.used_at).value if found else Decimal(0)
    return sum((event.value for event in found), Decimal(0))


def _metered(account: Account, customer_id: str, price: objects.Price, period: objects.Span) -> Decimal:
    """Return what the meter of a price has recorded; zero without one."""
    meter = account.find(objects.Meter, price.meter_id)
    if meter is None:
        return Decimal(0)
    return aggregated(meter, events_in(account, meter, customer_id, period))
