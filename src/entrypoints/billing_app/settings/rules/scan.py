"""Line numbers of the keys of a TOML document, which tomllib does not report."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

KeyPath = tuple[str | int, ...]
"""Names of keys and, within arrays, indexes: `("plans", "pro", "prices", 1, "role")`."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_NAME: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|[A-Za-z0-9_-]+')
_DOT: Final = re.compile(r"[ \t]*\.[ \t]*")
_HEADER_END: Final = re.compile(r"[ \t]*\]{1,2}")
_EQUALS: Final = re.compile(r"[ \t]*=[ \t]*")
_SEPARATOR: Final = re.compile(rf"{_BLANK.pattern},?{_BLANK.pattern}")
_SCALAR: Final = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'"
    r"|[^,\]}#\r\n]+",
    re.DOTALL,
)


def key_lines(text: str) -> Mapping[KeyPath, int]:
    """Return the line on which each key and each element of an array is first named.

    The text must be valid TOML: parse it first.
    """
    return _Scanner(text).scan()


class _Scanner:
    """A reader of valid TOML that notes where names are, and skips the values."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line_ends = [found.start() for found in re.finditer("\n", text)]
        self._lines: dict[KeyPath, int] = {}
        self._tables: dict[KeyPath, int] = {}
        """The number of tables of each array of tables so far."""

    def scan(self) -> Mapping[KeyPath, int]:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._take("[["):
                table = self._array_header()
            elif self._take("["):
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self._lines

    def _header(self) -> KeyPath:
        names = self._names()
        self._skip(_HEADER_END)
        return self._enter((), names)

    def _array_header(self) -> KeyPath:
        *names, last = self._names()
        self._skip(_HEADER_END)
        array = (*self._enter((), names), last)
        self._note(array)
        self._tables[array] = self._tables.get(array, 0) + 1
        return self._enter(array[:-1], [last])

    def _enter(self, table: KeyPath, names: list[str]) -> KeyPath:
        """Follow names from a table. The name of an array of tables means the last of its tables."""
        for name in names:
            table = (*table, name)
            self._note(table)
            if table in self._tables:
                table = (*table, self._tables[table] - 1)
                self._note(table)
        return table

    def _pair(self, table: KeyPath) -> None:
        path = self._enter(table, self._names())
        self._skip(_EQUALS)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        if self._take("["):
            self._elements(path)
        elif self._take("{"):
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _elements(self, array: KeyPath) -> None:
        index = 0
        self._skip(_BLANK)
        while not self._take("]"):
            element = (*array, index)
            self._note(element)
            self._value(element)
            self._skip(_SEPARATOR)
            index += 1

    def _inline_table(self, table: KeyPath) -> None:
        self._skip(_BLANK)
        while not self._take("}"):
            self._pair(table)
            self._skip(_SEPARATOR)

    def _names(self) -> list[str]:
        """Read a dotted key."""
        self._skip(_BLANK)
        names = [self._name()]
        while _DOT.match(self._text, self._at):
            self._skip(_DOT)
            names.append(self._name())
        return names

    def _name(self) -> str:
        name = self._skip(_NAME)
        return str(tomllib.loads(f"name = {name}")["name"]) if name[0] in "\"'" else name

    def _note(self, path: KeyPath) -> None:
        self._lines.setdefault(path, bisect_left(self._line_ends, self._at) + 1)

    def _take(self, text: str) -> bool:
        taken = self._text.startswith(text, self._at)
        self._at += len(text) if taken else 0
        return taken

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise ValueError(f"not valid TOML at character {self._at}")
        self._at = found.end()
        return found[0]
