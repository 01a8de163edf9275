"""Reading of foreign JSON: every value has the requested type, or is None and noted."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Final, TypeVar

from billing_core.model import CustomerId, Metadata, Period, TenantId

T = TypeVar("T")

_NOTHING: Final[Mapping[str, object]] = {}
_MAX_TEXT = 5_000
_MAX_IDENTIFIER = 255
"""Source: https://docs.stripe.com/upgrades#what-changes-does-stripe-consider-to-be-backward-compatible"""
_END_OF_TIME = 32_503_680_000
"""The year 3000: later than any real date, and still safe to add days to."""
_EXACT = Context(prec=40)
"""More digits than any number that is read has."""
_LEAST, _MOST = -(2**63), 2**63 - 1
_DIGITS = len(str(_MOST))
_DECIMAL = re.compile(r"-?[0-9]{1,19}(?:\.[0-9]{1,20})?")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""A Postgres text can contain neither NUL nor a lone surrogate."""


def fits(number: int) -> bool:
    """Tell whether a number fits into a 64-bit column."""
    return _LEAST <= number <= _MOST


def _is_storable(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT and _UNSTORABLE.search(value) is None


class Reader:
    """One JSON object, read by field name. Null and absent are the same; a value that cannot be read is None.

    Fields of an unexpected type are noted, and so are those that `required` misses. Notes are names of places in the
    provider's schema (`invoice.lines.period`), never content, so that they can be metric labels.
    """

    __slots__ = ("_key", "_missing", "_object", "_owner")

    def __init__(
        self, shown: Mapping[str, object], key: str, missing: list[str], owner: "Reader | None" = None
    ) -> None:
        self._object = shown
        self._key = key
        self._missing = missing
        self._owner = owner

    def __contains__(self, key: str) -> bool:
        return self._object.get(key) is not None

    @property
    def _place(self) -> str:
        """Return the path of the object; composed only when something is missing."""
        return self._key if self._owner is None else f"{self._owner._place}.{self._key}"

    def note(self, key: str) -> None:
        """Note a field as missing."""
        self._missing.append(f"{self._place}.{key}")

    def required(self, key: str, value: T | None) -> T | None:
        """Return the value, and note the field if there is none."""
        if value is None:
            self.note(key)
        return value

    def child(self, key: str) -> "Reader":
        """Return the object in a field, or an empty one."""
        value = self._object.get(key)
        if isinstance(value, dict):
            return Reader(value, key, self._missing, self)
        if value is not None:
            self.note(key)
        return Reader(_NOTHING, key, self._missing, self)

    def is_of(self, kind: str) -> bool:
        """Tell whether `type` names this kind, or none: it decides which of several details of an object count."""
        return self.word("type") in (kind, None)

    def details(self, kind: str) -> "Reader":
        """Return the details of a kind, or an empty object if `type` names another kind."""
        return self.child(kind) if self.is_of(kind) else Reader(_NOTHING, kind, self._missing, self)

    def children(self, key: str) -> "list[Reader]":
        """Return the objects of a list."""
        value = self._object.get(key)
        if not isinstance(value, list):
            if value is not None:
                self.note(key)
            return []
        members = [Reader(member, key, self._missing, self) for member in value if isinstance(member, dict)]
        if len(members) < len(value):
            self.note(key)
        return members

    def text(self, key: str) -> str | None:
        """Return free text, made storable and cut at a length that no real field reaches."""
        value = self._object.get(key)
        if isinstance(value, str):
            if len(value) <= _MAX_TEXT and value.isprintable():
                return value
            return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value[:_MAX_TEXT])
        if value is not None:
            self.note(key)
        return None

    def word(self, key: str) -> str | None:
        """Return an identifier or a word of an open set, verbatim: a repaired one would be a different one."""
        value = self._object.get(key)
        if value is None:  # asked first: of the words of an object most are null
            return None
        if isinstance(value, str) and 0 < len(value) <= _MAX_IDENTIFIER and value.isprintable():
            return value
        self.note(key)
        return None

    def reference(self, key: str) -> str | None:
        """Return the id of another object, which may be expanded in place."""
        value = self._object.get(key)
        if value is None:
            return None
        return self.child(key).word("id") if isinstance(value, dict) else self.word(key)

    def currency(self, key: str) -> str | None:
        """Return a lower-case ISO 4217 code."""
        value = self._object.get(key)
        if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isalpha() and value.islower():
            return value
        if value is not None:
            self.note(key)
        return None

    def integer(self, key: str) -> int | None:
        """Return an integer that fits into a 64-bit column; booleans are not integers."""
        value = self._object.get(key)
        if type(value) is int and _LEAST <= value <= _MOST:
            return value
        if value is not None:
            self.note(key)
        return None

    def decimal(self, key: str) -> Decimal | None:
        """Return a decimal number that is written as text and whose integer fits into a 64-bit column.

        Equal numbers are equal texts: trailing zeros are left out.
        """
        value = self._object.get(key)
        if value is None:
            return None
        if isinstance(value, str) and _DECIMAL.fullmatch(value) and _LEAST < (number := Decimal(value)) < _MOST:
            return number.normalize(_EXACT)
        self.note(key)
        return None

    def fraction(self, key: str) -> Decimal | None:
        """Return a decimal number if it has a fraction: an integer has a field of its own."""
        value = self._object.get(key)
        if isinstance(value, str) and len(value) < _DIGITS and value.isascii() and value.isdigit():
            return None
        exact = self.decimal(key)
        return None if exact is None or exact == exact.to_integral_value() else exact

    def amount(self, key: str) -> int:
        """Return an amount that the object always has, in the minor unit; 0, and noted, if it is missing."""
        value = self._object.get(key)
        if type(value) is int and _LEAST <= value <= _MOST:
            return value
        self.note(key)
        return 0

    def flag(self, key: str) -> bool | None:
        """Return a boolean."""
        value = self._object.get(key)
        if value is None or isinstance(value, bool):
            return value
        self.note(key)
        return None

    def instant(self, key: str) -> datetime | None:
        """Return the instant of a Unix timestamp in whole seconds."""
        value = self._object.get(key)
        if value is None:
            return None
        if type(value) is int and 0 <= value < _END_OF_TIME:
            return datetime.fromtimestamp(value, UTC)
        self.note(key)
        return None

    def period(self, start_key: str, end_key: str) -> Period | None:
        """Return a period if both of its ends are there."""
        start, end = self.instant(start_key), self.instant(end_key)
        if start is None or end is None:
            return None
        if end < start:
            self.note(end_key)
            return None
        return Period(start=start, end=end)

    def customer(self) -> CustomerId | None:
        """Return the customer of the object, which may be named as an account of its own."""
        customer = self.reference("customer") or self.reference("customer_account")
        return None if customer is None else CustomerId(customer)

    def tenant(self, key: str) -> TenantId | None:
        """Return the text that a field gives as a tenant id. Whether it can be one is decided by `TenantRules`."""
        value = self._object.get(key)
        if isinstance(value, str) and value:
            return TenantId(value[:_MAX_TEXT])
        if value is not None:
            self.note(key)
        return None

    def metadata(self) -> Metadata:
        """Return the metadata of the object. What is noted never contains a key: merchants choose them."""
        value = self._object.get("metadata")
        if not value:
            return ()
        if not isinstance(value, dict):
            self.note("metadata")
            return ()
        pairs = [(key, text) for key, text in value.items() if _is_storable(key) and _is_storable(text)]
        if len(pairs) < len(value):
            self.note("metadata")
        return tuple(sorted(pairs))

    def tenant_in_metadata(self) -> TenantId | None:
        """Return the tenant that the metadata of the object names."""
        return self.child("metadata").tenant("tenant_id")
