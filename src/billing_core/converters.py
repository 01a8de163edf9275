"""Records as JSON: how adapters that keep them as documents write and read them."""

import json
from typing import Any, Final

import attrs
from cattrs import Converter

from billing_core.model import RECORD_KINDS, RecordSnapshot

_reader: Final = Converter(detailed_validation=False)


def record_to_json(snapshot: RecordSnapshot) -> str:
    """All fields of a record but its kind, as one line of JSON."""
    return json.dumps(attrs.asdict(snapshot), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def record_from_json(kind: str, text: str | bytes) -> RecordSnapshot:
    """Read back what `record_to_json` wrote of a record of this kind.

    Fields that are not known, because a later version wrote them, are left out; missing ones take their default.
    Raises: KeyError for an unknown kind; ValueError, KeyError or TypeError for what is no such record.
    """
    fields: Any = json.loads(text)
    return _reader.structure(fields, RECORD_KINDS[kind])
