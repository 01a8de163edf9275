"""The wire schema as JSON Schema and as TypeScript, generated from the payload classes.

`python -m billing_app.payload_schema` writes both below docs/billing/schema, and the types beside the browser client,
which uses them; a test checks that they are up to date.
"""

import json
from datetime import datetime
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, get_args, get_origin

import attrs

from billing_app.wire_schema import classes_of, description_of, fields_of, schema_of, words_of
from billing_core.events import BillingEventType
from billing_core.payloads import (
    BillingEventPayload,
    EntitlementPayload,
    EntitlementsPayload,
    OperatorStatePayload,
    StatePayload,
)

PATH: Final = "/schemas/billing-event-payload.v2.json"
FOLDER: Final = Path("docs/billing/schema")
CLIENT: Final = Path("src/entrypoints/billing_app/web")
SCHEMA_FILE: Final = "billing-event-payload.v2.schema.json"
TYPES_FILE: Final = "billing-event-payload.v2.d.ts"
ROOTS: Final = (BillingEventPayload, StatePayload, OperatorStatePayload, EntitlementsPayload, EntitlementPayload)

_TYPESCRIPT: Final[dict[Any, str]] = {str: "string", int: "number", bool: "boolean", datetime: "string"}
_WORDS_IN: Final[dict[tuple[type, str], type[Enum]]] = {(BillingEventPayload, "event_type"): BillingEventType}
"""Fields that the JSON Schema leaves open, because readers validate by it, and the words that they have now."""


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a message."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": PATH,
        "title": "BillingEventPayload v2",
        "$ref": "#/$defs/BillingEventPayload",
        "$defs": {each.__name__: schema_of(each, "#/$defs") for each in classes_of(*ROOTS)},
    }


def typescript() -> str:
    """Return the schema as TypeScript declarations."""
    classes = classes_of(*ROOTS)
    named = {each for cls in classes for name, hint in fields_of(cls) if (each := _enum_of(cls, name, hint))}
    lists = [_list(each) for each in sorted(named, key=lambda each: each.__name__)]
    return _TYPESCRIPT_HEAD + "\n".join([*lists, *(_interface(each) for each in classes)])


_TYPESCRIPT_HEAD: Final = """\
// The messages of the billing stream and the responses of `/state` and `/entitlements`, version 2. Generated from the
// payload classes; run `python -m billing_app.payload_schema` to regenerate it.
//
// Instants are ISO 8601 in UTC. Amounts are integers in the minor unit of their currency. Words such as `status` come
// from Stripe and are open sets: expect values that are not known yet, and ignore fields that are not listed here.

/** A known word, or one that a later version of the server adds. Editors complete the known ones. */
export type Word<Known extends string> = Known | (string & {});

"""


def write_files(repository: Path) -> None:
    """Regenerate the files."""
    folder = repository / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (repository / CLIENT / TYPES_FILE).write_text(typescript(), encoding="utf-8")
    (folder / SCHEMA_FILE).write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
    (folder / TYPES_FILE).write_text(typescript(), encoding="utf-8")


def _enum_of(cls: type, name: str, hint: Any) -> type[Enum] | None:
    """Return the words of a field that has a list of its own, or None."""
    declared: type[Enum] | None = get_args(hint)[1] if get_origin(hint) is Annotated else None
    return declared or _WORDS_IN.get((cls, name))


def _list(words: type[Enum]) -> str:
    quoted = "".join(f'\n  | "{each.value}"' for each in words)
    return f"/** {description_of(words)} */\nexport type {words.__name__} ={quoted};\n"


def _field(cls: type, name: str, hint: Any) -> str:
    words = _enum_of(cls, name, hint)
    return f"  {name}: {_typescript_of(hint) if words is None else f'Word<{words.__name__}>'};"


def _interface(cls: type) -> str:
    lines = [_field(cls, name, hint) for name, hint in fields_of(cls)]
    return "\n".join([f"/** {description_of(cls)} */", f"export interface {cls.__name__} {{", *lines, "}", ""])


def _typescript_of(hint: Any) -> str:
    if (words := words_of(hint)) is not None:
        return " | ".join(f'"{word}"' for word in words)
    if get_origin(hint) is tuple:
        inner = _typescript_of(get_args(hint)[0])
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    if get_origin(hint) is UnionType:
        (known,) = (each for each in get_args(hint) if each is not NoneType)
        return f"{_typescript_of(known)} | null"
    return hint.__name__ if attrs.has(hint) else _TYPESCRIPT[hint]


if __name__ == "__main__":
    write_files(Path.cwd())
