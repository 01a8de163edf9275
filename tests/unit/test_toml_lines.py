"""The scan of a TOML document finds the line of every key."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.settings.rules.scan import KeyPath, key_lines


def paths(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Return the path of every key and element that tomllib reads."""
    entries: Iterator[tuple[str | int, Any]] = iter(())
    if isinstance(value, dict):
        entries = iter(value.items())
    elif isinstance(value, list):
        entries = iter(enumerate(value))
    for key, inner in entries:
        yield (*path, key)
        yield from paths(inner, (*path, key))


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1\nb = 2", ("b",), 2),
        ("# a = 1\r\n\r\nb = 2\r\n", ("b",), 3),
        ("a.b.c = 1\na.d = 2", ("a", "d"), 2),
        ("a.b.c = 1", ("a", "b"), 1),
        ("[a]\n[a.b]\nc = 1", ("a", "b", "c"), 3),
        ("[ a . 'b.c' ]\nd = 1", ("a", "b.c", "d"), 2),
        ('"a\\u0062" = 1', ("ab",), 1),
        ("[[a]]\nb = 1\n[[a]]\nb = 2", ("a", 1, "b"), 4),
        ("[[a]]\n[[a.b]]\nc = 1\n[[a]]\n[[a.b]]\n[[a.b]]\nc = 2", ("a", 1, "b", 1, "c"), 7),
        ("[[a]]\n[a.b]\nc = 1\n[[a]]\n[a.b]\nc = 2", ("a", 1, "b", "c"), 6),
        ("a = [ # one\n  1,\n  2, # ] two\n]\nb = 3", ("a", 1), 3),
        ("a = [ # one\n  1,\n  2, # ] two\n]\nb = 3", ("b",), 5),
        ("a = { b = 1, c.d = { e = 2 } }", ("a", "c", "d", "e"), 1),
        ("a = [\n { b = 1 },\n { b = 2 },\n]", ("a", 1, "b"), 3),
        ('a = """\nb = 1\n[c]\n""\\""""\nd = 1', ("d",), 5),
        ('a = """\n"quoted"""""\nd = 1', ("d",), 3),
        ("a = '''\n'quoted'''''\nd = 1", ("d",), 3),
        ("a = '\\'\nb = '#'\nc = 1979-05-27 07:32:00 # [\nd = 1", ("d",), 4),
    ],
)
def test_a_key_has_the_line_on_which_it_is_first_named(text: str, path: KeyPath, line: int) -> None:
    """Comments, strings of several lines and headers of any form are understood."""
    assert path in set(paths(tomllib.loads(text)))
    assert key_lines(text)[path] == line


_NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=4)
_STRINGS = st.text(st.sampled_from("ab\"'#[]{}=,.\\\n"), max_size=8)


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def multi_line(text: str) -> str:
    """A string of as many lines as it has, in the form that allows unescaped quotes."""
    return '"""\n' + text.replace("\\", "\\\\").replace('"""', '""\\"') + "x" + '"""'


class Writer:
    """Writes a document and notes on which line it writes each key."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self.text = ""
        self.lines: dict[KeyPath, int] = {}

    def document(self, content: Mapping[str, Any]) -> None:
        self._table((), content, header="")

    def _table(self, path: KeyPath, content: Mapping[str, Any], header: str) -> None:
        tables = {key: value for key, value in content.items() if isinstance(value, dict) and self._choose()}
        arrays = {
            key: value
            for key, value in content.items()
            if isinstance(value, list) and value and all(isinstance(each, dict) for each in value) and self._choose()
        }
        for key, value in content.items():
            if key not in tables and key not in arrays:
                self._space()
                self._note((*path, key))
                self.text += f"{self._key(key)} = "
                self._value((*path, key), value)
                self.text += self._draw(st.sampled_from(["", " ", " # [a] = {"])) + "\n"
        for key, value in tables.items():
            self._space()
            self._note((*path, key))
            inner = f"{header}.{self._key(key)}" if header else self._key(key)
            self.text += f"[{inner}]\n"
            self._table((*path, key), value, inner)
        for key, values in arrays.items():
            inner = f"{header}.{self._key(key)}" if header else self._key(key)
            for index, value in enumerate(values):
                self._space()
                self._note((*path, key))
                self._note((*path, key, index))
                self.text += f"[[{inner}]]\n"
                self._table((*path, key, index), value, inner)

    def _value(self, path: KeyPath, value: Any) -> None:
        if isinstance(value, dict):
            self.text += "{ "
            for index, (key, inner) in enumerate(value.items()):
                self.text += ", " if index else ""
                self._note((*path, key))
                self.text += f"{self._key(key)} = "
                self._value((*path, key), inner)
            self.text += " }"
        elif isinstance(value, list):
            self.text += "["
            for index, inner in enumerate(value):
                self.text += self._draw(st.sampled_from(["", " ", "\n  ", " # ] ,\n"]))
                self._note((*path, index))
                self._value((*path, index), inner)
                self.text += ","
            self.text += "]"
        elif isinstance(value, str):
            self.text += multi_line(value) if self._choose() else quoted(value)
        else:
            self.text += str(value).lower()

    def _key(self, name: str) -> str:
        bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
        return name if bare and self._choose() else quoted(name)

    def _space(self) -> None:
        self.text += self._draw(st.sampled_from(["", "\n", "# a = 1\n", "  \t"]))

    def _choose(self) -> bool:
        return self._draw(st.booleans())

    def _note(self, path: KeyPath) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)


@st.composite
def documents(draw: st.DrawFn) -> Writer:
    values = st.recursive(
        _STRINGS | st.integers(0, 99) | st.booleans(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
        max_leaves=8,
    )
    writer = Writer(draw)
    writer.document(draw(st.dictionaries(_NAMES, values, max_size=4)))
    return writer


@given(written=documents())
def test_the_lines_of_a_generated_document_are_those_on_which_its_keys_were_written(written: Writer) -> None:
    """Every key that tomllib reads has a line, and there is no other."""
    read = set(paths(tomllib.loads(written.text)))
    found = key_lines(written.text)
    assert set(found) == read
    assert found == written.lines
