"""The declarations of columns, and the SQL that is made of them."""

from decimal import Decimal
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import pytest

from billing_core.testing.builders import usage
from billing_postgres.columns import Column, Columns, Fields, expand
from billing_postgres.state.rows import USAGE, usage_from_row
from billing_postgres.text import text_array

_PLAIN = Fields("part", name="text", size="bigint")
THINGS = Columns(
    [*_PLAIN.columns, Column("tags", "text[]", lambda thing: text_array(thing.tags), sent_as="text")], fixed=("name",)
)
THING = SimpleNamespace(part=SimpleNamespace(name="a", size=1), tags=["x", "y"])


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT :things.names FROM t", "SELECT name, size, tags FROM t"),
        ("SELECT :things.values", "SELECT name, size, tags::text[]"),
        ("unnest(:things.arrays)", "unnest($1::text::text[], $2::text::bigint[], $3::text[])"),
        ("$1::text[], :things.arrays, $2", "$1::text[], $3::text::text[], $4::text::bigint[], $5::text[], $2"),
        (
            "f(:things.array_of_size), :things.arrays",
            "f($2::text::bigint[]), $1::text::text[], $2::text::bigint[], $3::text[]",
        ),
        (
            "$1, :things.keys, unnest(:things.arrays)",
            "$1, $2::text::text[], unnest($2::text::text[], $3::text::bigint[], $4::text[])",
        ),
        (
            "unnest(:things.arrays), unnest(:others.arrays)",
            "unnest($1::text::text[], $2::text::bigint[], $3::text[]), unnest($4::int[])",
        ),
        ("VALUES (:things.parameters, $1)", "VALUES ($2, $3, $4, $1)"),
        ("SET :things.updates", "SET size = excluded.size, tags = excluded.tags"),
        ("'a'::text", "'a'::text"),
        ("x[1:2]", "x[1:2]"),
    ],
)
def test_a_statement_names_what_it_needs_of_a_declaration(statement: str, expected: str) -> None:
    """Casts and slices are left alone; arguments follow those that the statement numbers itself."""
    others = Columns(Fields(number="int").columns)
    assert expand(statement, {"things": THINGS, "others": others}) == expected


@pytest.mark.parametrize(("statement", "error"), [(":thing.names", KeyError), (":things.name", ValueError)])
def test_a_misspelt_name_fails_when_the_statements_are_loaded(statement: str, error: type[Exception]) -> None:
    """Not when the statement runs."""
    with pytest.raises(error):
        expand(statement, {"things": THINGS})


def test_values_become_one_array_per_column() -> None:
    """As many arrays as columns, also for no values at all."""
    assert THINGS.arrays([THING, THING]) == ['{"a","a"}', "{1,1}", ['{"x","y"}'] * 2]
    assert THINGS.arrays([]) == ["{}", "{}", []]
    sized = SimpleNamespace(part=SimpleNamespace(name="b", size=2), tags=[])
    unsized = SimpleNamespace(part=SimpleNamespace(name="c", size=None), tags=[])
    assert THINGS.arrays([unsized, sized])[1] == "{NULL,2}"


def test_a_number_that_comes_first_stays_an_array() -> None:
    """Postgres plans by its length; the literals beside it say nothing of how many rows there are."""
    claims = Columns(Fields("part", event="bigint", attempt="int").columns)
    claim = SimpleNamespace(part=SimpleNamespace(event=7, attempt=1))
    assert claims.arrays([claim, claim]) == [[7, 7], "{1,1}"]
    assert claims.sql("arrays", after=0) == "$1::bigint[], $2::text::int[]"


def test_a_column_that_is_null_throughout_is_an_empty_array() -> None:
    """Nothing is sent for it: `unnest` pads shorter arrays with nulls."""
    unsized = SimpleNamespace(part=SimpleNamespace(name="c", size=None), tags=[])
    assert THINGS.arrays([unsized, unsized]) == ['{"c","c"}', "{}", ["{}", "{}"]]


def test_a_usual_value_is_put_in_by_the_statement() -> None:
    """It is sent only if any value of a batch has another one; a row that is sent by itself has all of them."""
    columns = Columns(
        Fields("part", name="text", open="boolean", note="jsonb").columns, usual={"open": True, "note": "{}"}
    )
    usual = SimpleNamespace(part=SimpleNamespace(name="a", open=True, note="{}"))
    other = SimpleNamespace(part=SimpleNamespace(name="b", open=False, note="{}"))
    assert columns.values == "name, coalesce(open, true::boolean) AS open, coalesce(note, '{}'::jsonb) AS note"
    assert columns.arrays([usual, usual]) == ['{"a","a"}', "{}", ()]
    assert columns.arrays([usual, other]) == ['{"a","b"}', "{True,False}", ()]
    assert columns.row(usual) == ["a", True, "{}"]


@pytest.mark.parametrize(
    ("texts", "literal"),
    [
        ([], "{}"),
        (["a", "null", ""], '{"a","null",""}'),
        (["a", None], '{"a",NULL}'),
        ([r'{"a", \}'], r'{"{\"a\", \\}"}'),
    ],
)
def test_texts_become_the_literal_of_their_array(texts: list[str | None], literal: str) -> None:
    """Null is no text; quotes and backslashes are escaped, whether or not any is there."""
    assert text_array(texts) == literal


def test_a_value_becomes_one_argument_per_column() -> None:
    """In the order of the columns."""
    assert THINGS.row(THING) == ["a", 1, '{"x","y"}']


def test_fields_are_read_by_name() -> None:
    """A row may hold other columns, in any order."""
    assert _PLAIN.read({"later": 7, "size": 1, "name": "a"}) == {"name": "a", "size": 1}  # type: ignore[arg-type]


def test_a_column_may_be_any_part_of_a_value() -> None:
    """As the getter finds it."""
    column = Column[SimpleNamespace]("size", "bigint", attrgetter("part.size"))
    assert column.get(THING) == 1


@pytest.mark.parametrize(
    ("whole", "exact", "expected"),
    [
        (1, Decimal("0.6"), Decimal("0.6")),
        (2, Decimal("2.5"), Decimal("2.5")),
        (5, Decimal("0.6"), Decimal(5)),
        (1000, None, Decimal(1000)),
    ],
)
def test_usage_is_exact_unless_an_earlier_release_replaced_its_integer(
    whole: int, exact: Decimal | None, expected: Decimal
) -> None:
    """Processes of both releases write to one table during a deployment."""
    written = zip(USAGE.names.split(", "), USAGE.row(usage()), strict=True)
    row: Any = {**dict(written), "quantity": whole, "quantity_decimal": exact}
    assert usage_from_row(row) == usage(quantity=expected)
