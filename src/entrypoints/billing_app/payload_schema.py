"""The wire schema as JSON Schema and as TypeScript, generated from the payload classes.

`python -m billing_app.payload_schema` writes both below docs/billing/schema; a test checks that they are up to date.
"""

import json
from datetime import datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, get_args, get_origin

import attrs

from billing_app.wire_schema import classes_of, description_of, fields_of, schema_of, words_of
from billing_core.payloads import (
    BillingEventPayload,
    EntitlementPayload,
    EntitlementsPayload,
    OperatorStatePayload,
    StatePayload,
)

PATH: Final = "/schemas/billing-event-payload.v2.json"
FOLDER: Final = Path("docs/billing/schema")
SCHEMA_FILE: Final = "billing-event-payload.v2.schema.json"
TYPES_FILE: Final = "billing-event-payload.v2.d.ts"
ROOTS: Final = (BillingEventPayload, StatePayload, OperatorStatePayload, EntitlementsPayload, EntitlementPayload)

_TYPESCRIPT: Final[dict[Any, str]] = {str: "string", int: "number", bool: "boolean", datetime: "string"}


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
    return _TYPESCRIPT_HEAD + "\n".join(_interface(each) for each in classes_of(*ROOTS))


_TYPESCRIPT_HEAD: Final = """\
// The messages of the billing stream and the responses of `/state` and `/entitlements`, version 2. Generated from the
// payload classes; run `python -m billing_app.payload_schema` to regenerate it.
//
// Instants are ISO 8601 in UTC. Amounts are integers in the minor unit of their currency. Words such as `status` come
// from Stripe and are open sets: expect values that are not known yet, and ignore fields that are not listed here.
// Lists of words are closed within a version of this package; a later one may add to them.

"""


def write_files(repository: Path) -> None:
    """Regenerate both files."""
    folder = repository / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCHEMA_FILE).write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
    (folder / TYPES_FILE).write_text(typescript(), encoding="utf-8")


def _interface(cls: type) -> str:
    lines = [f"  {name}: {_typescript_of(hint)};" for name, hint in fields_of(cls)]
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
