"""Kinds of values: each describes what it accepts, and reads a value or reports its faults."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from enum import Enum
from typing import Any, Final, Generic, Protocol, TypeVar

import attrs

from billing_app.settings.parsers import UnusableValueError, parse_duration
from billing_app.settings.rules.document import Node, key_text, value_text
from billing_app.troubleshooting import CatalogTrouble

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


class NoDefault:
    """The base of kinds whose values have no default to show."""

    __slots__ = ()

    def show(self, _value: object) -> str:
        """Write nothing."""
        return ""


def refuse(node: Node, kind: Kind[Any], reason: UnusableValueError | None = None) -> None:
    """Report that a value is not of a kind, with an example of one that is."""
    name = node.path[-1] if node.path else ""
    example = f"{key_text(name)} = {kind.example}" if isinstance(name, str) else kind.example
    because = "" if reason is None else f": {reason}"
    trouble = None if reason is None else reason.trouble
    node.refuse(
        f"is {value_text(node.value)}, which cannot be used{because}",
        f"It takes {kind.expects}, for example {example}.",
        trouble or CatalogTrouble.TOML_VALUE_IS_INVALID,
    )


def refuse_unknown(node: Node, known: Collection[str]) -> None:
    """Report the keys of a table that are not among the known ones."""
    for name in node.value:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            remedy = f"Did you mean {close[0]}?" if close else "Remove it."
            keys = f"The keys here are {', '.join(known)}."
            node.child(name).refuse("is not a known key", f"{remedy} {keys}", CatalogTrouble.TOML_KEY_IS_UNKNOWN)


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
            refuse(node, self, exc if isinstance(exc, UnusableValueError) else None)
            return None

    def show(self, value: T | None) -> str:
        """Write a value as TOML."""
        if value is None:
            return ""
        return json.dumps(value) if self.write is None else self.write(value)


@attrs.frozen
class Entries(NoDefault, Generic[T]):
    """A table whose keys are some of a few names, with values of one kind."""

    names: tuple[str, ...]
    inner: Kind[T]

    @property
    def expects(self) -> str:
        """A description of the accepted values."""
        return f"a table of {', '.join(self.names)}, each {self.inner.expects}"

    @property
    def example(self) -> str:
        """An accepted value, as TOML."""
        return f"{{ {self.names[0]} = {self.inner.example} }}"

    def read(self, node: Node) -> Mapping[str, T] | None:
        """Return the values by name, but for those with faults."""
        if not isinstance(node.value, dict):
            refuse(node, self)
            return None
        refuse_unknown(node, self.names)
        read = {name: self.inner.read(node.child(name)) for name in self.names if name in node.value}
        return {name: value for name, value in read.items() if value is not None}


@attrs.frozen
class ListOf(NoDefault, Generic[T]):
    """An array of values of one kind. A single value stands for an array of one."""

    inner: Scalar[T]

    @property
    def expects(self) -> str:
        """A description of the accepted values."""
        return f"{self.inner.expects}, or an array of them"

    @property
    def example(self) -> str:
        """An accepted value, as TOML."""
        return f"[{self.inner.example}]"

    def read(self, node: Node) -> tuple[T, ...] | None:
        """Return the values, but for those with faults."""
        elements = node.elements if isinstance(node.value, list) else (node,)
        read = [self.inner.read(each) for each in elements]
        return tuple(value for value in read if value is not None)


def choice(kind: type[E], *, leave_out: E | None = None) -> Scalar[E]:
    """Accept the values of an enumeration, but for one."""
    inner = word(*(member.value for member in kind if member is not leave_out))
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


def matching(pattern: str, expects: str, example: str) -> Scalar[str]:
    """Accept texts that match a pattern as a whole."""

    def convert(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return Scalar(str, expects, json.dumps(example), convert)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as exc:
        raise UnusableValueError(str(exc)) from exc
    return text


def read_name(node: Node, kind: Scalar[T]) -> T | None:
    """Read the name of a value, which a team chooses, or report its faults."""
    return kind.read(attrs.evolve(node, value=node.path[-1]))


TEXT: Final = matching(r"\s*\S.*", "text", "Pro")
FLAG: Final = Scalar(bool, "true or false", "true", bool)
PATTERN: Final = Scalar(str, "a regular expression for the whole text", '"[a-z0-9-]{3,64}"', _pattern)


def _value_of(member: Enum) -> str:
    return json.dumps(member.value)


def _in_hours(span: timedelta) -> str:
    return f'"{span / timedelta(hours=1):g}h"'
