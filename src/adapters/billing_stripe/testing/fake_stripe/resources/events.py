"""Events of both generations."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Final

from billing_stripe.testing.fake_stripe.errors import Json, invalid, missing, not_found
from billing_stripe.testing.fake_stripe.forms import (
    BOOLEAN,
    INSTANT,
    TEXT,
    Form,
    Integer,
    Listed,
    Params,
    Period,
    listing,
    within,
)
from billing_stripe.testing.fake_stripe.journal import KEPT
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route
from billing_stripe.testing.fake_stripe.thinning import find_thin, thin_events
from billing_stripe.testing.thin import ThinEvent, thin_event

THIN = Kind(
    source=ThinEvent,
    noun="v2.core.event",
    key=lambda source: source.event_id,
    render=lambda source, api_version: thin_event(source),
)
THIN_LIST = Form(
    object_id=TEXT,
    types=Listed(TEXT, longest=20),
    created=Form(gt=INSTANT, gte=INSTANT, lt=INSTANT, lte=INSTANT),
    limit=Integer(least=1),
    page=TEXT,
)
_PAGE: Final = 20
"""Events on a page without `limit`."""
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


def newest_thin(call: Call) -> Json:
    """GET /v2/core/events, newest first. The token of a page is the event before it, with the filters of the first."""
    filters: Params = dict(call.params)
    token, limit = filters.pop("page", None), filters.pop("limit", _PAGE)
    if token is not None:
        after, limit, filters = _unpacked(token)
    wanted = [
        each for each in thin_events(call.account) if _matches(each, filters) and call.now - each.created_at <= KEPT
    ]
    start = 0
    if token is not None:
        start = 1 + next((index for index, each in enumerate(wanted) if each.event_id == after), len(wanted))
    shown = wanted[start : start + limit]
    more = start + limit < len(wanted)
    url = f"/v2/core/events?page={_packed(shown[-1].event_id, limit, filters)}" if more else None
    return {"data": [thin_event(each) for each in shown], "next_page_url": url, "previous_page_url": None}


def _matches(event: ThinEvent, filters: Params) -> bool:
    return (
        filters.get("object_id") in (None, event.related_id)
        and ("types" not in filters or event.type in filters["types"])
        and within(filters.get("created"), event.created_at)
    )


def _packed(after: str, limit: int, filters: Params) -> str:
    given = {**filters, "created": {name: at.isoformat() for name, at in filters.get("created", {}).items()}}
    return urlsafe_b64encode(json.dumps([after, limit, given]).encode()).decode().rstrip("=")


def _unpacked(token: str) -> tuple[str, int, Params]:
    try:
        after, limit, given = json.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except ValueError:
        raise invalid(f"Invalid page: {token}", param="page") from None
    return after, limit, THIN_LIST.read({name: value for name, value in given.items() if value}, "")


RESOURCE = Resource(
    kinds=[THIN],
    routes=[
        Route("GET", "/v1/events/{id}", retrieve),
        Route("GET", "/v1/events", events, LIST),
        Route("GET", "/v2/core/events", newest_thin, THIN_LIST),
        Route("GET", "/v2/core/events/{id}", retrieve_thin),
    ],
)
