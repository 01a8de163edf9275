"""Metered usage, as far as billing needs it."""

from collections.abc import Callable

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account

UsageReader = Callable[[Account, str, objects.Price, objects.Span], int]
"""Returns the usage of a customer that a metered price bills for a period."""

_NAME = "usage"


def read_usage_with(account: Account, reader: UsageReader) -> None:
    """Set the source of usage. Without one, all usage is zero."""
    account.settings[_NAME] = reader


def usage_of(account: Account, customer_id: str, price: objects.Price, period: objects.Span) -> int:
    """Return the usage of a customer in a period."""
    reader: UsageReader | None = account.settings.get(_NAME)
    return 0 if reader is None else reader(account, customer_id, price, period)
