"""The same result for every body, whichever JSON parser is installed."""

import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from billing_stripe.parsing import MAX_NESTING, member_parser, parse_json

pytestmark = pytest.mark.stripe

REFUSED = object()


def verdict(body: bytes, **parser: None) -> object:
    try:
        return _comparable(parse_json(body, **parser))
    except ValueError:
        return REFUSED


def _comparable(value: object) -> object:
    """Unify integers beyond 64 bits, the only allowed difference: a `float` or an `int`, which no reader accepts."""
    if isinstance(value, dict):
        return {key: _comparable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_comparable(inner) for inner in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) >= 2**63:
        return "beyond"
    return value


TEXTS = st.text(st.characters())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.integers(2**62, 2**66) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None)
@given(body=VALUES.map(lambda value: json.dumps(value).encode()) | st.binary())
@example(b'"\\ud800"')
@example(b'"\xed\xa0\x80"')
@example(b"\xef\xbb\xbf{}")
@example(b'{"a": 1, "a": 2}')
@example(b"1e400")
@example(b"-0")
@example(b"9" * 4000)
@example(b"9" * 5000)
@example(b"[" * 101 + b"]" * 101)
@example(b"[" * 100 + b"]" * 100)
@example(b'{"a":' * 1000 + b"1" + b"}" * 1000)
@example(b'"' + b"[" * 2000 + b'"')
def test_the_fast_parser_changes_no_result(body: bytes) -> None:
    """orjson refuses more than JSON does, and less than we do; neither is visible."""
    assert verdict(body) == verdict(body, fast=None)


MEMBERS = ("id", "type", "livemode", "created")
EVENT = (
    b'{"id": "evt_1", "created": 1, "data": {"name": "\\u00e9", "lines": [0, -2.5e3, true, null, {}]},'
    b' "livemode": false, "type": "a.b"}'
)
PIECES = (
    *map(bytes, zip(b'"\\[]{},:.-+e0 \n\x00\x1f\x7f')),
    b"\\ud800",
    b"\xed\xa0\x80",
    b"NaN",
    b"null",
    b'"id": 7,',
    b"1e999",
)


@st.composite
def damaged(draw: DrawFn) -> bytes:
    """Return an event with replacements in a few places."""
    body = EVENT
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        end = start + draw(st.integers(0, 5))
        body = body[:start] + draw(st.sampled_from(PIECES) | st.binary(max_size=2)) + body[end:]
    return body


@settings(deadline=None)
@given(body=damaged() | VALUES.map(lambda value: json.dumps({"id": value, "other": value}).encode()) | st.binary())
@example(EVENT)
@example(EVENT.replace(b"{}", b"9" * 5000))
@example(EVENT.replace(b"{}", b'"\xff"'))
@example(EVENT.replace(b"{}", b'"\xed\xa0\x80"'))
@example(EVENT.replace(b"{}", b"[" * 97 + b"]" * 97))
@example(EVENT.replace(b"{}", b"[" * 98 + b"]" * 98))
@example(EVENT.replace(b"{}", b"[" * 100_000 + b"]" * 100_000))
@example(EVENT + b"{}")
def test_a_few_members_are_those_of_the_whole_text(body: bytes) -> None:
    """The others are checked all the same."""
    try:
        found = _comparable(member_parser(*MEMBERS)(body))
    except ValueError:
        found = REFUSED
    whole = verdict(body, fast=None)
    assert repr(_members(found)) == repr(_members(whole))


def _members(value: object) -> object:
    return {name: value.get(name) for name in MEMBERS} if isinstance(value, dict) else value


@pytest.mark.parametrize("depth", [1, MAX_NESTING])
def test_nesting_up_to_the_limit_is_read(depth: int) -> None:
    """Far more levels than any object of Stripe has."""
    assert parse_json(b"[" * depth + b"]" * depth) is not None


@pytest.mark.parametrize("depth", [MAX_NESTING + 1, 900, 1_000_000])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
def test_deeper_nesting_is_refused(depth: int, brackets: tuple[bytes, bytes]) -> None:
    """Before our own recursion sees it."""
    opening, closing = brackets
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(opening * depth + b"1" + closing * depth)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    """An invoice with hundreds of lines is wide."""
    assert parse_json(b"[" + b",".join([b"[]"] * 500) + b"]") == [[]] * 500


@pytest.mark.parametrize("siblings", [0, 1, 50, 500])
def test_the_deepest_part_counts_wherever_it_is(siblings: int) -> None:
    """Shallow neighbors neither hide it nor add to it."""
    shallow = b"[]," * siblings
    within = MAX_NESTING - 1
    assert parse_json(b"[" + shallow + b"[" * within + b"]" * within + b"]")
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(b"[" + shallow + b"[" * MAX_NESTING + b"]" * MAX_NESTING + b"]")


def test_a_number_beyond_a_double_is_infinite() -> None:
    """No field of Stripe holds such a number."""
    assert parse_json(b"1e400") == math.inf
