"""Event destinations, the second generation's webhook endpoints, which receive thin events or snapshots.

They receive the events of their own account.
"""

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from billing_stripe.testing import objects, thin
from billing_stripe.testing.events import encode
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.errors import Json, invalid, not_found
from billing_stripe.testing.fake_stripe.forms import (
    METADATA,
    TEXT,
    Field,
    Form,
    Listed,
    Required,
    choice,
    merged_metadata,
    unsupported,
)
from billing_stripe.testing.fake_stripe.journal import Entry
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Resource, Route
from billing_stripe.testing.fake_stripe.thinning import thin_of
from billing_stripe.testing.fake_stripe.webhooks import Target

KIND = Kind(
    source=objects.EventDestination,
    noun="v2.core.event_destination",
    key=lambda source: source.destination_id,
    render=lambda source, api_version: thin.event_destination(source, default_version=api_version),
    since="v2",  # no version of the first generation has events about destinations
)
PING = "v2.core.event_destination.ping"
_URL = "webhook_endpoint.url"
_SIGNING = "webhook_endpoint.signing_secret"
_ADDRESS = Form(url=Required(TEXT))
_INCLUDE: dict[str, Field] = {"include": Listed(choice(_URL, _SIGNING))}
CREATE = Form(
    name=Required(TEXT),
    type=Required(choice("webhook_endpoint")),
    event_payload=Required(choice("thin", "snapshot")),
    enabled_events=Required(Listed(TEXT)),
    webhook_endpoint=Required(_ADDRESS),
    events_from=Listed(choice("self", "@self")),
    snapshot_api_version=TEXT,
    description=TEXT,
    metadata=METADATA,
    **_INCLUDE,
)
UPDATE = Form(
    name=TEXT,
    enabled_events=Listed(TEXT),
    webhook_endpoint=_ADDRESS,
    description=TEXT,
    metadata=METADATA,
    include=Listed(choice(_URL)),
)
RETRIEVE = Form(include=Listed(choice(_URL)))
LIST = RETRIEVE.with_fields(**unsupported("limit", "page"))


def create(call: Call) -> Json:
    """POST /v2/core/event_destinations; its answer alone shows the secret, if `include` asks for it."""
    params, now = call.params, call.now
    if params["event_payload"] == "thin" and "snapshot_api_version" in params:
        raise invalid("Thin events have no API version.", param="snapshot_api_version")
    destination = objects.EventDestination(
        destination_id=call.account.new_id("ed_test"),
        name=params["name"],
        url=_url(params["webhook_endpoint"]["url"]),
        secret=call.account.new_id("whsec"),
        created_at=now,
        payload=params["event_payload"],
        enabled_events=tuple(params["enabled_events"]),
        api_version=params.get("snapshot_api_version"),
        description=params.get("description", ""),
        metadata=merged_metadata({}, params),
    )
    call.account.put(destination)
    return _shown(call, destination)


def retrieve(call: Call) -> Json:
    """GET /v2/core/event_destinations/:id"""
    return _shown(call, _found(call))


def update(call: Call) -> Json:
    """POST /v2/core/event_destinations/:id; the payload cannot be changed."""
    destination, params = _found(call), call.params
    changes: dict[str, Any] = {name: params[name] for name in ("name", "description") if name in params}
    if "webhook_endpoint" in params:
        changes["url"] = _url(params["webhook_endpoint"]["url"])
    if "enabled_events" in params:
        changes["enabled_events"] = tuple(params["enabled_events"])
    return _changed(call, attrs.evolve(destination, **changes, metadata=merged_metadata(destination.metadata, params)))


def switch(*, on: bool) -> Callable[[Call], Json]:
    """Return the handler of POST /v2/core/event_destinations/:id/enable, or /disable."""
    return lambda call: _changed(call, attrs.evolve(_found(call), enabled=on))


def delete(call: Call) -> Json:
    """DELETE /v2/core/event_destinations/:id"""
    call.account.remove(_found(call).destination_id)
    return {"id": call.id, "object": KIND.noun}


def destinations(call: Call) -> Json:
    """GET /v2/core/event_destinations, all on one page."""
    found = [_shown(call, destination) for destination in call.account.all(objects.EventDestination)]
    return {"data": found, "next_page_url": None, "previous_page_url": None}


def ping(call: Call) -> Json:
    """POST /v2/core/event_destinations/:id/ping: send an event to try the destination."""
    return thin.thin_event(thin_of(call.account.emit(PING, _found(call))))


def targets(account: Account, entry: Entry) -> Iterator[Target]:
    """Yield the destinations that receive an event, with its body in each one's form."""
    if account.platform is not None:
        return
    for destination in account.all(objects.EventDestination):
        body = _body(account, destination, entry)
        if destination.enabled and body is not None:
            yield Target(
                endpoint_id=destination.destination_id,
                url=destination.url,
                secret=destination.secret,
                body=encode(body),
            )


def _body(account: Account, destination: objects.EventDestination, entry: Entry) -> Json | None:
    """Return what a destination is sent of an event, or None."""
    event = thin_of(entry)
    if entry.type == PING:
        return thin.notification(event) if entry.source.destination_id == destination.destination_id else None
    type_ = event.type if destination.payload == "thin" else entry.type
    version = destination.api_version or account.api_version
    if not {"*", type_} & set(destination.enabled_events) or not entry.exists_in(version):
        return None
    return thin.notification(event) if destination.payload == "thin" else entry.render(version, pending_webhooks=1)


def _found(call: Call) -> objects.EventDestination:
    found = call.account.find(objects.EventDestination, call.id)
    if found is None:
        raise not_found()
    return found


def _url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise invalid("Invalid URL: An explicit scheme (such as https) must be provided.", param="webhook_endpoint.url")
    return url


def _changed(call: Call, destination: objects.EventDestination) -> Json:
    changed = attrs.evolve(destination, updated_at=call.now)
    call.account.put(changed)
    return _shown(call, changed)


def _shown(call: Call, destination: objects.EventDestination) -> Json:
    """Render a destination, with the parts that the request asks for."""
    asked = call.params.get("include", ())
    values = {_URL: destination.url, _SIGNING: destination.secret}
    shown = thin.event_destination(destination, default_version=call.account.api_version)
    if asked:
        shown["webhook_endpoint"] = {path.rpartition(".")[2]: values[path] for path in asked}
    return shown


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v2/core/event_destinations", create, CREATE),
        Route("GET", "/v2/core/event_destinations", destinations, LIST),
        Route("GET", "/v2/core/event_destinations/{id}", retrieve, RETRIEVE),
        Route("POST", "/v2/core/event_destinations/{id}", update, UPDATE),
        Route("DELETE", "/v2/core/event_destinations/{id}", delete),
        Route("POST", "/v2/core/event_destinations/{id}/enable", switch(on=True)),
        Route("POST", "/v2/core/event_destinations/{id}/disable", switch(on=False)),
        Route("POST", "/v2/core/event_destinations/{id}/ping", ping),
    ],
    targets=[targets],
)
