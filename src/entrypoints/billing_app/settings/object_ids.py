"""Ids of Stripe's prices and products, told from those of other objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from billing_app.secret import mask_inside
from billing_app.settings.parsers import UnusableValueError
from billing_app.troubleshooting import CatalogTrouble

_KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "acct": "an account",
        "cus": "a customer",
        "evt": "an event",
        "in": "an invoice",
        "mtr": "a meter",
        "price": "a price",
        "prod": "a product",
        "si": "a subscription item",
        "sub": "a subscription",
        "we": "a webhook endpoint",
    }
)
_ASSIGNED: Final = re.compile(rf"({'|'.join(_KINDS)})_[A-Za-z0-9]{{14,}}")
"""Ids that Stripe has assigned. Old prices (plans) and products may have any other id, such as `in_house`."""


def check_price_id(text: str) -> str:
    """Return the id if it can be one of a price. Raises UnusableValueError."""
    return _check(text, wanted="price", never="prod")


def check_product_id(text: str) -> str:
    """Return the id if it can be one of a product. Raises UnusableValueError."""
    return _check(text, wanted="prod", never="price")


def _check(text: str, *, wanted: str, never: str) -> str:
    if not text or any(character.isspace() for character in text):
        raise UnusableValueError("it is blank or has spaces")
    assigned = _ASSIGNED.fullmatch(text)
    found = never if text.startswith(f"{never}_") else assigned[1] if assigned else wanted
    if found != wanted:
        reason = f"it is the id of {_KINDS[found]}, not of {_KINDS[wanted]}"
        raise UnusableValueError(reason, CatalogTrouble.PRICE_ID_IS_OF_ANOTHER_KIND)
    if mask_inside(text) != text:
        raise UnusableValueError("it is a secret", CatalogTrouble.PRICE_ID_IS_OF_ANOTHER_KIND)
    return text
