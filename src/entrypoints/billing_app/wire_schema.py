"""JSON Schema of the attrs classes that are sent."""

from collections.abc import Iterator
from datetime import datetime
from types import NoneType, UnionType
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

import attrs

_INT64: Final = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
_PLAIN: Final[dict[Any, dict[str, Any]]] = {
    str: {"type": "string"},
    int: _INT64,
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
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


def words_of(hint: Any) -> list[str] | None:
    """Return the words of a closed list, declared as `Annotated[str, SomeEnum]`; None for any other type."""
    return [each.value for each in get_args(hint)[1]] if get_origin(hint) is Annotated else None


def _schema_of(hint: Any, references: str) -> dict[str, Any]:
    if (words := words_of(hint)) is not None:
        return {"type": "string", "enum": words}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _schema_of(get_args(hint)[0], references)}
    if get_origin(hint) is UnionType:
        (known,) = (each for each in get_args(hint) if each is not NoneType)
        return {"anyOf": [_schema_of(known, references), {"type": "null"}]}
    return {"$ref": f"{references}/{hint.__name__}"} if attrs.has(hint) else _PLAIN[hint]


def _parts(hint: Any) -> Iterator[Any]:
    """Yield the classes that a type consists of."""
    if words_of(hint) is not None:
        return
    arguments = [argument for argument in get_args(hint) if argument is not Ellipsis]
    if not arguments:
        yield hint
    for argument in arguments:
        yield from _parts(argument)
