"""Events of both generations."""

from datetime import UTC, datetime
from fnmatch import fnmatchcase

from billing_stripe.testing.fake_stripe.errors import Json, missing, not_found
from billing_stripe.testing.fake_stripe.forms import BOOLEAN, TEXT, Listed, Period, listing, within
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route
from billing_stripe.testing.fake_stripe.thinning import find_thin
from billing_stripe.testing.thin import ThinEvent, thin_event

THIN = Kind(
    source=ThinEvent,
    noun="v2.core.event",
    key=lambda source: source.event_id,
    render=lambda source, api_version: thin_event(source),
)
LIST = listing(type=TEXT, types=Listed(TEXT, longest=20), delivery_success=BOOLEAN, created=Period())


def retrieve(call: Call) -> Json:
    """GET /v1/events/:id, in the version in which it was created."""
    body = call.account.journal.find(call.id, call.now)
    if body is None:
        raise missing("event", call.id)
    return body


def events(call: Call) -> Listing:
    """GET /v1/events, newest first."""
    patterns = [*call.params.get("types", []), *([call.params["type"]] if "type" in call.params else [])]
    wanted_success = call.params.get("delivery_success")
    matching = [
        body
        for body in call.account.journal.newest(call.now)
        if (not patterns or any(fnmatchcase(body["type"], pattern) for pattern in patterns))
        and wanted_success in (None, body["pending_webhooks"] == 0)
        and within(call.params.get("created"), datetime.fromtimestamp(body["created"], UTC))
    ]
    return Listing(matching, "event")


def retrieve_thin(call: Call) -> ThinEvent:
    """GET /v2/core/events/:id"""
    source = find_thin(call.account, call.id)
    if source is None:
        raise not_found()
    return source


RESOURCE = Resource(
    kinds=[THIN],
    routes=[
        Route("GET", "/v1/events/{id}", retrieve),
        Route("GET", "/v1/events", events, LIST),
        Route("GET", "/v2/core/events/{id}", retrieve_thin),
    ],
)
