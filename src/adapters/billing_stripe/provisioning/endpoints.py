"""The webhook endpoint for snapshot events. Its secret is shown once, in the answer that creates it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import attrs

from billing_stripe.client import CLEAR, Json, StripeRequest
from billing_stripe.provisioning.desired import MANAGED, DesiredEndpoint
from billing_stripe.provisioning.found import Found
from billing_stripe.provisioning.steps import SETUP_KEY, Call, Step

KEYS_LAST: Final = timedelta(hours=23)
"""The time within which a request can be repeated with its idempotency key. Source: ADR 31"""
_MOST_NAMED: Final = 5
_DESCRIPTION: Final = "Billing events (made by `billing stripe setup`)"


def endpoint_step(endpoint: DesiredEndpoint, found: Found) -> Step | None:
    """Return the step for the endpoint; None if the key may not read endpoints."""
    if found.endpoints is None:
        return None
    if not found.endpoints:
        return Step(
            kind="webhook endpoint",
            name=endpoint.url,
            action="create",
            text=f"Create webhook endpoint {endpoint.url}: {len(endpoint.events)} event types in API version "
            f"{endpoint.api_version}.",
            call=Call(operation="create_webhook_endpoint", params=_creation(endpoint)),
        )
    current = found.endpoints[0]
    kept = Step(
        kind="webhook endpoint",
        name=endpoint.url,
        action="keep",
        text=f"Webhook endpoint {current['id']} is up to date.",
        object_id=current["id"],
    )
    added = sorted(set(endpoint.events) - set(current["enabled_events"]))
    removed = sorted(set(current["enabled_events"]) - set(endpoint.events))
    disabled = current["status"] != "enabled"
    if not (added or removed or disabled):
        return kept
    what = [
        *([f"add {_types(added)}"] if added else []),
        *([f"remove {_types(removed)}"] if removed else []),
        *(["enable it"] if disabled else []),
    ]
    return attrs.evolve(
        kept,
        action="change",
        text=f"Change webhook endpoint {current['id']}: {'; '.join(what)}.",
        call=Call(
            operation="update_webhook_endpoint",
            ids=(current["id"],),
            params={"enabled_events": list(endpoint.events), "disabled": False},
            basis=current,
        ),
    )


def _types(names: Sequence[str]) -> str:
    """Name a few event types, and count many."""
    return ", ".join(names) if len(names) <= _MOST_NAMED else f"{len(names)} event types"


def secret_step(found: Found) -> Step | None:
    """Return the step for the secret of an endpoint, if the run that created it was interrupted before it was stored.

    Within 23 hours the creation can be repeated under its key, and its answer shows the secret again.
    """
    current = next(iter(found.endpoints or ()), None)
    if current is None or not current["metadata"].get(SETUP_KEY):
        return None
    again = found.read_at.timestamp() - current["created"] < KEYS_LAST.total_seconds()
    text = f"Read the signing secret of webhook endpoint {current['id']} again: an earlier run was interrupted."
    if not again:
        text = f"Note that the signing secret of webhook endpoint {current['id']} has to be copied by hand."
    return Step(
        kind="webhook secret",
        name=current["url"],
        action="change",
        text=text,
        object_id=current["id"],
        call=Call(operation="create_webhook_endpoint" if again else "update_webhook_endpoint", basis=current),
    )


def repeated_creation(current: Json) -> StripeRequest:
    """Return the request that created an endpoint."""
    names = ("url", "enabled_events", "api_version", "description", "metadata")
    params = {name: current[name] for name in names}
    return StripeRequest(
        operation="create_webhook_endpoint", params=params, idempotency_key=current["metadata"][SETUP_KEY]
    )


def handed_over(endpoint: Json, *, tried: int) -> StripeRequest:
    """Return the request that notes that the secret of an endpoint was stored."""
    return StripeRequest(
        operation="update_webhook_endpoint",
        ids=(endpoint["id"],),
        params={"metadata": {SETUP_KEY: CLEAR}},
        idempotency_key=f"{endpoint['metadata'][SETUP_KEY]}-stored-{tried}",
    )


def endpoint_notes(endpoint: DesiredEndpoint, found: Found) -> Sequence[str]:
    """Return what an operator should know about the endpoints that exist."""
    notes = []
    existing = found.endpoints or ()
    if existing and existing[0]["api_version"] != endpoint.api_version:
        version = existing[0]["api_version"] or "the account's default version"
        notes.append(f"Webhook endpoint {existing[0]['id']} sends events in {version}, which Stripe cannot change.")
    notes += [
        f"Webhook endpoint {other['id']} has the same URL: each event arrives twice and counts once. Disable it in the "
        "Stripe dashboard."
        for other in existing[1:]
        if other["status"] == "enabled"
    ]
    return notes


def _creation(endpoint: DesiredEndpoint) -> Json:
    return {
        "url": endpoint.url,
        "enabled_events": list(endpoint.events),
        "api_version": endpoint.api_version,
        "description": _DESCRIPTION,
        "metadata": MANAGED,
    }
