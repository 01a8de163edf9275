"""A TOML file whose values know their places."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from billing_app.secret import mask_inside
from billing_app.settings.faults import SettingsFault
from billing_app.settings.rules.scan import KeyPath, key_lines
from billing_app.troubleshooting import CatalogTrouble, Trouble

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_POSITION: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_LONGEST_SHOWN: Final = 60


class Document:
    """A file, the lines of its keys, and the faults found in it so far."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._lines: dict[KeyPath, int] = {}
        self._faults: list[tuple[int, SettingsFault]] = []

    @property
    def faults(self) -> Sequence[SettingsFault]:
        """The faults in the order of their lines."""
        return [fault for _, fault in sorted(self._faults, key=lambda found: found[0])]

    def read(self) -> Node | None:
        """Return the root of the file; None if it cannot be read, which is a fault. Raises FileNotFoundError."""
        try:
            text = self._path.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            raise
        except UnicodeDecodeError as exc:
            line = exc.object.count(b"\n", 0, exc.start) + 1
            self._refuse_file(line, "is not UTF-8 on this line", "Save the file as UTF-8.")
            return None
        except OSError as exc:
            problem, remedy = f"cannot be read ({type(exc).__name__})", "Repair its owner and mode."
            self._faults.append((0, SettingsFault(self.name, problem, remedy, CatalogTrouble.TOML_IS_UNREADABLE)))
            return None
        try:
            content = tomllib.loads(text)
            self._lines.update(key_lines(text))
        except RecursionError:
            self._refuse_file(1, "is nested too deeply", "Write it with fewer levels.")
        except ValueError as exc:  # not TOMLDecodeError alone: Python refuses numbers of thousands of digits
            problem = mask_inside(str(exc))
            found = _POSITION.search(problem)
            line = int(found[1]) if found and found[1] else text.rstrip().count("\n") + 1
            self._refuse_file(line, f"is not valid TOML: {_POSITION.sub('', problem)}", "Correct this line.")
        else:
            return Node(content, (), self)
        return None

    def line(self, path: KeyPath) -> int:
        """Return the line of a key, or of the table that lacks it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def refuse(self, line: int, key: str, problem: str, remedy: str, trouble: Trouble) -> None:
        """Report a fault."""
        self._faults.append((line, SettingsFault(f"{self.name}:{line} {key}".rstrip(), problem, remedy, trouble)))

    def _refuse_file(self, line: int, problem: str, remedy: str) -> None:
        self.refuse(line, "", problem, remedy, CatalogTrouble.TOML_IS_UNREADABLE)


@attrs.frozen
class Node:
    """A value of a file, with its path in the file."""

    value: Any
    path: KeyPath
    document: Document = attrs.field(repr=False, eq=False)

    @property
    def place(self) -> str:
        """The file, line and key, such as `billing.toml:12 plans.pro.prices[1].role`."""
        return f"{self.document.name}:{self.document.line(self.path)} {path_text(self.path)}".rstrip()

    def child(self, key: str | int) -> Node:
        """Return the value of a key or the element of an array; its value is None if there is none."""
        missing = isinstance(key, str) and not (isinstance(self.value, dict) and key in self.value)
        return Node(None if missing else self.value[key], (*self.path, key), self.document)

    @property
    def elements(self) -> Sequence[Node]:
        """The elements of an array; none of anything else."""
        return [self.child(index) for index in range(len(self.value))] if isinstance(self.value, list) else []

    def refuse(self, problem: str, remedy: str, trouble: Trouble = CatalogTrouble.TOML_VALUE_IS_INVALID) -> None:
        """Report a fault of this value."""
        self.document.refuse(self.document.line(self.path), path_text(self.path), problem, remedy, trouble)


def path_text(path: KeyPath) -> str:
    """Write a path as TOML does, with indexes in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f"{'.' if text else ''}{key_text(part)}"
    return text


def key_text(name: str) -> str:
    """Write a key as TOML does: quoted unless it is bare. A secret in place of a key is masked."""
    return name if _BARE.fullmatch(name) and mask_inside(name) == name else value_text(name)


def value_text(value: object) -> str:
    """Write a value for a fault. A secret that was put into the file is masked, and tables are only named."""
    match value:
        case dict():
            return "a table"
        case list():
            return "an array"
        case bool():
            return str(value).lower()
        case str():
            text = json.dumps(mask_inside(value), ensure_ascii=False)
            return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
        case _:
            return str(value)
