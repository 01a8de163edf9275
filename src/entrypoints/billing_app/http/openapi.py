"""The whole HTTP surface as an OpenAPI 3.1 document, its components made from the classes that are sent.

`python -m billing_app.http.openapi` writes it to docs/billing/schema/openapi.json; a test checks that it is up to date.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, get_args

from billing_app import payload_schema
from billing_app.http.api import DEFAULT_LIMIT, MAX_LIMIT
from billing_app.http.pages import ASSETS
from billing_app.http.responses import ErrorCode
from billing_app.http.stream.type_filter import GLOB, MAX_GLOBS
from billing_app.wire_schema import classes_of, schema_of
from billing_core.events import BillingEventType, ReceiptStatus
from billing_core.model.epoch import POSITION
from billing_core.payloads import AdjustmentSection

PATH: Final = "/openapi.json"
FILE: Final = payload_schema.FOLDER / "openapi.json"

_Json = dict[str, Any]

_ROOTS: Final = (*payload_schema.ROOTS, AdjustmentSection)
_TENANT: Final = "/api/v1/billing/tenants/{tenant_id}"
_STREAM: Final = "/api/v1/billing/stream"
_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "integer", "minimum": 0}
_POSITION: Final = {"type": "string", "pattern": f"^{POSITION}$"}


def document() -> _Json:
    """Describe a server that has everything switched on."""
    schemas = {each.__name__: schema_of(each, "#/components/schemas") for each in classes_of(*_ROOTS)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Billing",
            "version": "1",
            "description": "Signed Stripe webhooks in; each tenant's billing state, history and live stream out.",
        },
        "tags": [
            {"name": "webhooks", "description": "What Stripe sends."},
            {"name": "stream", "description": "A tenant's changes as they happen."},
            {"name": "state", "description": "What a tenant has, and the numbered history of how it came about."},
            {"name": "operations", "description": "For the orchestrator and the operator."},
            {"name": "page", "description": "The activity page, its files, and what describes this surface."},
        ],
        "paths": {**_webhooks(), **_stream(), **_read_api(), **_operations(), **_pages()},
        "components": {
            "schemas": {**schemas, "Error": _ERROR},
            "responses": _REFUSALS,
            "parameters": _PARAMETERS,
            "headers": _HEADERS,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A token whose tenant and role claims say whose data may be read.",
                },
                "ticket": {
                    "type": "apiKey",
                    "in": "query",
                    "name": "ticket",
                    "description": "Opens one stream, once, within seconds: for EventSource, which sends no header.",
                },
                "metricsToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The value of BILLING_METRICS_TOKEN; asked for when that is set.",
                },
            },
        },
    }


_ERROR: Final = {
    "description": "Every failure: `code` is for programs and stable, `message` for people.",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string", "enum": list(get_args(ErrorCode))}, "message": _TEXT},
        }
    },
}

_HEADERS: Final = {
    "Retry-After": {
        "description": "How many seconds to wait before another attempt.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "WWW-Authenticate": {"description": "How to prove who asks.", "required": True, "schema": _TEXT},
}


def _component(name: str) -> _Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _refusal(description: str, *headers: str) -> _Json:
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": {"application/json": {"schema": _component("Error")}},
    }


_REFUSALS: Final = {
    "400": _refusal("The request is not as it must be."),
    "401": _refusal("No valid token, or no valid ticket.", "WWW-Authenticate"),
    "403": _refusal("The token is another tenant's, or its role may not read."),
    "404": _refusal("Nothing is here, or it is switched off; the code says which."),
    "408": _refusal("The body did not arrive in time."),
    "413": _refusal("The body is larger than BILLING_BODY_LIMIT_BYTES."),
    "415": _refusal("The body has a Content-Encoding; signatures are over the bytes as they are sent."),
    "429": _refusal("The tenant's quota of streams is used up.", "Retry-After"),
    "500": _refusal("A fault of ours. Nothing is lost by it."),
    "503": _refusal("Postgres, the issuer's keys or a place for the stream are not to be had just now.", "Retry-After"),
}


def _parameter(name: str, where: str, description: str, schema: _Json) -> _Json:
    required = where == "path"
    return {"name": name, "in": where, "description": description, "required": required, "schema": schema}


_PARAMETERS: Final = {
    "tenant_id": _parameter("tenant_id", "path", "The tenant of the token; no other is answered.", _TEXT),
    "own_tenant": _parameter("X-Tenant-Id", "header", "When sent, it must be the tenant of the token.", _TEXT),
    "limit": _parameter(
        "limit",
        "query",
        "How many at most.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
    "after": _parameter(
        "after",
        "query",
        "The sequence number behind which the page begins.",
        {"type": "integer", "minimum": 0, "maximum": 10**18 - 1, "default": 0},
    ),
    "stream_after": _parameter(
        "after",
        "query",
        "The `position` of a `/state` whose changes the stream shall go on with. Without it only new ones come.",
        _POSITION,
    ),
    "last_event_id": _parameter(
        "Last-Event-ID", "header", "The id of the last event that the client has; it outranks `after`.", _POSITION
    ),
    "types": {
        **_parameter(
            "types",
            "query",
            "Event types or globs, such as `invoice.*`. Ids and resuming stay those of the whole stream.",
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


def _operation(
    operation_id: str,
    tag: str,
    summary: str,
    answers: Mapping[str, _Json],
    refusals: tuple[int, ...] = (),
    *,
    parameters: tuple[str, ...] = (),
    security: tuple[str, ...] = (),
    **more: Any,
) -> _Json:
    return {
        "operationId": operation_id,
        "tags": [tag],
        "summary": summary,
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in parameters],
        "security": [{name: []} for name in security],  # more than one: any of them
        **more,
        "responses": {
            **answers,
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in (*refusals, 500)},
        },
    }


def _json(description: str, schema: _Json) -> _Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _object(**properties: _Json) -> _Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _listing(name: str, member: str) -> _Json:
    return _object(tenant_id=_TEXT, **{name: {"type": "array", "items": _component(member)}})


def _webhooks() -> _Json:
    receipt = _object(status={"type": "string", "enum": [each.value for each in ReceiptStatus]}, event_id=_TEXT)
    signature = _parameter("Stripe-Signature", "header", "Over the bytes of the body as they are sent.", _TEXT)
    operation = _operation(
        "receiveStripeWebhook",
        "webhooks",
        "Store a signed event. It is durable when the answer comes, and applied soon afterwards.",
        {"202": _json("Stored now, or before. Both are final.", receipt)},
        (400, 404, 408, 413, 415, 503),
        requestBody={"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
    )
    return {"/webhooks/stripe": {"post": {**operation, "parameters": [signature | {"required": True}]}}}


def _stream() -> _Json:
    frames = (
        "The first frame has `retry:` and the client's position as `id:`. The `id:` of a message is where to resume "
        "behind it. `reset` says to load `/state` again, `reconnect` that the stream ends now."
    )
    message, reset, reconnect = _component("BillingEventPayload"), _object(sequence=_NUMBER), _object(reason=_TEXT)
    data = {"contentMediaType": "application/json", "contentSchema": {"anyOf": [message, reset, reconnect]}}
    body = {
        "type": "object",
        "properties": {
            "id": _POSITION,
            "event": {"type": "string", "enum": [*(each.value for each in BillingEventType), "reset", "reconnect"]},
            "data": {"type": "string", **data},
        },
        "required": ["event", "data"],
    }
    opened = _operation(
        "openStream",
        "stream",
        "A tenant's events as server-sent events, each once and in order, from where the client left off.",
        {"200": {"description": frames, "content": {"text/event-stream": {"schema": body}}}},
        (400, 401, 403, 404, 429, 503),
        parameters=("stream_after", "last_event_id", "types", "own_tenant"),
        security=("bearer", "ticket"),
    )
    ticket = _operation(
        "issueStreamTicket",
        "stream",
        "A ticket that opens one stream in place of a token.",
        {"201": _json("The ticket.", _object(ticket=_TEXT, expires_at={"type": "string", "format": "date-time"}))},
        (401, 403, 404, 503),
        parameters=("own_tenant",),
        security=("bearer",),
    )
    return {_STREAM: {"get": opened}, f"{_STREAM}/tickets": {"post": ticket}}


def _read_api() -> _Json:
    def read(operation_id: str, summary: str, schema: _Json, *parameters: str) -> _Json:
        refusals = (*((400,) if parameters else ()), 401, 403, 404, 503)
        operation = _operation(
            operation_id,
            "state",
            summary,
            {"200": _json("As of one moment.", schema)},
            refusals,
            parameters=("tenant_id", "own_tenant", *parameters),
            security=("bearer",),
        )
        return {"get": operation}

    history = _object(
        tenant_id=_TEXT,
        next_after={"type": ["integer", "null"]},
        events={"type": "array", "items": _component("BillingEventPayload")},
    )
    return {
        f"{_TENANT}/state": read("readState", "Everything at once, read in one snapshot.", _component("StatePayload")),
        f"{_TENANT}/subscriptions": read(
            "listSubscriptions", "All subscriptions.", _listing("subscriptions", "SubscriptionSection")
        ),
        f"{_TENANT}/invoices": read(
            "listInvoices", "The latest invoices.", _listing("invoices", "InvoiceSection"), "limit"
        ),
        f"{_TENANT}/usage": read("listUsage", "The latest billed usage.", _listing("usage", "UsageSection"), "limit"),
        f"{_TENANT}/adjustments": read(
            "listAdjustments",
            "Refunds, disputes and credit notes.",
            _listing("adjustments", "AdjustmentSection"),
            "limit",
        ),
        f"{_TENANT}/events": read(
            "listEvents",
            "A page of the numbered history. `next_after` is what to ask for next, null at the end.",
            history,
            *("after", "limit"),
        ),
    }


def _operations() -> _Json:
    ready = _object(
        status={"type": "string", "enum": ["ready", "unavailable"]},
        checks={"type": "object", "additionalProperties": _TEXT},
    )
    counted = {"description": "In the format the scraper asked for.", "content": {"text/plain": {"schema": _TEXT}}}
    return {
        "/healthz": {
            "get": _operation(
                "healthz",
                "operations",
                "The process runs.",
                {"200": _json("It does.", _object(status={"const": "ok"}))},
            )
        },
        "/readyz": {
            "get": _operation(
                "readyz",
                "operations",
                "Whether to send this process requests.",
                {"200": _json("It can do its work.", ready), "503": _json("Something it needs is away.", ready)},
            )
        },
        "/metrics": {
            "get": _operation(
                "metrics",
                "operations",
                "What Prometheus scrapes.",
                {"200": counted},
                (401,),
            )
            | {"security": [{"metricsToken": []}, {}]}  # none, where none is set
        },
    }


def _pages() -> _Json:
    def page(operation_id: str, summary: str, content: _Json) -> _Json:
        return {"get": _operation(operation_id, "page", summary, {"200": {"description": summary, "content": content}})}

    def text(*media_types: str) -> _Json:
        return {media_type: {"schema": _TEXT} for media_type in media_types}

    described = {"schema": {"type": "object"}}
    to_page = {"302": {"description": "Leads to /activity.", "headers": {"Location": {"schema": _TEXT}}}}
    files = text("text/javascript", "text/css", "image/svg+xml", "text/plain")
    file = {"200": {"description": "The file.", "content": files}}
    asset = _operation("readAsset", "page", "A file of the page.", file, (404,))
    names = {"type": "string", "enum": list(ASSETS)}
    asset["parameters"] = [_parameter("name", "path", "A closed list; nothing else is served.", names)]
    return {
        "/": {"get": _operation("openRoot", "page", "The way to the page.", to_page)},
        "/activity": page("openActivity", "The activity page.", text("text/html")),
        "/assets/{name}": {"get": asset},
        payload_schema.PATH: page("readSchema", "JSON Schema of the messages.", {"application/schema+json": described}),
        PATH: page("readOpenapi", "This document.", {"application/json": described}),
    }


def rendered() -> str:
    """The document as it is kept in the repository."""
    return json.dumps(document(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(rendered(), encoding="utf-8")
