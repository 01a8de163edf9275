"""The parts that the OpenAPI document's operations share: errors, headers, parameters and security schemes."""

from typing import Any, Final, get_args

from billing_app.http.api import DEFAULT_LIMIT, MAX_LIMIT
from billing_app.http.responses import ErrorCode
from billing_app.http.stream.type_filter import GLOB, MAX_GLOBS
from billing_core.model.epoch import POSITION

Json = dict[str, Any]

TEXT: Final = {"type": "string"}
NUMBER: Final = {"type": "integer", "minimum": 0}
POSITION_ID: Final = {"type": "string", "pattern": f"^{POSITION}$"}


def component(name: str) -> Json:
    """Refer to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def parameter(name: str, where: str, description: str, schema: Json) -> Json:
    """Describe a parameter; only those in the path are required."""
    required = where == "path"
    return {"name": name, "in": where, "description": description, "required": required, "schema": schema}


ERROR: Final = {
    "description": "Any failure. `code` is stable and for programs, `message` is for people.",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string", "enum": list(get_args(ErrorCode))}, "message": TEXT},
        }
    },
}

HEADERS: Final = {
    "Retry-After": {
        "description": "Seconds to wait before the next attempt.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "WWW-Authenticate": {"description": "How to authenticate.", "required": True, "schema": TEXT},
}


def _refusal(description: str, *headers: str) -> Json:
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": {"application/json": {"schema": component("Error")}},
    }


REFUSALS: Final = {
    "400": _refusal("The request is malformed."),
    "401": _refusal("The token or ticket is missing or invalid.", "WWW-Authenticate"),
    "403": _refusal("The token belongs to another tenant, or its role may not read."),
    "404": _refusal("The path does not exist or is disabled; the code says which."),
    "408": _refusal("The body did not arrive in time."),
    "413": _refusal("The body is larger than BILLING_BODY_LIMIT_BYTES."),
    "415": _refusal("The body has a Content-Encoding. Signatures cover the bytes as they are sent."),
    "429": _refusal("The tenant's stream quota is used up, or too many webhooks were refused.", "Retry-After"),
    "500": _refusal("An internal error. No stored data is lost."),
    "503": _refusal("Postgres or the issuer's keys are unavailable, or no stream is free.", "Retry-After"),
}

PARAMETERS: Final = {
    "tenant_id": parameter("tenant_id", "path", "The tenant of the token; any other is refused.", TEXT),
    "own_tenant": parameter("X-Tenant-Id", "header", "If sent, it must be the tenant of the token.", TEXT),
    "limit": parameter(
        "limit",
        "query",
        "The maximum number of entries.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
    "after": parameter(
        "after",
        "query",
        "The page starts after this sequence number.",
        {"type": "integer", "minimum": 0, "maximum": 10**18 - 1, "default": 0},
    ),
    "feature": parameter(
        "feature",
        "path",
        "The key of a feature in the catalog, or Stripe's lookup key of one.",
        {"type": "string", "minLength": 1},
    ),
    "quantity": parameter(
        "quantity",
        "query",
        "How much more is asked for; it does not matter for a switch. 0: whether what is there may stay.",
        {"type": "integer", "minimum": 0, "maximum": 10**18 - 1, "default": 1},
    ),
    "used": parameter(
        "used",
        "query",
        "How much there is already, where the caller counts it itself.",
        {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    ),
    "stream_after": parameter(
        "after",
        "query",
        "The `position` of a `/state`: the stream starts with the next change. Without it, only new messages are sent.",
        POSITION_ID,
    ),
    "last_event_id": parameter(
        "Last-Event-ID", "header", "The id of the last event that the client has; it overrides `after`.", POSITION_ID
    ),
    "types": {
        **parameter(
            "types",
            "query",
            "Event types or globs, such as `invoice.*`. Ids, and resuming by them, are those of the whole stream.",
            {
                "type": "array",
                "items": {"type": "string", "pattern": f"^{GLOB}$"},
                "minItems": 1,
                "maxItems": MAX_GLOBS,
            },
        ),
        "style": "form",
        "explode": False,
    },
}

SECURITY_SCHEMES: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token with a tenant claim and a role claim; it may read that tenant's data.",
    },
    "operator": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token with a role of BILLING_JWT_OPERATOR_ROLES and a subject, and without a tenant claim.",
    },
    "ticket": {
        "type": "apiKey",
        "in": "query",
        "name": "ticket",
        "description": "Opens one stream, once, within seconds; for EventSource, which cannot send headers.",
    },
    "metricsToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "The value of BILLING_METRICS_TOKEN.",
    },
}
