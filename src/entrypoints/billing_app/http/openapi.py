"""The HTTP surface as an OpenAPI 3.1 document. The schemas of messages are generated from the classes that are sent.

`python -m billing_app.http.openapi` writes it to docs/billing/schema/openapi.json; a test fails if that is out of date.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from billing_app import payload_schema
from billing_app.http.openapi_components import (
    ERROR,
    HEADERS,
    NUMBER,
    PARAMETERS,
    POSITION_ID,
    REFUSALS,
    SECURITY_SCHEMES,
    TEXT,
    Json,
    component,
    parameter,
)
from billing_app.http.operations import described
from billing_app.http.operator import described as operator
from billing_app.http.pages import ASSETS, COMPONENT_ASSETS, OPERATORS_ASSETS
from billing_app.wire_schema import classes_of, schema_of
from billing_core.events import BillingEventType, ReceiptStatus
from billing_core.payloads import AdjustmentSection

PATH: Final = "/openapi.json"
FILE: Final = payload_schema.FOLDER / "openapi.json"

_ROOTS: Final = (*payload_schema.ROOTS, AdjustmentSection)
_TENANT: Final = "/api/v1/billing/tenants/{tenant_id}"
_STREAM: Final = "/api/v1/billing/stream"


def document() -> Json:
    """Describe a server on which everything is enabled."""
    schemas = {each.__name__: schema_of(each, "#/components/schemas") for each in classes_of(*_ROOTS)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Billing",
            "version": "1",
            "description": "Takes signed Stripe webhooks and serves each tenant's billing state, history and stream.",
        },
        "tags": [
            {"name": "webhooks", "description": "Events from Stripe."},
            {"name": "stream", "description": "A tenant's changes as they happen."},
            {"name": "state", "description": "A tenant's current billing state and its numbered history."},
            {"name": "operations", "description": "Everything that an application asks of Stripe for a tenant."},
            {
                "name": "operator",
                "description": "What operators see and do, across all tenants.",
            },
            {"name": "monitoring", "description": "For orchestrators and monitoring."},
            {
                "name": "page",
                "description": "The activity page, the operator's page, their files, and the descriptions of this API.",
            },
        ],
        "paths": _together(
            _webhooks(), _stream(), _read_api(), described.paths(), operator.paths(), _monitoring(), _pages()
        ),
        "components": {
            "schemas": {**described.schemas(), **operator.schemas(), **schemas, "Error": ERROR},
            "responses": REFUSALS,
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _together(*parts: Json) -> Json:
    """Return all paths; one that several parts describe has the methods of all of them."""
    paths: Json = {}
    for part in parts:
        for path, methods in part.items():
            paths[path] = {**paths.get(path, {}), **methods}
    return paths


def _operation(
    operation_id: str,
    tag: str,
    summary: str,
    responses: Mapping[str, Json],
    refusals: tuple[int, ...] = (),
    *,
    parameters: tuple[str, ...] = (),
    security: tuple[str, ...] = (),
    **more: Any,
) -> Json:
    return {
        "operationId": operation_id,
        "tags": [tag],
        "summary": summary,
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in parameters],
        "security": [{name: []} for name in security],  # any one of them
        **more,
        "responses": {
            **responses,
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in (*refusals, 500)},
        },
    }


def _json(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _object(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _listing(name: str, member: str) -> Json:
    return _object(tenant_id=TEXT, **{name: {"type": "array", "items": component(member)}})


def _webhooks() -> Json:
    receipt = _object(status={"type": "string", "enum": [each.value for each in ReceiptStatus]}, event_id=TEXT)
    signature = parameter("Stripe-Signature", "header", "A signature over the bytes of the body as sent.", TEXT)
    operation = _operation(
        "receiveStripeWebhook",
        "webhooks",
        "Store a signed event. It is durable when the response arrives, and applied soon afterwards.",
        {"202": _json("Stored, now (`accepted`) or before (`duplicate`). Both are final.", receipt)},
        (400, 404, 408, 413, 415, 429, 503),
        requestBody={"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
    )
    return {"/webhooks/stripe": {"post": {**operation, "parameters": [signature | {"required": True}]}}}


def _stream() -> Json:
    frames = (
        "The first frame has `retry:` and the client's position as `id:`. Resume after a message with its `id:`. "
        "After `reset`, load `/state` again; after `reconnect`, the stream ends."
    )
    message, reset, reconnect = component("BillingEventPayload"), _object(sequence=NUMBER), _object(reason=TEXT)
    data = {"contentMediaType": "application/json", "contentSchema": {"anyOf": [message, reset, reconnect]}}
    body = {
        "type": "object",
        "properties": {
            "id": POSITION_ID,
            "event": {"type": "string", "enum": [*(each.value for each in BillingEventType), "reset", "reconnect"]},
            "data": {"type": "string", **data},
        },
        "required": ["event", "data"],
    }
    opened = _operation(
        "openStream",
        "stream",
        "Send a tenant's events as server-sent events, each once and in order, from where the client left off.",
        {"200": {"description": frames, "content": {"text/event-stream": {"schema": body}}}},
        (400, 401, 403, 404, 429, 503),
        parameters=("stream_after", "last_event_id", "types", "own_tenant"),
        security=("bearer", "ticket"),
    )
    ticket = _operation(
        "issueStreamTicket",
        "stream",
        "Issue a ticket that opens one stream in place of a token.",
        {"201": _json("The ticket.", _object(ticket=TEXT, expires_at={"type": "string", "format": "date-time"}))},
        (401, 403, 404, 503),
        parameters=("own_tenant",),
        security=("bearer",),
    )
    return {_STREAM: {"get": opened}, f"{_STREAM}/tickets": {"post": ticket}}


def _read_api() -> Json:
    def read(operation_id: str, summary: str, schema: Json, *parameters: str) -> Json:
        refusals = (*((400,) if parameters else ()), 401, 403, 404, 503)
        operation = _operation(
            operation_id,
            "state",
            summary,
            {"200": _json("Read in one snapshot.", schema)},
            refusals,
            parameters=("tenant_id", "own_tenant", *parameters),
            security=("bearer",),
        )
        return {"get": operation}

    history = _object(
        tenant_id=TEXT,
        next_after={"type": ["integer", "null"]},
        events={"type": "array", "items": component("BillingEventPayload")},
    )
    return {
        f"{_TENANT}/state": read(
            "readState",
            "Everything that the tenant has now; for operators, also what needs attention.",
            {"anyOf": [component("StatePayload"), component("OperatorStatePayload")]},
        ),
        f"{_TENANT}/viewer": read(
            "readViewer",
            "What the bearer of the token may do.",
            _object(tenant_id=TEXT, role=TEXT, may_write={"type": "boolean"}, operations={"type": "boolean"}),
        ),
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
            "A page of the numbered history. `next_after` is the `after` of the next page; null at the end.",
            history,
            *("after", "limit"),
        ),
        f"{_TENANT}/entitlements": read(
            "readEntitlements",
            "Every feature that a plan lists or the tenant has, and what is left of it.",
            component("EntitlementsPayload"),
        ),
        f"{_TENANT}/entitlements/{{feature}}": read(
            "readEntitlement",
            "Whether the tenant may use a feature, or so much more of it. An unknown one is refused with that reason.",
            component("EntitlementPayload"),
            *("feature", "quantity", "used"),
        ),
    }


def _monitoring() -> Json:
    ready = _object(
        status={"type": "string", "enum": ["ready", "unavailable"]},
        checks={"type": "object", "additionalProperties": TEXT},
    )
    counted = {"description": "In the Prometheus exposition format.", "content": {"text/plain": {"schema": TEXT}}}
    return {
        "/healthz": {
            "get": _operation(
                "healthz",
                "monitoring",
                "Whether the process runs.",
                {"200": _json("The process runs.", _object(status={"const": "ok"}))},
            )
        },
        "/readyz": {
            "get": _operation(
                "readyz",
                "monitoring",
                "Whether this process can serve requests.",
                {
                    "200": _json("It can serve requests.", ready),
                    "503": _json("A dependency is unavailable.", ready),
                },
            )
        },
        "/metrics": {
            "get": _operation(
                "metrics",
                "monitoring",
                "Metrics for Prometheus. Without BILLING_METRICS_TOKEN they are on BILLING_METRICS_PORT alone.",
                {"200": counted},
                (401, 404),
            )
            | {"security": [{"metricsToken": []}]}
        },
    }


def _pages() -> Json:
    def page(operation_id: str, summary: str, content: Json) -> Json:
        return {"get": _operation(operation_id, "page", summary, {"200": {"description": summary, "content": content}})}

    def text(*media_types: str) -> Json:
        return {media_type: {"schema": TEXT} for media_type in media_types}

    def view(operation_id: str, **parts: Json) -> Json:
        shown = {"200": {"description": "The operator's page.", "content": text("text/html")}}
        described = _operation(operation_id, "page", "A view of the operator's page.", shown, (404,))
        described["parameters"] = [
            parameter(name, "path", "Part of the address.", part) for name, part in parts.items()
        ]
        return {"get": described}

    described = {"schema": {"type": "object"}}
    to_page = {"302": {"description": "Redirects to /activity.", "headers": {"Location": {"schema": TEXT}}}}
    files = text("text/javascript", "text/css", "image/svg+xml", "text/plain")
    file = {"200": {"description": "The file.", "content": files}}

    def assets(operation_id: str, summary: str, names: Sequence[str]) -> Json:
        asset = _operation(operation_id, "page", summary, file, (404,))
        schema = {"type": "string", "enum": list(names)}
        asset["parameters"] = [parameter("name", "path", "One of a closed list; nothing else is served.", schema)]
        return {"get": asset}

    return {
        "/": {"get": _operation("openRoot", "page", "Redirect to the activity page.", to_page)},
        "/activity": page("openActivity", "The activity page.", text("text/html")),
        "/docs": page("openDocumentation", "This API for people: the document, shown.", text("text/html")),
        "/assets/{name}": assets("readAsset", "A file of the activity page.", ASSETS),
        "/assets/activity/{name}": assets("readActivityAsset", "A module of <billing-activity>.", COMPONENT_ASSETS),
        "/ops": page("openOperations", "The operator's page.", text("text/html")),
        "/ops/{view}": view("openOperationsView", view=_one_of("events", "tenants", "replay", "audit")),
        "/ops/{view}/{id}": view("openOperationsEntry", view=_one_of("events", "tenants"), id=TEXT),
        "/assets/ops/{name}": assets("readOperationsAsset", "A file of the operator's page.", OPERATORS_ASSETS),
        payload_schema.PATH: page("readSchema", "JSON Schema of the messages.", {"application/schema+json": described}),
        PATH: page("readOpenapi", "This document.", {"application/json": described}),
    }


def _one_of(*values: str) -> Json:
    return {"type": "string", "enum": list(values)}


def rendered() -> str:
    """Render the document as it is kept in the repository."""
    return json.dumps(document(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(rendered(), encoding="utf-8")
