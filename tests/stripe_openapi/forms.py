"""Form parameters as Stripe reads them: nested by their brackets, and text turned into the types of a schema."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import parse_qsl

from tests.stripe_openapi.specification import Json

_NAME: Final = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_STEP: Final = re.compile(r"\[([^\[\]]*)\]")
_INTEGER: Final = re.compile(r"-?\d+")
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")

Fits = Callable[[Any, Json], bool]
"""Whether a value is valid under a schema."""


def decode_form(text: str) -> Json:
    """Return the parameters of a form or query, nested by their names; lists are still mappings by index."""
    decoded: Json = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        _insert(decoded, _steps(name), value)
    return decoded


def _steps(name: str) -> list[str]:
    match = _NAME.fullmatch(name)
    return [name] if match is None else [match[1], *_STEP.findall(match[2])]


def _insert(target: Json, steps: list[str], value: str) -> None:
    step, *rest = steps
    key = step or str(len(target))  # `expand[]=…` appends
    if not rest:
        target[key] = value
        return
    inner = target.setdefault(key, {})
    if isinstance(inner, dict):
        _insert(inner, rest, value)


def coerce(value: object, schema: Json, fits: Fits) -> object:
    """Return a decoded parameter with the types that its schema names, as far as it has them."""
    if "anyOf" in schema:
        candidates = [coerce(value, branch, fits) for branch in schema["anyOf"]]
        fitting = (
            candidate for candidate, branch in zip(candidates, schema["anyOf"], strict=True) if fits(candidate, branch)
        )
        return next(fitting, _nearest(value, candidates))
    if isinstance(value, dict):
        return _coerce_members(value, schema, fits)
    if isinstance(value, str):
        return _coerce_text(value, schema)
    return value


def _coerce_members(value: Json, schema: Json, fits: Fits) -> object:
    if schema.get("type") == "array":
        return [coerce(member, schema.get("items", {}), fits) for member in value.values()]
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    return {
        name: coerce(member, properties.get(name, others if isinstance(others, dict) else {}), fits)
        for name, member in value.items()
    }


def _coerce_text(value: str, schema: Json) -> object:
    match schema.get("type"):
        case "integer" if _INTEGER.fullmatch(value):
            return int(value)
        case "number" if _NUMBER.fullmatch(value):
            return float(value)
        case "boolean" if value in ("true", "false"):
            return value == "true"
    return value


def _nearest(value: object, candidates: Iterable[object]) -> object:
    """Return the first reading of a value that changed it, so that details are reported where no alternative fits."""
    return next((candidate for candidate in candidates if candidate != value), value)
