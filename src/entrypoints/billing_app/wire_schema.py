"""JSON Schema of the attrs classes that are sent and received."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import attrs

_INT64: Final = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
_PLAIN: Final[dict[Any, dict[str, Any]]] = {
    str: {"type": "string"},
    int: _INT64,
    bool: {"type": "boolean"},
    float: {"type": "number"},
    datetime: {"type": "string", "format": "date-time"},
    object: {},
}


def classes_of(*roots: type) -> list[type]:
    """Return the given classes and every class they contain, each once, containers first."""
    found: list[type] = []
    waiting = [*roots]
    while waiting:
        each = waiting.pop(0)
        if each not in found:
            found.append(each)
            waiting += [part for _, hint in fields_of(each) for part in _parts(hint) if attrs.has(part)]
    return found


def fields_of(cls: type) -> Iterator[tuple[str, Any]]:
    """Return the names and types of a class's fields, in order."""
    hints = get_type_hints(cls, include_extras=True)
    return ((field.name, hints[field.name]) for field in attrs.fields(cls))


def description_of(cls: type) -> str:
    """Return a class's docstring on one line."""
    return " ".join((cls.__doc__ or "").split())


def schema_of(cls: type, references: str) -> dict[str, Any]:
    """Return the schema of one class. Contained classes are referenced below `references`, for example `#/$defs`.

    Objects are open: fields may be added later, and readers ignore unknown ones.
    """
    properties = {name: _schema_of(hint, references) for name, hint in fields_of(cls)}
    required = list(properties)
    return {"description": description_of(cls), "type": "object", "properties": properties, "required": required}


def request_schema_of(cls: type, references: str) -> dict[str, Any]:
    """Return the schema of a class that is received. Objects are closed, and fields with a default may be left out."""
    required = [field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING]
    return {**schema_of(cls, references), "required": required, "additionalProperties": False}


def words_of(hint: Any) -> list[str] | None:
    """Return the words of a closed list: a `Literal`, or `Annotated[str, SomeEnum]`; None for any other type."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [each.value for each in get_args(hint)[1]] if get_origin(hint) is Annotated else None


def _schema_of(hint: Any, references: str) -> dict[str, Any]:
    if (enumerated := words_of(hint)) is not None:
        return {"type": "string", "enum": enumerated}
    origin = get_origin(hint)
    if origin is tuple:
        return {"type": "array", "items": _schema_of(get_args(hint)[0], references)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _schema_of(get_args(hint)[1], references)}
    if origin in (UnionType, Union):  # an optional Literal or id is of the older kind
        (known,) = (each for each in get_args(hint) if each is not NoneType)
        return {"anyOf": [_schema_of(known, references), {"type": "null"}]}
    plain = getattr(hint, "__supertype__", hint)  # of an id
    return {"$ref": f"{references}/{plain.__name__}"} if attrs.has(plain) else _PLAIN[plain]


def _parts(hint: Any) -> Iterator[Any]:
    """Yield the classes that a type consists of."""
    if words_of(hint) is not None:
        return
    arguments = [argument for argument in get_args(hint) if argument is not Ellipsis]
    if not arguments:
        yield hint
    for argument in arguments:
        yield from _parts(argument)
