"""Lists of records for eyes and for programs: a table at a terminal, one record per line in a pipe, JSON and CSV.

A command declares its list once and takes the options that go with it:

    CONSUMERS = Listing("consumers", [Column("name", lambda each: each.name), …], to_json=consumer_to_json)

    @click.command(name="list")
    @CONSUMERS.options
    def list_(output: Output) -> None:
        output.show(found, nothing="There are no consumers.")
"""

from __future__ import annotations

import csv
import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

import attrs
import click

from billing_app.cli.terminal import plain, print_json
from billing_app.spans import span

T = TypeVar("T")
Part = str | int | bool | datetime | None
Cell = Part | Sequence[Part]
"""A value of a record; several parts are shown with spaces between them, moments among them in the chosen form."""

_FORMATS: Final = ("table", "tsv", "csv", "json", "ndjson")
_GAP: Final = "  "
_CUT: Final = 60
"""Characters of a cell in a table, if its column may be cut."""


@attrs.frozen
class Column(Generic[T]):
    """One value of each record.

    name: in the head of a table and of CSV, and for `--sort`. value: returns it. cut: whether a table may shorten it;
    the other forms have all of it. color: returns the color of the cell at a terminal. width: characters that it has at
    least in a table that grows.
    """

    name: str
    value: Callable[[T], Cell]
    cut: bool = attrs.field(default=False, kw_only=True)
    color: Callable[[T], str | None] | None = attrs.field(default=None, kw_only=True)
    width: int = attrs.field(default=0, kw_only=True)


@attrs.frozen
class Listing(Generic[T]):
    """A kind of list: its name in JSON, its columns, and a record as a JSON object."""

    name: str
    columns: Sequence[Column[T]]
    to_json: Callable[[T], Mapping[str, Any]]

    def options(self, command: Callable[..., Any]) -> Callable[..., Any]:
        """Add the options of lists to a command, which receives them as `output`."""
        names = [column.name for column in self.columns]

        @click.option(
            "--output",
            "form",
            type=click.Choice(_FORMATS),
            help="Form of the list. Default: table at a terminal, else tsv, one record per line.",
        )
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON object, as --output json does.")
        @click.option(
            "--sort",
            metavar="COLUMN",
            callback=functools.partial(_sorting, names),
            help=f"Sort what is listed: {', '.join(names)}; -COLUMN sorts downwards.",
        )
        @click.option("--utc", "zone", flag_value="utc", help="Show moments in UTC instead of how long ago they were.")
        @click.option("--local", "zone", flag_value="local", help="Show moments in the time zone of this machine.")
        @functools.wraps(command)
        def with_output(*, form: str | None, as_json: bool, sort: str | None, zone: str | None, **others: Any) -> Any:
            if as_json and form not in (None, "json"):
                raise click.UsageError("--json and --output cannot be combined.")
            chosen = "json" if as_json else form or ("table" if sys.stdout.isatty() else "tsv")
            return command(output=Output(self, form=chosen, sort=sort, zone=zone), **others)

        return with_output


def _sorting(names: Sequence[str], _ctx: click.Context, _param: click.Parameter, text: str | None) -> str | None:
    if text is not None and text.removeprefix("-") not in names:
        raise click.BadParameter(f"{text!r} is no column. The columns are {', '.join(names)}.")
    return text


@attrs.frozen
class Output(Generic[T]):
    """The chosen form of a list.

    form: table, tsv, csv, json or ndjson. sort: a column, with a minus to sort downwards. zone: utc, local, or None for
    relative times in a table and UTC elsewhere.
    """

    listing: Listing[T]
    form: str = attrs.field(kw_only=True)
    sort: str | None = attrs.field(default=None, kw_only=True)
    zone: str | None = attrs.field(default=None, kw_only=True)

    def show(
        self, records: Sequence[T], *, beside: Mapping[str, Any] | None = None, nothing: str | None = None
    ) -> None:
        """Print the records. Without one, `nothing` is said on standard error, so that a program reads an empty list.

        Args:
            records: in the order of the command; `--sort` changes it.
            beside: what JSON has beside the list, such as where the next page starts.
            nothing: the sentence for an empty list, unless it is JSON.
        """
        records = self._sorted(records)
        if self.form == "json":
            print_json({self.listing.name: [self.listing.to_json(each) for each in records], **(beside or {})})
            return
        self.lines(records)
        if not records and nothing is not None:
            click.echo(nothing, err=True)

    def lines(self, records: Sequence[T], *, head: bool = True, live: bool = False) -> None:
        """Print one record per line, as `--output` says; for JSON, an object per line.

        Args:
            records: in the order of the command.
            head: whether a table and CSV begin with the names of the columns.
            live: whether more lines will follow these ones in time.
        """
        if self.form in ("json", "ndjson"):
            for each in records:
                print_json(self.listing.to_json(each))
        elif self.form == "table":
            self._print_table(records, head=head, live=live)
        elif self.form == "csv":
            rows = csv.writer(sys.stdout, lineterminator="\n")
            if head:
                rows.writerow([column.name for column in self.listing.columns])
            rows.writerows([self._cells(each, empty="") for each in records])
        else:
            for each in records:
                click.echo("\t".join(self._cells(each, empty="")))
        if live:
            sys.stdout.flush()

    def hint(self, text: str) -> None:
        """Say something about the list, such as how to go on, where no program takes it for a record."""
        if self.form not in ("json", "ndjson"):
            click.echo(text, err=True)

    def _sorted(self, records: Sequence[T]) -> Sequence[T]:
        if self.sort is None:
            return records
        name = self.sort.removeprefix("-")
        value = next(column.value for column in self.listing.columns if column.name == name)
        known = [each for each in records if value(each) is not None]
        unknown = [each for each in records if value(each) is None]
        return [*sorted(known, key=lambda each: _rank(value(each)), reverse=self.sort.startswith("-")), *unknown]

    def _cells(self, record: T, *, empty: str) -> list[str]:
        return [self._text(column.value(record), empty=empty) for column in self.listing.columns]

    def _text(self, value: Cell, *, empty: str) -> str:
        parts = [value] if value is None or isinstance(value, (str, int, datetime)) else value
        return " ".join(self._part(each) for each in parts if each is not None) or empty

    def _part(self, value: Part) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return self.moment(value) if isinstance(value, datetime) else plain(value)

    def moment(self, instant: datetime) -> str:
        """Format an instant: relative to now in a table, unless --utc or --local was given."""
        if self.form == "table":
            return relative(instant) if self.zone is None else _absolute(instant, self.zone, " ")
        return _absolute(instant, self.zone or "utc", "T")

    def _print_table(self, records: Sequence[T], *, head: bool, live: bool) -> None:
        """Print a table if it fits the terminal, and otherwise fold its rows between cells, so that no id is broken."""
        rows = [self._row(each) for each in records]
        names = [column.name.upper() for column in self.listing.columns]
        widths = [
            max(map(len, column)) for column in zip(names, *([cell for cell, _ in row] for row in rows), strict=True)
        ]
        if live:
            widths = [max(width, column.width) for width, column in zip(widths, self.listing.columns, strict=True)]
        fits = sum(widths) + len(_GAP) * (len(widths) - 1) <= _terminal_width()
        if fits and head and (rows or live):
            click.echo(_joined([(name, "bold") for name in names], widths))
        for row in rows:
            click.echo(_joined(row, widths) if fits else "\n".join(_folded(row)))

    def _row(self, record: T) -> list[tuple[str, str | None]]:
        """Return the cells of a record, each with its color."""
        cells = zip(self.listing.columns, self._cells(record, empty="–"), strict=True)
        return [
            (
                f"{text[:_CUT]}…" if column.cut and len(text) > _CUT else text,
                None if column.color is None else column.color(record),
            )
            for column, text in cells
        ]


def relative(instant: datetime, now: datetime | None = None) -> str:
    """Format an instant as how long ago it was, or how far ahead it is."""
    distance = (now or datetime.now(UTC)) - instant
    return f"{span(distance)} ago" if distance.total_seconds() >= 0 else f"in {span(-distance)}"


def _absolute(instant: datetime, zone: str, between: str) -> str:
    if zone == "utc":
        return instant.astimezone(UTC).strftime(f"%Y-%m-%d{between}%H:%M:%SZ")
    return instant.astimezone().isoformat(between, "seconds")


def _rank(value: Cell) -> Any:
    """Return what a known value is sorted by."""
    return value if isinstance(value, (int, datetime)) else str(value)


def _joined(row: Iterable[tuple[str, str | None]], widths: Sequence[int]) -> str:
    padded = [_colored(text.ljust(width), color) for (text, color), width in zip(row, widths, strict=True)]
    return _GAP.join(padded).rstrip()


def _folded(row: Iterable[tuple[str, str | None]]) -> list[str]:
    """Return the lines of a row that is wider than the terminal: a cell that does not fit starts an indented line."""
    lines: list[list[str]] = [[]]
    used = 0
    for text, color in row:
        if used and used + len(_GAP) + len(text) > _terminal_width():
            lines.append([])
            used = len(_GAP)
        used += len(text) + (len(_GAP) if lines[-1] else 0)
        lines[-1].append(_colored(text, color))
    return [("" if number == 0 else _GAP) + _GAP.join(line) for number, line in enumerate(lines)]


def _colored(text: str, color: str | None) -> str:
    if color is None or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return click.style(text, bold=True) if color == "bold" else click.style(text, fg=color)


def _terminal_width() -> int:
    return shutil.get_terminal_size().columns
