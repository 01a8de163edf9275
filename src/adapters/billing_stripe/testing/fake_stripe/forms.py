"""Parameters of a request: decoding, and the forms that say what an endpoint accepts.

A form is declared once per endpoint and refuses everything that it does not name, with Stripe's messages:

    CREATE = Form(customer=Required(TEXT), items=Listed(Form(price=TEXT, quantity=INTEGER)), metadata=METADATA)

What it returns holds only the parameters that were given. A parameter that was emptied (`''`) is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol
from urllib.parse import parse_qsl

import attrs

from billing_stripe.testing.fake_stripe.errors import StripeError, invalid

Params = dict[str, Any]
Tree = dict[str, Any]

MAX_METADATA = (50, 40, 500)
"""Keys, characters of a key, characters of a value."""


def decode(encoded: str) -> Tree:
    """Decode `a[b][0][c]=1` into nested dicts of strings; `a[]=x` is given the next number as its key.

    Raises: StripeError where a name is used both for a value and for a group.
    """
    tree: Tree = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        *groups, last = _parts(name)
        node = tree
        for group in groups:
            child = node.setdefault(group or str(len(node)), {})
            if not isinstance(child, dict):
                raise invalid("Invalid request: a parameter is both a value and an object", param=name)
            node = child
        if isinstance(node.get(last), dict):
            raise invalid("Invalid request: a parameter is both a value and an object", param=name)
        node[last or str(len(node))] = value
    return tree


def _parts(name: str) -> list[str]:
    head, *rest = name.split("[")
    return [head, *(part.removesuffix("]") for part in rest)]


class Field(Protocol):
    """One parameter's type."""

    def read(self, value: Any, name: str) -> Any:
        """Return the value. Raises StripeError if it is not of this type."""
        ...


@attrs.frozen
class Text:
    """A string that is not empty."""

    longest: int = 5000

    def read(self, value: Any, name: str) -> str:
        """Return the string."""
        if not isinstance(value, str):
            raise invalid(f"Invalid string: {value}", param=name)
        if not value:
            raise _empty(name)
        if len(value) > self.longest:
            raise invalid(f"Invalid string: must be at most {self.longest} characters", param=name)
        return value


@attrs.frozen
class Integer:
    """An integer."""

    least: int | None = 0

    def read(self, value: Any, name: str) -> int:
        """Return the integer."""
        if value == "":
            raise _empty(name)
        try:
            number = int(value)
        except (TypeError, ValueError):
            raise invalid(f"Invalid integer: {value}", param=name, code="parameter_invalid_integer") from None
        if self.least is not None and number < self.least:
            message = f"This value must be greater than or equal to {self.least}."
            raise invalid(message, param=name, code="parameter_invalid_integer")
        return number


@attrs.frozen
class Number:
    """A decimal number."""

    def read(self, value: Any, name: str) -> Decimal:
        """Return the number."""
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite():
            raise invalid(f"Invalid decimal: {value}", param=name)
        return number


@attrs.frozen
class Boolean:
    """`true` or `false`."""

    def read(self, value: Any, name: str) -> bool:
        """Return True or False."""
        known = {"true": True, "false": False, True: True, False: False}
        if not isinstance(value, str | bool) or value not in known:
            raise invalid(f"Invalid boolean: {value}", param=name)
        return known[value]


@attrs.frozen
class Moment:
    """A Unix time in seconds."""

    def read(self, value: Any, name: str) -> datetime:
        """Return the instant, in UTC."""
        if value == "":
            raise _empty(name)
        try:
            return datetime.fromtimestamp(int(value), UTC)
        except (TypeError, ValueError, OverflowError, OSError):
            raise invalid(f"Invalid timestamp: {value}", param=name) from None


@attrs.frozen
class Instant:
    """A time as the second generation of the API writes it, in ISO 8601."""

    def read(self, value: Any, name: str) -> datetime:
        """Return the instant, in UTC."""
        try:
            at = datetime.fromisoformat(str(value))
        except ValueError:
            raise invalid(f"Invalid timestamp: {value}", param=name) from None
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


@attrs.frozen
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    def read(self, value: Any, name: str) -> str:
        """Return the word."""
        if value == "":
            raise _empty(name)
        if value not in self.words:
            *others, last = self.words
            shown = f"{', '.join(others)} or {last}" if others else last
            raise invalid(f"Invalid {name}: must be one of {shown}", param=name)
        return str(value)


@attrs.frozen
class Clearable:
    """A parameter that an empty string unsets: it is then None."""

    field: Field

    def read(self, value: Any, name: str) -> Any:
        """Return the field's value, or None."""
        return None if value in ("", None) else self.field.read(value, name)


@attrs.frozen
class Required:
    """A parameter that has to be given."""

    field: Field

    def read(self, value: Any, name: str) -> Any:
        """Return the field's value."""
        return self.field.read(value, name)


@attrs.frozen
class Listed:
    """An array."""

    field: Field
    longest: int | None = None

    def read(self, value: Any, name: str) -> list[Any]:
        """Return the members in order."""
        members = _members(value, name)
        if self.longest is not None and len(members) > self.longest:
            raise invalid(f"Array {name} exceeded maximum {self.longest} allowed elements.", param=name)
        return [self.field.read(member, f"{name}[{position}]") for position, member in enumerate(members)]


@attrs.frozen
class Either:
    """A word such as `now`, or else a value of another type."""

    words: tuple[str, ...]
    field: Field

    def read(self, value: Any, name: str) -> Any:
        """Return the word or the value."""
        return value if isinstance(value, str) and value in self.words else self.field.read(value, name)


@attrs.frozen
class Metadata:
    """Keys and texts. Returns None if all of it is unset; a single emptied key is None."""

    def read(self, value: Any, name: str) -> dict[str, str | None] | None:
        """Return the given keys."""
        if value == "":
            return None
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise invalid("Invalid object", param=name)
        keys, longest_key, longest_text = MAX_METADATA
        if len(value) > keys:
            raise invalid(f"Metadata can have up to {keys} keys", param=name)
        for key, text in value.items():
            if len(key) > longest_key or len(text) > longest_text:
                message = f"Metadata keys have up to {longest_key} and values up to {longest_text} characters"
                raise invalid(message, param=f"{name}[{key}]")
        return {key: text or None for key, text in value.items()}


@attrs.frozen
class Unsupported:
    """A parameter of Stripe's that the fake refuses, rather than ignores."""

    def read(self, value: Any, name: str) -> Any:
        """Raise StripeError."""
        raise invalid(f"FakeStripe does not support the parameter {name}.", param=name)


@attrs.frozen
class Anything:
    """A group of parameters that is accepted and kept as it came."""

    def read(self, value: Any, name: str) -> Any:
        """Return it."""
        return value


class Form:
    """A group of named parameters."""

    def __init__(self, **fields: Field) -> None:
        self.fields: Mapping[str, Field] = fields

    def with_fields(self, **fields: Field) -> Form:
        """Return a form that accepts these, too."""
        return Form(**self.fields, **fields)

    def read(self, value: Any, name: str = "") -> Params:
        """Return the given parameters."""
        if not isinstance(value, dict):
            raise invalid("Invalid object", param=name)
        unknown = [_nested(name, key) for key in value if key not in self.fields]
        if unknown:
            noun = "parameter" if len(unknown) == 1 else "parameters"
            message = f"Received unknown {noun}: {', '.join(unknown)}"
            raise invalid(message, param=unknown[0], code="parameter_unknown")
        for key, field in self.fields.items():
            if isinstance(field, Required) and key not in value:
                path = _nested(name, key)
                raise invalid(f"Missing required param: {path}.", param=path, code="parameter_missing")
        return {key: self.fields[key].read(given, _nested(name, key)) for key, given in value.items()}


TEXT = Text()
INTEGER = Integer()
NUMBER = Number()
BOOLEAN = Boolean()
MOMENT = Moment()
INSTANT = Instant()
METADATA = Metadata()
ANYTHING = Anything()
UNSUPPORTED = Unsupported()
_BOUNDS = Form(gt=MOMENT, gte=MOMENT, lt=MOMENT, lte=MOMENT)


@attrs.frozen
class Period:
    """A filter by time: one second, or bounds."""

    def read(self, value: Any, name: str) -> Params:
        """Return the bounds."""
        if isinstance(value, dict):
            return _BOUNDS.read(value, name)
        at = MOMENT.read(value, name)
        return {"gte": at, "lte": at}


def within(bounds: Params | None, at: datetime) -> bool:
    """Return whether an instant is within the bounds of a filter."""
    if not bounds:
        return True
    second = at.replace(microsecond=0)
    return (
        ("gt" not in bounds or second > bounds["gt"])
        and ("gte" not in bounds or second >= bounds["gte"])
        and ("lt" not in bounds or second < bounds["lt"])
        and ("lte" not in bounds or second <= bounds["lte"])
    )


def listing(**filters: Field) -> Form:
    """Return the form of a list: its filters, and the parameters of paging."""
    return Form(limit=Integer(least=None), starting_after=TEXT, ending_before=TEXT, **filters)


def unsupported(*names: str) -> dict[str, Field]:
    """Return parameters of Stripe's that the fake refuses by name."""
    return dict.fromkeys(names, UNSUPPORTED)


def choice(*words: str) -> Choice:
    """Return the type of a parameter that is one of these words."""
    return Choice(words)


def merged_metadata(before: Mapping[str, str], params: Params) -> dict[str, str]:
    """Return metadata after an update: given keys replace, emptied keys go, and an emptied whole goes as a whole."""
    if "metadata" not in params:
        return dict(before)
    given = params["metadata"]
    if given is None:
        return {}
    return {key: text for key, text in {**before, **given}.items() if text is not None}


def _nested(name: str, key: str) -> str:
    return f"{name}[{key}]" if name else key


def _members(value: Any, name: str) -> Sequence[Any]:
    """Return the members of an array: a JSON one, or a group with numbers for keys."""
    if isinstance(value, list):
        return value
    if value == "":
        return []
    if not isinstance(value, dict) or not all(key.isdecimal() for key in value):
        raise invalid("Invalid array", param=name)
    return [value[key] for key in sorted(value, key=int)]


def _empty(name: str) -> StripeError:
    return invalid(
        f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a parameter; however "
        f"'{name}' cannot be unset. You should remove '{name}' from your request or supply a non-empty value.",
        param=name,
        code="parameter_invalid_empty",
    )
