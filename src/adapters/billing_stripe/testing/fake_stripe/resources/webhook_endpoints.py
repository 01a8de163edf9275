"""Webhook endpoints, and which events they receive."""

from collections.abc import Iterator

import attrs

from billing_stripe.testing import accounts, objects
from billing_stripe.testing.events import encode
from billing_stripe.testing.fake_stripe.account import Account, Deleted
from billing_stripe.testing.fake_stripe.errors import Json, invalid
from billing_stripe.testing.fake_stripe.forms import (
    BOOLEAN,
    METADATA,
    TEXT,
    Clearable,
    Form,
    Listed,
    Required,
    listing,
    merged_metadata,
)
from billing_stripe.testing.fake_stripe.journal import Entry
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route
from billing_stripe.testing.fake_stripe.webhooks import Target

KIND = Kind(
    source=objects.WebhookEndpoint,
    noun="webhook_endpoint",
    key=lambda source: source.webhook_endpoint_id,
    render=accounts.webhook_endpoint,
)
CREATE = Form(
    url=Required(TEXT),
    enabled_events=Required(Listed(TEXT)),
    api_version=TEXT,
    connect=BOOLEAN,
    description=Clearable(TEXT),
    metadata=METADATA,
)
UPDATE = Form(url=TEXT, enabled_events=Listed(TEXT), disabled=BOOLEAN, description=Clearable(TEXT), metadata=METADATA)


def create(call: Call) -> Json:
    """POST /v1/webhook_endpoints; its answer alone shows the secret."""
    params = call.params
    if not params["url"].startswith(("http://", "https://")):
        raise invalid(
            "Invalid URL: An explicit scheme (such as https) must be provided.", param="url", code="url_invalid"
        )
    endpoint = objects.WebhookEndpoint(
        webhook_endpoint_id=call.account.new_id("we"),
        url=params["url"],
        secret=call.account.new_id("whsec"),
        created_at=call.now,
        api_version=params.get("api_version"),
        enabled_events=tuple(params["enabled_events"]),
        connect=params.get("connect", False),
        description=params.get("description"),
        metadata=merged_metadata({}, params),
    )
    call.account.put(endpoint)
    return {**call.account.show(endpoint, call.api_version), "secret": endpoint.secret}


def retrieve(call: Call) -> objects.WebhookEndpoint:
    """GET /v1/webhook_endpoints/:id"""
    return call.account.get(objects.WebhookEndpoint, call.id)


def update(call: Call) -> objects.WebhookEndpoint:
    """POST /v1/webhook_endpoints/:id; the API version cannot be changed."""
    endpoint = retrieve(call)
    params = call.params
    changed = attrs.evolve(
        endpoint,
        url=params.get("url", endpoint.url),
        enabled_events=tuple(params.get("enabled_events", endpoint.enabled_events)),
        enabled=not params["disabled"] if "disabled" in params else endpoint.enabled,
        description=params.get("description", endpoint.description),
        metadata=merged_metadata(endpoint.metadata, params),
    )
    call.account.put(changed)
    return changed


def delete(call: Call) -> Deleted:
    """DELETE /v1/webhook_endpoints/:id"""
    retrieve(call)
    call.account.remove(call.id)
    return Deleted(identifier=call.id, noun=KIND.noun)


def endpoints(call: Call) -> Listing:
    """GET /v1/webhook_endpoints"""
    return Listing(list(call.account.all(objects.WebhookEndpoint)), KIND.noun)


def targets(account: Account, entry: Entry) -> Iterator[Target]:
    """Yield the endpoints that receive an event, with its body in each one's API version.

    The event of a connected account goes to its platform's endpoints for such events.
    """
    owner = account.platform or account
    for endpoint in owner.all(objects.WebhookEndpoint):
        version = endpoint.api_version or owner.api_version
        wanted = "*" in endpoint.enabled_events or entry.type in endpoint.enabled_events
        concerned = endpoint.connect == (account.platform is not None) and entry.exists_in(version)
        if endpoint.enabled and wanted and concerned:
            body = encode(entry.render(version, pending_webhooks=1))
            yield Target(endpoint_id=endpoint.webhook_endpoint_id, url=endpoint.url, secret=endpoint.secret, body=body)


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/webhook_endpoints", create, CREATE),
        Route("GET", "/v1/webhook_endpoints", endpoints, listing()),
        Route("GET", "/v1/webhook_endpoints/{id}", retrieve),
        Route("POST", "/v1/webhook_endpoints/{id}", update, UPDATE),
        Route("DELETE", "/v1/webhook_endpoints/{id}", delete),
    ],
    targets=[targets],
)
