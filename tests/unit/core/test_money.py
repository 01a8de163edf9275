"""Amounts formatted for display."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.model import Money


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1999, "usd", "19.99 USD"),
        (5, "usd", "0.05 USD"),
        (0, "eur", "0.00 EUR"),
        (-350, "usd", "-3.50 USD"),
        (1999, "jpy", "1,999 JPY"),
        (1999, "bhd", "1.999 BHD"),
        (123456789, "usd", "1,234,567.89 USD"),
        (2**63 - 1, "usd", "92,233,720,368,547,758.07 USD"),
    ],
)
def test_the_point_stands_where_the_currency_has_it(amount: int, currency: str, text: str) -> None:
    """Two digits, none or three; credits are negative; 64-bit amounts stay exact."""
    assert str(Money(amount=amount, currency=currency)) == text


@pytest.mark.parametrize("currency", ["USD", "us", "usdx", "us1", ""])
def test_a_currency_is_three_lower_case_letters(currency: str) -> None:
    """Anything else is a mistake at the edge."""
    with pytest.raises(ValueError, match="currency"):
        Money(amount=1, currency=currency)


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from(["usd", "jpy", "bhd"]))
def test_no_digit_is_lost(amount: int, currency: str) -> None:
    """Without its punctuation the text is the amount."""
    number, _ = str(Money(amount=amount, currency=currency)).split()
    assert int(number.replace(",", "").replace(".", "")) == amount
