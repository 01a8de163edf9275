"""The text of a file with NAME=value lines: changed line by line, and quoted so that it is read as it was meant."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dotenv.parser import Binding

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BARE: Final = re.compile(r"[A-Za-z0-9_./:@%+=,-]*")
"""Values that need no quotes, in a shell neither."""
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\f": "\\f"}
_ASSIGNMENT: Final = re.compile(
    r"""
    (?P<head>\s*(?:export[^\S\r\n]+)?(?:'[^']+'|[^=\#\s]+)[^\S\r\n]*=)
    [^\S\r\n]*
    (?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|(?:(?!\s+\#)[^\r\n])*)
    (?P<tail>.*)
    """,
    re.DOTALL | re.VERBOSE,
)
"""The parts of a line around its value, by the grammar of dotenv: name and equals sign, comment and end of line."""


class EnvTextError(Exception):
    """A text or a value that cannot be edited or written. The message is the end of a sentence about the file."""


def variables_of(text: str) -> dict[str, str]:
    """Return the variables of a text, as the settings read it.

    Raises: EnvTextError if a line is not NAME=value.
    """
    return {each.key: each.value for each in _bindings(text) if each.key is not None and each.value is not None}


def change_text(text: str, changes: Mapping[str, str | None]) -> str:
    """Set variables, or remove those whose value is None. All other lines stay as they are, in their order.

    A variable that stands there several times keeps its last line, which is the one that counts.

    Raises: EnvTextError if a line is not NAME=value, or a value cannot be written.
    """
    for name in changes:
        if not _NAME.fullmatch(name):
            raise EnvTextError(f"cannot hold a variable called {name!r}")
    present = variables_of(text)
    expected = {name: value for name, value in {**present, **changes}.items() if value is not None}
    changes = {name: value for name, value in changes.items() if present.get(name) != value}
    bindings = _bindings(text)
    last = {each.key: index for index, each in enumerate(bindings) if each.value is not None}
    parts = [_changed(each, changes, is_last=last.get(each.key) == index) for index, each in enumerate(bindings)]
    changed = "".join(parts)
    newline = "\r\n" if "\r\n" in text else "\n"
    added = [f"{name}={quote(value)}" for name, value in changes.items() if name not in last and value is not None]
    if added and changed and not changed.endswith(("\n", "\r")):
        changed += newline
    changed += "".join(line + newline for line in added)
    if variables_of(changed) != expected:
        raise EnvTextError("cannot be changed without changing what other lines mean")
    return changed


def quote(value: str) -> str:
    """Write a value so that reading returns it, with as few quotes as possible.

    Raises: EnvTextError for text that no environment can hold.
    """
    if "\0" in value or any("\ud800" <= each <= "\udfff" for each in value):
        raise EnvTextError("cannot hold a value with characters that are not text")
    if _BARE.fullmatch(value):
        return value
    if value.isprintable() and not {"'", "\\"} & {*value}:
        return f"'{value}'"
    return '"{}"'.format("".join(_ESCAPES.get(each, each) for each in value))


def _bindings(text: str) -> list[Binding]:
    from dotenv.parser import parse_stream  # noqa: PLC0415 - 20 ms that importers of this module need not pay

    bindings = list(parse_stream(io.StringIO(text, newline="")))
    faulty = next((each.original.line for each in bindings if each.error), None)
    if faulty is not None:
        raise EnvTextError(f"has a line {faulty} that is not NAME=value; correct it first")
    return bindings


def _changed(binding: Binding, changes: Mapping[str, str | None], *, is_last: bool) -> str:
    """Return the text of a binding after the changes."""
    original = binding.original.string
    if binding.key is None or binding.key not in changes or binding.value is None:
        return original
    value = changes[binding.key]
    if value is None or not is_last:
        blank = original[: len(original) - len(original.lstrip())]
        return blank[: blank.rfind("\n") + 1]
    parts = _ASSIGNMENT.fullmatch(original)
    if parts is None:
        raise EnvTextError(f"has a line {binding.original.line} that cannot be changed; correct it first")
    return f"{parts['head']}{quote(value)}{parts['tail']}"
