"""Format amounts for display. Stored and compared amounts stay integers in the currency's minor unit."""

from decimal import Decimal

import attrs
from attrs.validators import instance_of, matches_re

# Source: https://docs.stripe.com/currencies#zero-decimal and #three-decimal. ISK and UGX are sent with two decimals.
_ZERO_DECIMAL = frozenset({"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv"}) | {
    "xaf",
    "xof",
    "xpf",
}
_THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})


def decimals(currency: str) -> int:
    """Return the number of digits behind the decimal point: 2 for usd, 0 for jpy, 3 for bhd."""
    if currency in _ZERO_DECIMAL:
        return 0
    return 3 if currency in _THREE_DECIMAL else 2


@attrs.frozen(kw_only=True)
class Money:
    """An amount in the minor unit of its currency: 1999 usd is $19.99, 1999 jpy is ¥1999. May be negative (credits)."""

    amount: int = attrs.field(validator=instance_of(int))
    currency: str = attrs.field(validator=matches_re(r"[a-z]{3}"))

    def __str__(self) -> str:
        """The amount with its point and upper-case code, `19.99 USD`: unambiguous in every locale."""
        digits = decimals(self.currency)
        return f"{Decimal(self.amount).scaleb(-digits):,.{digits}f} {self.currency.upper()}"
