"""Checks requests to Stripe, its answers and its events against its OpenAPI specification."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

import attrs
from jsonschema_rs import Draft4Validator
from tests.stripe_openapi.forms import coerce, decode_form
from tests.stripe_openapi.schemas import Finding, Problem, Schemas, findings, json_schema
from tests.stripe_openapi.specification import Json, load_specification

_PARAMETER: Final = re.compile(r"\{[^}]+\}")
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_ANYTHING: Final[Json] = {}
"""The schema of an answer that is not described."""

_Shape: TypeAlias = tuple[str | int, ...]
"""The first parts of a path, which are no parameters, and the number of all: only those of one shape are compared."""


@attrs.frozen
class Operation:
    """One method of one path of the specification."""

    name: str
    """Such as `POST /v1/subscriptions/{subscription_exposed_id}`."""
    parameters: Json
    """A translated schema: the parameters of the query and of the body together."""
    answers: Mapping[str, Json]
    """Translated schemas by status; `default` is the error's."""


class SpecificationChecker:
    """A checker for one specification; it reports known differences too, see `differences`."""

    def __init__(self, specification: Json) -> None:
        self._schemas = Schemas(specification)
        self._components: dict[str, Draft4Validator] = {}
        self._validators: dict[int, Draft4Validator] = {}
        self._operations: dict[_Shape, list[tuple[re.Pattern[str], Mapping[str, Operation]]]] = defaultdict(list)
        for path, pattern, methods in _operations(specification["paths"]):
            self._operations[_shape(path)].append((pattern, methods))
        self._objects, self._deleted = _object_schemas(specification["components"]["schemas"])

    def check_endpoint(self, method: str, path: str) -> list[Finding]:
        """Return what is wrong with an address: it is unknown, or known without this method."""
        known = self._operation(method, path) is not None
        return [] if known else [Finding(f"{method} {path}", "", Problem.UNKNOWN)]

    def check_request(self, method: str, path: str, *, query: str = "", body: str = "") -> list[Finding]:
        """Return what is wrong with a request: its address, or parameters that are unknown, missing or of a wrong type.

        Args:
            method: such as `POST`.
            path: such as `/v1/customers/cus_1`, as it was sent.
            query: without the question mark.
            body: a form, or JSON under `/v2/`.
        """
        operation = self._operation(method, path)
        if operation is None:
            return self.check_endpoint(method, path)
        schema = operation.parameters
        given = decode_form(query)
        if path.startswith("/v2/"):
            given = coerce(given, schema, self._fits) | (json.loads(body) if body else {})
        else:
            given = coerce(given | decode_form(body), schema, self._fits)
        return sorted(set(findings(self._validator(schema), given, operation.name)))

    def check_answer(self, method: str, path: str, status: int, answer: object) -> list[Finding]:
        """Return what is wrong with an answer; that to an unknown operation is checked by its `object` value."""
        operation = self._operation(method, path)
        if operation is not None:
            schema = operation.answers.get(str(status), operation.answers.get("default", _ANYTHING))
            return sorted(set(findings(self._validator(schema), answer, operation.name)))
        if status >= 400:
            return sorted(set(findings(self._component("error"), answer, f"{method} {path}")))
        return self.check_object(answer) if isinstance(answer, Mapping) and "object" in answer else []

    def check_event(self, event: Mapping[str, Any]) -> list[Finding]:
        """Return what is wrong with a snapshot event and its object."""
        envelope = findings(self._component("event"), dict(event), "event")
        return sorted({*envelope, *self.check_object(event["data"]["object"])})

    def check_object(self, value: object) -> list[Finding]:
        """Return what is wrong with an object, checked by its `object` value."""
        kind = value.get("object") if isinstance(value, Mapping) else None
        deleted = isinstance(value, Mapping) and value.get("deleted") is True
        schema = (self._deleted if deleted else self._objects).get(str(kind))
        if schema is None:
            return [Finding(str(kind), "", Problem.UNKNOWN)]
        return sorted(set(findings(self._component(schema), value, str(kind))))

    def _operation(self, method: str, path: str) -> Operation | None:
        for pattern, methods in self._operations.get(_shape(path), ()):
            if pattern.fullmatch(path) and method.lower() in methods:
                return methods[method.lower()]
        return None

    def _component(self, name: str) -> Draft4Validator:
        """Return the validator of a component, which is compiled once."""
        if name not in self._components:
            self._components[name] = self._schemas.validator(json_schema({"$ref": f"#/components/schemas/{name}"}))
        return self._components[name]

    def _validator(self, schema: Json) -> Draft4Validator:
        """Return the validator of a schema that an operation keeps, which is compiled once."""
        if id(schema) not in self._validators:
            self._validators[id(schema)] = self._schemas.validator(schema)
        return self._validators[id(schema)]

    def _fits(self, value: Any, schema: Json) -> bool:
        return self._validator(schema).is_valid(value)


@lru_cache(maxsize=1)
def stripe_checker() -> SpecificationChecker:
    """Return the checker for the specification that is installed. Raises SpecificationMissingError."""
    return SpecificationChecker(load_specification())


def _shape(path: str) -> _Shape:
    parts = path.split("/")
    return (*parts[1:3], len(parts))


def _operations(paths: Mapping[str, Json]) -> Iterator[tuple[str, re.Pattern[str], Mapping[str, Operation]]]:
    """Yield operations by path and its pattern; fixed parts come before parameters that could mean the same."""
    for path in sorted(paths, key=lambda path: _PARAMETER.sub("~", path)):
        pattern = "[^/]+".join(re.escape(part) for part in _PARAMETER.split(path))
        yield (
            path,
            re.compile(pattern),
            {method: _translated(f"{method.upper()} {path}", described) for method, described in paths[path].items()},
        )


def _translated(name: str, described: Json) -> Operation:
    return Operation(name, _parameters(described), dict(_answers(described["responses"])))


def _parameters(described: Json) -> Json:
    properties: Json = {}
    required: list[str] = []
    for parameter in described.get("parameters", ()):
        if parameter["in"] == "query":
            properties[parameter["name"]] = json_schema(parameter["schema"])
            required += [parameter["name"]] if parameter.get("required") else []
    for content in described.get("requestBody", {}).get("content", {}).values():
        body = json_schema(content["schema"])
        properties |= body.get("properties", {})
        required += body.get("required", [])
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {})


def _answers(responses: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    for status, response in responses.items():
        if _JSON in response.get("content", {}):
            yield status, json_schema(response["content"][_JSON]["schema"])


def _object_schemas(components: Mapping[str, Json]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the names of the schemas of objects, and of deleted objects, by their `object` value."""
    live: dict[str, str] = {}
    deleted: dict[str, str] = {}
    for name, schema in components.items():
        properties = schema.get("properties", {})
        for kind in properties.get("object", {}).get("enum", ()):
            (deleted if "deleted" in properties else live).setdefault(kind, name)
    return live, deleted


def first_lines(found: Sequence[Finding], limit: int = 10) -> str:
    """Return findings for a test's message."""
    more = f"\n… and {len(found) - limit} more" if len(found) > limit else ""
    return "\n".join(map(str, found[:limit])) + more
