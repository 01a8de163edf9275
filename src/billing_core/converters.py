"""JSON as the domain writes and reads it: messages, stored records and the values that `--json` prints.

A database row holds objects where JSON holds strings, so an adapter that structures rows needs its own converter.
"""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.dispatch import UnstructureHook
from cattrs.fns import identity
from cattrs.gen import make_dict_unstructure_fn, override

from billing_core.model import RECORD_KINDS, AccessState, BillingRules, Grace, PlanFeature, RecordSnapshot

T = TypeVar("T")

try:  # the `speed` extra; both encoders write the same bytes
    import orjson

    def encode(value: object) -> str:
        """Encode dicts, lists, scalars and UTC instants as one line of JSON."""
        return orjson.dumps(value, None, orjson.OPT_UTC_Z).decode()

    def decode(text: str | bytes) -> Any:
        """Decode JSON into dicts, lists and scalars. Raises ValueError."""
        return orjson.loads(text)

except ImportError:

    def encode(value: object) -> str:
        """Encode dicts, lists, scalars and UTC instants as one line of JSON."""
        return json.dumps(value, default=_instant_to_json, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def decode(text: str | bytes) -> Any:
        """Decode JSON into dicts, lists and scalars. Raises ValueError."""
        return json.loads(text)

    def _instant_to_json(value: datetime) -> str:
        return value.isoformat().replace("+00:00", "Z")


def dumps(value: object) -> str:
    """Encode attrs values, mappings and sequences as one line of JSON: it holds no line break, whatever its strings do.

    Instants are written as ISO 8601 with `Z`.
    """
    return encode(_json.unstructure(value))


def loads(text: str | bytes, cls: type[T]) -> T:
    """Decode a value that `dumps` wrote. Fields that the class does not know are ignored.

    Raises: ValueError, KeyError or TypeError if the text holds no such value.
    """
    return from_decoded(decode(text), cls)


def from_decoded(content: object, cls: type[T]) -> T:
    """Build a value from decoded JSON, as `loads` does."""
    return _json.structure(content, cls)


def to_plain(value: object) -> Any:
    """Return dicts, lists and scalars that any JSON encoder accepts; instants end in their offset, `+00:00`."""
    return _plain.unstructure(value)


def record_to_json(snapshot: RecordSnapshot) -> str:
    """Encode all fields of a record except its kind."""
    return dumps(snapshot)


def record_from_json(kind: str, text: str | bytes) -> RecordSnapshot:
    """Decode a record of the given kind from the text that `record_to_json` wrote.

    Fields that only a later version knows are ignored; missing ones take their defaults.
    Raises: KeyError for an unknown kind; ValueError, KeyError or TypeError if the text holds no such record.
    """
    return loads(text, RECORD_KINDS[kind])


def rules_to_json(rules: BillingRules) -> str:
    """Encode rules so that equal ones have equal texts, whatever the order of their plans and statuses."""
    plain = _rules.unstructure(attrs.evolve(rules, plans=tuple(sorted(rules.plans, key=lambda plan: plan.plan_code))))
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def rules_from_json(text: str | bytes) -> BillingRules:
    """Decode rules that `rules_to_json` wrote, with plans by code; parts that only a later version knows are ignored.

    Raises: ValueError, KeyError or TypeError if the text holds no rules.
    """
    return _rules.structure(decode(text), BillingRules)


def _instant_from_json(value: str, _: object) -> datetime:
    instant = datetime.fromisoformat(value)
    if instant.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    return instant.astimezone(UTC)


def _is_optional(kind: Any) -> bool:
    return isinstance(kind, UnionType) and len(get_args(kind)) == 2 and NoneType in get_args(kind)


def _optional_hook(kind: Any, converter: Converter) -> UnstructureHook:
    """Return the hook of an optional value: none at all where the encoder takes the value as it is.

    cattrs calls a function for each; most fields of a message are optional text, numbers and instants.
    """
    (required,) = (each for each in get_args(kind) if each is not NoneType)
    as_it_is = converter.get_unstructure_hook(required) is identity
    return identity if as_it_is else converter.gen_unstructure_optional(kind)


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is tuple and get_args(kind)[1:] == (...,)


def _list_hook(kind: Any, converter: Converter) -> UnstructureHook:
    """Return the hook of a tuple of any length. cattrs runs a generator for each, also for empty ones."""
    unstructure = converter.get_unstructure_hook(get_args(kind)[0])
    if unstructure is identity:
        return list
    return lambda values: [unstructure(each) for each in values]


# Instants pass through: the encoder writes them faster than a hook would.
_json: Final = Converter(detailed_validation=False, unstruct_collection_overrides={tuple: list})
_json.register_unstructure_hook_factory(_is_optional, _optional_hook)
_json.register_unstructure_hook_factory(_is_list, _list_hook)
_json.register_structure_hook(datetime, _instant_from_json)
_json.register_unstructure_hook(Decimal, str)
_json.register_structure_hook(Decimal, lambda value, _: Decimal(value))

_plain: Final = _json.copy()
_plain.register_unstructure_hook(datetime, datetime.isoformat)

_rules: Final = _json.copy(unstruct_collection_overrides={tuple: list, frozenset: sorted})
_rules.register_unstructure_hook(timedelta, timedelta.total_seconds)
_rules.register_structure_hook(timedelta, lambda seconds, _: timedelta(seconds=seconds))

_unless_default: Final = override(omit_if_default=True)
# Rules that were stored before these fields existed keep their fingerprint.
_rules.register_unstructure_hook(
    PlanFeature,
    make_dict_unstructure_fn(PlanFeature, _rules, per_seat=_unless_default, read_only=_unless_default),
)


def _access_rule(value: Any, _: object) -> AccessState | Grace | None:
    if value is None or isinstance(value, str):
        return None if value is None else AccessState(value)
    return _rules.structure(value, Grace)


_rules.register_structure_hook(AccessState | Grace, _access_rule)
_rules.register_structure_hook(AccessState | Grace | None, _access_rule)
