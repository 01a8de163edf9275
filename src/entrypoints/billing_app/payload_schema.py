"""The wire schema as JSON Schema and as TypeScript, made from the classes that are sent.

`python -m billing_app.payload_schema` writes both below docs/billing/schema; a test checks that they are up to date.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

import attrs

from billing_core.payloads import BillingEventPayload, StatePayload

PATH: Final = "/schemas/billing-event-payload.v1.json"
FOLDER: Final = Path("docs/billing/schema")
SCHEMA_FILE: Final = "billing-event-payload.v1.schema.json"
TYPES_FILE: Final = "billing-event-payload.v1.d.ts"

_INT64: Final = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
_PLAIN: Final[dict[Any, dict[str, Any]]] = {
    str: {"type": "string"},
    int: _INT64,
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
}
_TYPESCRIPT: Final[dict[Any, str]] = {str: "string", int: "number", bool: "boolean", datetime: "string"}


def schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a message. Objects stay open: fields may be added, and readers ignore unknown ones."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": PATH,
        "title": "BillingEventPayload v1",
        "$ref": "#/$defs/BillingEventPayload",
        "$defs": {each.__name__: _object(each) for each in _classes()},
    }


def typescript() -> str:
    """The same as TypeScript declarations."""
    return _TYPESCRIPT_HEAD + "\n".join(_interface(each) for each in _classes())


_TYPESCRIPT_HEAD: Final = """\
// The messages of the billing stream and the answer of `/state`, version 1. Written from the classes that are sent;
// `python -m billing_app.payload_schema` writes it again.
//
// Instants are ISO 8601 in UTC. Amounts are whole numbers in the minor unit of their currency. Words such as `status`
// are Stripe's own and open: expect ones that are not known yet, and ignore fields that are not listed here.

"""


def write_files(repository: Path) -> None:
    """Write both files anew."""
    folder = repository / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCHEMA_FILE).write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
    (folder / TYPES_FILE).write_text(typescript(), encoding="utf-8")


def _classes() -> list[type]:
    """Every class that is sent, each once, after those that hold it."""
    found: list[type] = []
    waiting: list[type] = [BillingEventPayload, StatePayload]
    while waiting:
        each = waiting.pop(0)
        if each not in found:
            found.append(each)
            waiting += [part for _, hint in _fields(each) for part in _parts(hint) if attrs.has(part)]
    return found


def _fields(cls: type) -> Iterator[tuple[str, Any]]:
    hints = get_type_hints(cls)
    return ((field.name, hints[field.name]) for field in attrs.fields(cls))


def _parts(hint: Any) -> Iterator[Any]:
    """The classes a type is made of."""
    arguments = [argument for argument in get_args(hint) if argument is not Ellipsis]
    if not arguments:
        yield hint
    for argument in arguments:
        yield from _parts(argument)


def _object(cls: type) -> dict[str, Any]:
    properties = {name: _schema_of(hint) for name, hint in _fields(cls)}
    description = " ".join((cls.__doc__ or "").split())
    return {"description": description, "type": "object", "properties": properties, "required": list(properties)}


def _schema_of(hint: Any) -> dict[str, Any]:
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _schema_of(get_args(hint)[0])}
    if get_origin(hint) is UnionType:
        (known,) = (each for each in get_args(hint) if each is not NoneType)
        return {"anyOf": [_schema_of(known), {"type": "null"}]}
    return {"$ref": f"#/$defs/{hint.__name__}"} if attrs.has(hint) else _PLAIN[hint]


def _interface(cls: type) -> str:
    lines = [f"  {name}: {_typescript_of(hint)};" for name, hint in _fields(cls)]
    description = " ".join((cls.__doc__ or "").split())
    return "\n".join([f"/** {description} */", f"export interface {cls.__name__} {{", *lines, "}", ""])


def _typescript_of(hint: Any) -> str:
    if get_origin(hint) is tuple:
        inner = _typescript_of(get_args(hint)[0])
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    if get_origin(hint) is UnionType:
        (known,) = (each for each in get_args(hint) if each is not NoneType)
        return f"{_typescript_of(known)} | null"
    return hint.__name__ if attrs.has(hint) else _TYPESCRIPT[hint]


if __name__ == "__main__":
    write_files(Path.cwd())
