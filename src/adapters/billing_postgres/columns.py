"""The columns of a table, declared once: statements take their lists from here, and values their place in them.

A statement names a declaration and what it needs of it, as psql names its variables:

    INSERT INTO subscription_usage (:usage.names) SELECT :usage.values FROM unnest(:usage.arrays) AS t (:usage.names)

Source: docs/adr/0017-columns-declared-once.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

import asyncpg
import attrs

from billing_core.model import Period
from billing_core.model.time import end_of, start_of
from billing_postgres.text import plain_array, text_array

T = TypeVar("T")

_PLACEHOLDER: Final = re.compile(r"(?<!:):(\w+)\.(\w+)\b")
_ARGUMENT: Final = re.compile(r"\$(\d+)")
_PASSED: Final = ("parameters", "arrays", "keys")
"""The parts that stand for arguments."""
_LITERALS: Final[Mapping[str, Callable[[Sequence[Any]], str]]] = {
    "text": text_array,
    **dict.fromkeys(("boolean", "smallint", "int", "bigint"), plain_array),
}
"""The types whose arrays are sent as literals, and what writes these."""


@attrs.frozen
class Column(Generic[T]):
    """One column: its name, its SQL type, and what a value has in it."""

    name: str
    type: str
    get: Callable[[T], object] = attrs.field(repr=False)
    sent_as: str | None = None
    """The type of the argument where it is another one: an array of arrays cannot be passed as rows."""


class Columns(Generic[T]):
    """The columns that values of one kind are written to and read from."""

    def __init__(
        self,
        columns: Iterable[Column[T]],
        *,
        fixed: Collection[str] = (),
        usual: Mapping[str, bool | str] = MappingProxyType({}),
    ) -> None:
        """Declare columns.

        Args:
            columns: the columns, the key first.
            fixed: those that stay as they are when a row is written again, such as the key.
            usual: the values that columns without nulls nearly always have. They are not sent; see `arrays`.
        """
        self._columns = tuple(columns)
        # A number that comes first stays an array: by its length the planner knows how many rows there are.
        self._literals = [
            _LITERALS.get(column.type) if column.type == "text" or index else None
            for index, column in enumerate(self._columns)
        ]
        self._usual = [usual.get(column.name) for column in self._columns]
        self.names: Final = ", ".join(column.name for column in self._columns)
        """For the list of an INSERT or a SELECT."""
        self.values: Final = ", ".join(map(_value, self._columns, self._usual))
        """The same, each in the type of its column, with usual values where none were sent."""
        self.updates: Final = ", ".join(
            f"{column.name} = excluded.{column.name}" for column in self._columns if column.name not in fixed
        )
        """For the SET of an ON CONFLICT."""

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(self._columns)

    def row(self, value: T) -> Sequence[object]:
        """Return the arguments of `:….parameters`."""
        return [column.get(value) for column in self._columns]

    def arrays(self, values: Collection[T]) -> Sequence[Sequence[object]]:
        """Return the arguments of `:….arrays`: one array per column, with one element per value.

        A column that is null or has its usual value throughout is an empty array: `unnest` pads it to the length of the
        others, and `:….values` puts the usual value in place of null. The driver takes longest to encode what needs no
        encoding, and so most columns of a batch are not sent.

        Texts, numbers and flags are sent as the literal of their array. The driver asks of each element of an array
        whether it is an array itself, which takes three to ten times as long as its part of a literal.
        """
        arrays: list[Sequence[object]] = []
        for column, literal, usual in zip(self._columns, self._literals, self._usual, strict=True):
            elements = unless_usual([*map(column.get, values)], usual)
            arrays.append(elements if literal is None else literal(elements))
        return arrays

    def sql(self, part: str, *, after: int) -> str:  # noqa: PLR0911 - one return per part
        """Return what stands for a part in a statement that numbers `after` arguments itself.

        `array_of_…` stands for the array of one column, in a statement that uses `arrays`, too.
        """
        match part:
            case "names":
                return self.names
            case "values":
                return self.values
            case "updates":
                return self.updates
            case "parameters":
                return ", ".join(f"${number}" for number, _ in enumerate(self._columns, start=after + 1))
            case "arrays":
                return ", ".join(self._array(index, after) for index in range(len(self)))
            case "keys":
                return self._array(0, after)
            case _:
                arrays = {f"array_of_{column.name}": index for index, column in enumerate(self._columns)}
                if part in arrays:
                    return self._array(arrays[part], after)
        raise ValueError(f"columns have no {part}")

    def _array(self, index: int, after: int) -> str:
        column = self._columns[index]
        sent_as = f"{column.sent_as or column.type}[]"
        return f"${after + index + 1}::{sent_as if self._literals[index] is None else f'text::{sent_as}'}"


def unless_usual(elements: Sequence[object], usual: object = None) -> Sequence[object]:
    """Return the elements, or none if all of them are null or the usual one; mostly the first one tells."""
    if not elements or elements[0] != usual or elements.count(usual) < len(elements):
        return elements
    return ()


def _value(column: Column[Any], usual: bool | str | None) -> str:
    value = column.name if column.sent_as is None else f"{column.name}::{column.type}"
    if usual is None:
        return value
    literal = str(usual).lower() if isinstance(usual, bool) else f"'{usual}'"
    return f"coalesce({value}, {literal}::{column.type}) AS {column.name}"


def expand(statement: str, declared: Mapping[str, Columns[Any]]) -> str:
    """Put the declared columns in place of `:name.part`.

    Arguments of columns are numbered after those that the statement numbers itself, one declaration after the other.
    """
    after: dict[str, int] = {}
    taken = max(map(int, _ARGUMENT.findall(statement)), default=0)
    for name, part in _PLACEHOLDER.findall(statement):
        if part in _PASSED and name not in after:
            after[name], taken = taken, taken + len(declared[name])
    return _PLACEHOLDER.sub(lambda found: declared[found[1]].sql(found[2], after=after.get(found[1], 0)), statement)


class Fields:
    """Columns that hold fields of a value, or of one part of it, under the names of the fields."""

    def __init__(self, part: str | None = None, /, **types: str) -> None:
        """`part` is the attribute that has the fields; `types` are SQL types by the name of the field."""
        self._names = tuple(types)
        prefix = "" if part is None else f"{part}."
        self.columns: Final = tuple(
            Column[Any](name, type_, attrgetter(f"{prefix}{name}")) for name, type_ in types.items()
        )

    def read(self, row: asyncpg.Record | Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a row, as keyword arguments."""
        return self.by_name(map(row.__getitem__, self._names))

    def by_name(self, values: Iterable[Any]) -> dict[str, Any]:
        """Return the fields as keyword arguments from their values, in the order of the columns."""
        return dict(zip(self._names, values, strict=True))


def period_columns(path: str, *, start: str, end: str) -> Sequence[Column[Any]]:
    """Return the two columns of the period at an attribute's path."""
    period: Callable[[Any], Period | None] = attrgetter(path)
    return (
        Column(start, "timestamptz", lambda value: start_of(period(value))),
        Column(end, "timestamptz", lambda value: end_of(period(value))),
    )


def read_period(start: datetime | None, end: datetime | None) -> Period | None:
    """Return a period that was read, None where one of its ends is missing."""
    return None if start is None or end is None else Period(start=start, end=end)
