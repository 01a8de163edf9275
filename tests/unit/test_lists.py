"""Lists on the command line: a table for eyes, one record per line for programs."""

import csv
import io
import json
import logging
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import attrs
import click
import pytest
import structlog
from click.testing import CliRunner, Result

from billing_app.cli.lists import Column, Listing, Output, relative
from billing_app.cli.terminal import progress
from billing_telemetry.logging import configure

NOW = datetime.now(UTC)
HOSTILE = "a\tb\nc\x1b[31m"


@attrs.frozen
class Fruit:
    name: str
    count: int | None
    ripe_at: datetime | None = None
    note: str | None = None


FRUITS = Listing[Fruit](
    "fruits",
    [
        Column("name", lambda fruit: fruit.name, color=lambda fruit: "red"),
        Column("count", lambda fruit: fruit.count),
        Column("ripe", lambda fruit: None if fruit.ripe_at is None else ("ripe", fruit.ripe_at)),
        Column("note", lambda fruit: fruit.note, cut=True),
    ],
    lambda fruit: {"name": fruit.name, "count": fruit.count},
)
BASKET = (
    Fruit("pear", 3, datetime(2026, 3, 1, 12, tzinfo=UTC)),
    Fruit("apple", None, NOW - timedelta(hours=3, minutes=5), "x" * 100),
    Fruit("fig", 20, None, HOSTILE),
)


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def shown(*arguments: str, basket: Sequence[Fruit] = BASKET, width: int = 120) -> Result:
    """Run a command that lists fruits."""

    @click.command()
    @FRUITS.options
    def fruits(output: Output[Fruit]) -> None:
        output.show(basket, beside={"next": None}, nothing="There are no fruits.")
        output.hint("There may be more.")

    return CliRunner().invoke(fruits, arguments, env={"COLUMNS": str(width)})


def test_a_pipe_gets_one_record_per_line() -> None:
    """Each with every cell, separated by tabs; nothing in a cell can break the line."""
    lines = shown().stdout.splitlines()
    assert lines[0] == "pear\t3\tripe 2026-03-01T12:00:00Z\t"
    assert lines[2].split("\t") == ["fig", "20", "", r"a\tb\nc\x1b[31m"]
    assert len(lines) == len(BASKET)


def test_json_is_one_object_and_ndjson_one_per_line() -> None:
    """`--json` is short for `--output json`."""
    fruits = [{"name": each.name, "count": each.count} for each in BASKET]
    for arguments in (("--json",), ("--output", "json"), ("--json", "--output", "json")):
        assert json.loads(shown(*arguments).stdout) == {"fruits": fruits, "next": None}
    assert [json.loads(line) for line in shown("--output", "ndjson").stdout.splitlines()] == fruits
    assert shown("--json", "--output", "csv").exit_code == 2


def test_csv_is_read_back_as_it_was_written() -> None:
    """With a head, and with quotes where they are needed."""
    basket = (Fruit('a "b", c', 1),)
    assert [*csv.reader(io.StringIO(shown("--output", "csv", basket=basket).stdout))] == [
        ["name", "count", "ripe", "note"],
        ['a "b", c', "1", "", ""],
    ]


def test_a_table_has_a_head_and_says_how_long_ago_things_were() -> None:
    """Long notes are cut; the columns are aligned."""
    head, pear, apple, fig = shown("--output", "table").stdout.splitlines()
    assert re.split(r" {2,}", head) == ["NAME", "COUNT", "RIPE", "NOTE"]
    assert re.split(r" {2,}", apple) == ["apple", "–", "ripe 3 h ago", "x" * 60 + "…"]
    assert pear.index("ripe") == apple.index("ripe") == head.index("RIPE")
    assert "\x1b" not in fig


def test_moments_are_absolute_on_request() -> None:
    """In UTC or in the zone of the machine."""
    assert "ripe 2026-03-01 12:00:00Z" in shown("--output", "table", "--utc").stdout
    local = re.search(r"ripe (\S+ \S+)", shown("--output", "table", "--local").stdout)
    assert local is not None
    assert datetime.fromisoformat(local[1]) == BASKET[0].ripe_at
    tsv = re.search(r"ripe (\S+)", shown("--local").stdout)
    assert tsv is not None
    assert datetime.fromisoformat(tsv[1]) == BASKET[0].ripe_at


def test_a_narrow_terminal_breaks_rows_between_cells() -> None:
    """So that an id can be copied in one piece; every line but that of a long cell fits."""
    lines = shown("--output", "table", "--utc", width=30).stdout.splitlines()
    assert lines[:2] == ["pear  3", "  ripe 2026-03-01 12:00:00Z  –"]
    assert "  " + "x" * 60 + "…" in lines
    assert not any(line.startswith("NAME") for line in lines)


@pytest.mark.parametrize(
    ("sort", "names"),
    [("name", ["apple", "fig", "pear"]), ("-count", ["fig", "pear", "apple"]), ("count", ["pear", "fig", "apple"])],
)
def test_lists_are_sorted_by_a_column(sort: str, names: Sequence[str]) -> None:
    """Numbers as numbers; a record without the value comes last, whatever the direction."""
    assert [line.split("\t")[0] for line in shown("--sort", sort).stdout.splitlines()] == names


def test_an_unknown_column_is_refused_with_the_known_ones() -> None:
    """As a usage error."""
    refused = shown("--sort", "weight")
    assert refused.exit_code == 2
    assert "'weight' is no column. The columns are name, count, ripe, note." in refused.stderr


def test_an_empty_list_is_empty_for_a_program() -> None:
    """The sentence about it goes to standard error, and JSON needs none."""
    empty = shown(basket=())
    assert (empty.stdout, empty.stderr) == ("", "There are no fruits.\nThere may be more.\n")
    as_json = shown("--json", basket=())
    assert (json.loads(as_json.stdout), as_json.stderr) == ({"fruits": [], "next": None}, "")


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (timedelta(seconds=3), "3 s ago"),
        (timedelta(minutes=61), "1 h ago"),
        (timedelta(days=40), "40 d ago"),
        (timedelta(minutes=-5), "in 5 min"),
    ],
)
def test_a_moment_is_shown_by_its_distance(distance: timedelta, text: str) -> None:
    """In the largest unit, before or after now."""
    assert relative(NOW - distance, NOW) == text


def test_a_log_line_stands_above_the_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither tears the bar apart nor is overwritten by it, in a replay that logs what fails."""
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "200")
    handlers = [*logging.getLogger().handlers]
    configure(level="warning", format="console")
    try:
        with progress("Replaying", 3, quiet=False) as advance:
            advance(1)
            structlog.get_logger().warning("event.failed", event_id="evt_1")
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers[:] = handlers
    (line,) = [line for line in re.split(r"\n|\r|\x1b\[2K", screen.getvalue()) if "event.failed" in line]
    assert "evt_1" in line
    assert "Replaying" not in line
    assert "Replaying" in screen.getvalue()


def test_a_color_is_for_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """NO_COLOR switches it off. Source: https://no-color.org"""

    def printed() -> str:
        Output(FRUITS, form="table").show(BASKET[:1])
        return capsys.readouterr().out

    terminal: Callable[[], bool] = lambda: True  # noqa: E731
    assert "\x1b[31m" not in printed()
    monkeypatch.setattr("sys.stdout.isatty", terminal)
    assert "\x1b[31m" in printed()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in printed()
