"""Nullable fields that an object leaves out: Stripe always shows them, which the specification cannot say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.stripe_openapi.specification import Json

ON_REQUEST: Final = frozenset(
    {
        ("billing_portal.configuration", "features.subscription_update.products"),
        ("charge", "refunds"),
        ("customer", "cash_balance"),
        ("invoice", "confirmation_secret"),
        ("line_item", "subscription"),
    }
)
"""Fields that are shown only when a request asks for them.

Sources: https://docs.stripe.com/api/expanding_objects; the last one is replaced by `parent` since 2025-03-31.basil.
"""


class NullableFields:
    """Compares objects with the schemas of one specification."""

    def __init__(self, specification: Json) -> None:
        self._schemas: Json = specification["components"]["schemas"]
        self._kinds = {
            kinds[0]: schema
            for name, schema in self._schemas.items()
            if not name.startswith("deleted_") and (kinds := schema.get("properties", {}).get("object", {}).get("enum"))
        }

    def left_out(self, value: object) -> set[tuple[str, str]]:
        """Return the fields that an object or its parts leave out: the `object` value, and the way from there."""
        return set(self._walk(value, {}, "", ())) - ON_REQUEST

    def _walk(self, value: object, schema: Json, kind: str, way: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        schema = self._resolved(schema)
        if isinstance(value, list):
            for member in value:
                yield from self._walk(member, schema.get("items", {}), kind, way)
            return
        if not isinstance(value, dict):
            return
        named = value.get("object")
        if isinstance(named, str) and named in self._kinds:
            kind, way, schema = named, (), self._kinds[named]
        schema = self._meant(schema, value)
        fields, required = schema.get("properties", {}), schema.get("required", ())
        for name, member in value.items():
            yield from self._walk(member, fields.get(name, {}), kind, (*way, name))
        for name in fields.keys() - value.keys() - set(required):
            if fields[name].get("nullable"):
                yield kind, ".".join((*way, name))

    def _resolved(self, schema: Json) -> Json:
        while "$ref" in schema:
            schema = self._schemas[schema["$ref"].rpartition("/")[2]]
        return schema

    def _meant(self, schema: Json, value: Mapping[str, Any]) -> Json:
        """Return the alternative that describes all fields of a value."""
        branches = [self._resolved(branch) for branch in schema.get("anyOf", ())]
        return next((each for each in branches if value.keys() <= each.get("properties", {}).keys()), schema)
