"""The operator's routes in the OpenAPI document, made from the table that serves them."""

import re
from typing import Final

from billing_app.http.openapi_components import TEXT, Json, component, parameter
from billing_app.http.operations.described import problem_response
from billing_app.http.operator.answers import StoredEventAnswer
from billing_app.http.operator.calling import OperatorRoute
from billing_app.http.operator.health import CountsAnswer
from billing_app.http.operator.parameters import PARAMETERS
from billing_app.http.operator.replay_answers import ReplayAnswer
from billing_app.http.operator.routes import LIVE, ROUTES
from billing_app.wire_schema import classes_of, request_schema_of, schema_of

_REFERENCES: Final = "#/components/schemas"
_NAMED: Final = re.compile(r"{(\w+)}")
SENT_LIVE: Final = (StoredEventAnswer, CountsAnswer, ReplayAnswer)
_FAILURES: Final = {
    "400": "The request is malformed; the detail names every parameter or field at fault.",
    "401": "The token is missing, invalid, expired or revoked.",
    "403": "The role may not operate, or the token is for one tenant, or it names no person.",
    "404": "The object is unknown, or the operator's API is disabled.",
    "409": "It is in conflict with the state as it is: look again.",
    "413": "The body is too large.",
    "422": "The values do not fit, or too much is asked for.",
    "500": "An internal error.",
    "503": "Postgres is unavailable, a search took too long, or too many requests are in progress.",
}


def schemas() -> Json:
    """Return the schemas of bodies and answers, by name."""
    received = classes_of(*dict.fromkeys(route.body for route in ROUTES if route.body is not None))
    sent = classes_of(*dict.fromkeys((*(route.answer for route in ROUTES), *SENT_LIVE)))
    return {
        **{each.__name__: request_schema_of(each, _REFERENCES) for each in received},
        **{each.__name__: schema_of(each, _REFERENCES) for each in sent},
    }


def paths() -> Json:
    """Return the routes, by path and method."""
    described: Json = {}
    for route in ROUTES:
        described.setdefault(route.path, {})[route.method.lower()] = _described(route)
    described[LIVE] = {"get": _live()}
    return described


def _live() -> Json:
    ended = {"type": "object", "properties": {"reason": TEXT}, "required": ["reason"]}
    contents = [*map(_component_of, SENT_LIVE), ended, {"type": "object", "maxProperties": 0}]
    data = {"contentMediaType": "application/json", "contentSchema": {"anyOf": contents}}
    names = {"type": "string", "enum": ["event", "overflow", "counts", "replay", "unavailable", "reconnect"]}
    frame = {
        "type": "object",
        "properties": {"event": names, "data": {"type": "string", **data}},
        "required": ["event", "data"],
    }
    about = (
        "New and changed events, counts when they change, and the replay that runs. There is no resuming: after a "
        "reconnect, load again. After `overflow`, load the list. While the store cannot be read, `unavailable` says so "
        "each second; after `reconnect`, the stream ends."
    )
    failures = {status: text for status, text in _FAILURES.items() if status in ("401", "403", "404", "500", "503")}
    return {
        "operationId": "openLiveFeed",
        "tags": ["operator"],
        "summary": "Send what changes as server-sent events.",
        "parameters": [],
        "security": [{"operator": []}],
        "responses": {
            "200": {"description": about, "content": {"text/event-stream": {"schema": frame}}},
            **{status: problem_response(status, text) for status, text in failures.items()},
        },
    }


def _component_of(cls: type) -> Json:
    return component(cls.__name__)


def _described(route: OperatorRoute) -> Json:
    answer = {"description": "Done.", "content": {"application/json": {"schema": component(route.answer.__name__)}}}
    named = [parameter(name, "path", "An id, or a number of ours.", TEXT) for name in _NAMED.findall(route.path)]
    described: Json = {
        "operationId": route.operation_id,
        "tags": ["operator"],
        "summary": route.summary,
        "parameters": [*named, *(PARAMETERS[name] for name in route.query)],
        "security": [{"operator": []}],
        "responses": {
            str(route.status): answer,
            **{status: problem_response(status, text) for status, text in _FAILURES.items()},
        },
    }
    if route.body is not None:
        content = {"application/json": {"schema": component(route.body.__name__)}}
        described["requestBody"] = {"required": True, "content": content}
    return described
