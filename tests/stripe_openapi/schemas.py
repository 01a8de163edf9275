"""The specification's schemas as JSON Schema (draft 4), and the places of a value that do not fit one."""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import attrs
from jsonschema_rs import Draft4, Draft4Validator, Registry, ValidationError, ValidationErrorKind
from tests.stripe_openapi.specification import Json

_DOCUMENT: Final = "urn:stripe"
_KEPT: Final = frozenset({"$ref", "enum", "maxLength", "required", "type"})
"""The keywords that are checked. Formats are Stripe's own, and patterns are of another dialect."""


class Problem(StrEnum):
    """The ways in which a field can be wrong."""

    MISSING = "missing"
    UNKNOWN = "unknown"
    VALUE = "value"


@attrs.frozen(order=True)
class Finding:
    """One field that the specification describes differently."""

    subject: str
    """The `object` value of the innermost object around the field, or the operation of a request."""
    field: str
    """The way from the subject to the field, such as `items.price`; members of a list have no index."""
    problem: Problem
    detail: str = attrs.field(default="", eq=False, order=False)

    def __str__(self) -> str:
        return f"{self.subject} {self.field}: {self.problem}{self.detail and f' ({self.detail})'}"


def json_schema(schema: Any, *, optional_or_null: bool = False) -> Any:
    """Translate an OpenAPI 3.0 schema: nullable values may be null, and objects have no properties but the listed.

    Args:
        schema: of the specification.
        optional_or_null: whether a property that is not required may also be null. The second generation's schemas mark
            nothing as nullable. Source: https://docs.stripe.com/api/v2/core/events/object
    """
    if not isinstance(schema, dict):
        return schema

    def translate(inner: Any) -> Any:
        return json_schema(inner, optional_or_null=optional_or_null)

    translated: Json = {key: value for key, value in schema.items() if key in _KEPT}
    if "$ref" in translated:
        return {"$ref": f"{_DOCUMENT}{translated['$ref']}"}
    if "properties" in schema:
        required = schema.get("required", ()) if optional_or_null else schema["properties"]
        translated["properties"] = {
            name: translate(member) if name in required else _or_null(translate(member))
            for name, member in schema["properties"].items()
        }
        translated["additionalProperties"] = False
    if "additionalProperties" in schema:
        translated["additionalProperties"] = translate(schema["additionalProperties"])
    if "items" in schema:
        translated["items"] = translate(schema["items"])
    if "anyOf" in schema:
        translated["anyOf"] = [translate(branch) for branch in schema["anyOf"]]
    return _or_null(translated) if schema.get("nullable") else translated


def _or_null(schema: Any) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


class Schemas:
    """Validators of schemas that may refer to the components of one specification."""

    def __init__(self, specification: Json) -> None:
        components = specification["components"]["schemas"]
        translated = {
            name: json_schema(schema, optional_or_null=name.startswith("v2.")) for name, schema in components.items()
        }
        document = {"components": {"schemas": translated}}
        self._registry = Registry([(_DOCUMENT, document)], draft=Draft4)

    def validator(self, schema: Json) -> Draft4Validator:
        """Return a validator of a translated schema."""
        return Draft4Validator(schema, registry=self._registry)


def findings(validator: Draft4Validator, value: object, subject: str = "") -> Iterator[Finding]:
    """Yield the fields of a value that do not fit; `subject` names what has no `object` of its own."""
    if validator.is_valid(value):  # a tenth of the time
        return
    for error in validator.iter_errors(value):
        yield from _findings(error, value, subject)


def _findings(error: ValidationError, value: object, subject: str) -> Iterator[Finding]:
    path = error.instance_path
    match error.kind:
        case ValidationErrorKind.Required(property=name):
            yield Finding(*_place(value, [*path, name.strip('"')], subject), Problem.MISSING)
        case ValidationErrorKind.AdditionalProperties(unexpected=names):
            for name in names:
                yield Finding(*_place(value, [*path, name], subject), Problem.UNKNOWN)
        case ValidationErrorKind.AnyOf(context=branches):
            for nested in _meant(branches, len(path)):
                yield from _findings(nested, value, subject)
        case _:
            yield Finding(*_place(value, path, subject), Problem.VALUE, error.message[:200])


def _meant(branches: Sequence[Sequence[ValidationError]], depth: int) -> Sequence[ValidationError]:
    """Return the errors of the alternative that the value was meant to be: of its type and `object`, or the nearest."""

    def distance(errors: Sequence[ValidationError]) -> tuple[bool, int]:
        return any(_is_another(error, depth) for error in errors), len(errors)

    return min(branches, key=distance)


def _is_another(error: ValidationError, depth: int) -> bool:
    """Return whether an error says that the value is of another type, or another kind of object."""
    beyond = error.instance_path[depth:]
    match error.kind:
        case ValidationErrorKind.Type():
            return not beyond
        case ValidationErrorKind.Enum():
            return beyond in ([], ["object"], ["type"])
    return False


def _place(value: object, path: Sequence[str | int], subject: str) -> tuple[str, str]:
    """Return the innermost object on a path, by its `object` value, and the rest of the path."""
    start = 0
    for index, step in enumerate(path):
        if isinstance(value, Mapping):
            if isinstance(value.get("object"), str) and value["object"] != "list":
                subject, start = value["object"], index
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
    return subject, ".".join(step for step in path[start:] if isinstance(step, str))
