"""Kinds of values: each describes what it accepts, and reads a value or reports its faults."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from typing import Any, Final, Generic, Protocol, TypeVar

import attrs

from billing_app.settings.parsers import UnusableValueError, parse_duration
from billing_app.settings.rules.document import Node, key_text, value_text

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
E = TypeVar("E", bound=Enum)


class Kind(Protocol[T_co]):
    """A kind of value."""

    @property
    def expects(self) -> str:
        """A description of the accepted values."""
        ...

    @property
    def example(self) -> str:
        """An accepted value, as TOML."""
        ...

    def read(self, node: Node) -> T_co | None:
        """Return the value, or report every fault in it and return None."""
        ...

    def show(self, value: Any) -> str:
        """Write a value as TOML, for the reference; empty for one that stands for nothing."""
        ...


def refuse(node: Node, kind: Kind[Any], reason: str = "") -> None:
    """Report that a value is not of a kind, with an example of one that is."""
    name = node.path[-1] if node.path else ""
    example = f"{key_text(name)} = {kind.example}" if isinstance(name, str) else kind.example
    because = f": {reason}" if reason else ""
    node.refuse(
        f"is {value_text(node.value)}, which cannot be used{because}",
        f"It takes {kind.expects}, for example {example}.",
    )


@attrs.frozen
class Scalar(Generic[T]):
    """A value of one TOML type.

    `convert` raises ValueError for a value that cannot be used, or UnusableValueError with a reason to show.
    """

    type: type[Any]
    expects: str
    example: str
    convert: Callable[[Any], T]
    write: Callable[[T], str] | None = None
    """The inverse of `convert`, as TOML; by default the value itself is written."""

    def read(self, node: Node) -> T | None:
        """Return the converted value."""
        # Not isinstance: a Boolean is an integer to Python, but not to the reader of a file.
        if type(node.value) is not self.type:
            refuse(node, self)
            return None
        try:
            return self.convert(node.value)
        except ValueError as exc:
            refuse(node, self, str(exc) if isinstance(exc, UnusableValueError) else "")
            return None

    def show(self, value: T | None) -> str:
        """Write a value as TOML."""
        if value is None:
            return ""
        return json.dumps(value) if self.write is None else self.write(value)


def choice(kind: type[E]) -> Scalar[E]:
    """Accept the values of an enumeration."""
    inner = word(*(member.value for member in kind))
    return Scalar(str, inner.expects, inner.example, lambda text: kind(inner.convert(text)), _value_of)


def word(*words: str) -> Scalar[Any]:
    """Accept one of some words."""

    def convert(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return Scalar(str, f"one of {', '.join(words)}", f'"{words[0]}"', convert)


def whole(minimum: int, maximum: int, example: int) -> Scalar[int]:
    """Accept whole numbers of a range."""

    def convert(number: int) -> int:
        if not minimum <= number <= maximum:
            raise ValueError
        return number

    return Scalar(int, f"a whole number from {minimum} to {maximum}", str(example), convert)


def days(maximum: int, example: int) -> Scalar[timedelta]:
    """Accept a number of days."""
    inner = whole(0, maximum, example)

    def convert(number: int) -> timedelta:
        return timedelta(days=inner.convert(number))

    return Scalar(int, f"days from 0 to {maximum}", inner.example, convert, lambda span: str(span.days))


def duration(maximum: str, example: str) -> Scalar[timedelta]:
    """Accept a duration with its unit."""
    longest = parse_duration(maximum)

    def convert(text: str) -> timedelta:
        found = parse_duration(text)
        if found is None or longest is None or found > longest:
            raise ValueError
        return found

    return Scalar(str, f"a duration (s, m, h, d, w) of at most {maximum}", f'"{example}"', convert, _in_hours)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as exc:
        raise UnusableValueError(str(exc)) from exc
    return text


PATTERN: Final = Scalar(str, "a regular expression for the whole text", '"[a-z0-9-]{3,64}"', _pattern)


def _value_of(member: Enum) -> str:
    return json.dumps(member.value)


def _in_hours(span: timedelta) -> str:
    return f'"{span / timedelta(hours=1):g}h"'
