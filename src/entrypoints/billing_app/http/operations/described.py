"""The routes of operations in the OpenAPI document, made from the table that serves them."""

import re
from typing import Final

from billing_app.http.openapi_components import TEXT, Json, component, parameter
from billing_app.http.operations.calling import IDEMPOTENCY_KEY, OperationRoute
from billing_app.http.operations.routes import ROUTES
from billing_app.wire_schema import classes_of, request_schema_of, schema_of
from billing_core.operations.stored import LONGEST_REQUEST_ID

_REFERENCES: Final = "#/components/schemas"
_NAMED: Final = re.compile(r"{(\w+)}")
_PROBLEM: Final = {
    "description": "A failure, in the form of RFC 9457. `code` is stable and for programs, `detail` is for people.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": TEXT,
        "status": {"type": "integer"},
        "detail": TEXT,
        "code": TEXT,
        "parameter": TEXT,
        "decline_code": TEXT,
        "retryable": {"type": "boolean"},
        "new_key_needed": {"type": "boolean"},
        "matched": {"type": "integer", "minimum": 0},
    },
}
_FAILURES: Final = {
    "400": "The request is malformed; the detail names every field at fault.",
    "401": "The token is missing or invalid.",
    "402": "The payment failed. A new attempt is a new decision, with a new Idempotency-Key.",
    "403": "The token belongs to another tenant, or its role may not do this.",
    "404": "The plan, subscription or other object is unknown, or operations are disabled.",
    "409": "It is in conflict with the state as it is, or with a request in progress.",
    "413": "The body is too large.",
    "422": "The values do not fit, or the Idempotency-Key was used with other values.",
    "500": "An internal error.",
    "502": "Our key is refused by Stripe. An operator has to act.",
    "503": "Stripe or Postgres is unavailable. Send the request again with the same Idempotency-Key.",
}


def schemas() -> Json:
    """Return the schemas of bodies, answers and problems, by name."""
    received = classes_of(*dict.fromkeys(route.body for route in ROUTES if route.body is not None))
    sent = classes_of(*dict.fromkeys(route.answer for route in ROUTES))
    return {
        **{each.__name__: request_schema_of(each, _REFERENCES) for each in received},
        **{each.__name__: schema_of(each, _REFERENCES) for each in sent},
        "Problem": _PROBLEM,
    }


def paths() -> Json:
    """Return the routes, by path and method."""
    described: Json = {}
    for route in ROUTES:
        described.setdefault(route.path, {})[route.method.lower()] = _described(route)
    return described


def _described(route: OperationRoute) -> Json:
    answer = {"description": "Done.", "content": {"application/json": {"schema": component(route.answer.__name__)}}}
    described: Json = {
        "operationId": route.operation_id,
        "tags": ["operations"],
        "summary": route.summary,
        "parameters": _parameters(route),
        "security": [{"bearer": []}],
        "responses": {"200": answer, **{status: problem_response(status, text) for status, text in _FAILURES.items()}},
    }
    if route.body is not None:
        content = {"application/json": {"schema": component(route.body.__name__)}}
        described["requestBody"] = {"required": bool(request_schema_of(route.body, "")["required"]), "content": content}
    return described


def _parameters(route: OperationRoute) -> list[Json]:
    names = _NAMED.findall(route.path)
    shared = [name for name in names if name == "tenant_id"]
    found = [{"$ref": f"#/components/parameters/{name}"} for name in (*shared, "own_tenant")]
    found += [parameter(name, "path", "An id.", TEXT) for name in names if name != "tenant_id"]
    found += [parameter(name, "query", "Required.", _short()) | {"required": True} for name in route.query]
    if route.writes:
        description = "New for each decision, the same for each retry of it: nothing is done twice."
        found.append(parameter(IDEMPOTENCY_KEY, "header", description, _short()) | {"required": True})
    return found


def _short() -> Json:
    return {"type": "string", "minLength": 1, "maxLength": LONGEST_REQUEST_ID, "pattern": "^[!-~]+$"}


def problem_response(status: str, description: str) -> Json:
    """Describe a failure as a problem of RFC 9457."""
    content = {"application/problem+json": {"schema": component("Problem")}}
    headers = {}
    if status == "401":
        headers = {"WWW-Authenticate": {"$ref": "#/components/headers/WWW-Authenticate"}}
    if status == "503":
        headers = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
    return {"description": description, "headers": headers, "content": content}
