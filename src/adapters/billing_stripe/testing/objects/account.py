"""Receivers of events, and the test clocks of an account."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from billing_stripe.testing.objects.common import NO_METADATA


@attrs.frozen(kw_only=True)
class WebhookEndpoint:
    """A receiver of events."""

    webhook_endpoint_id: str
    url: str
    secret: str = attrs.field(repr=False)
    """Shown only in the answer that creates it."""
    created_at: datetime
    api_version: str | None = None
    """None for the account's default."""
    enabled_events: tuple[str, ...] = ("*",)
    enabled: bool = True
    connect: bool = False
    """Whether it receives the events of connected accounts; its own account's otherwise."""
    description: str | None = None
    metadata: Mapping[str, str] = NO_METADATA


@attrs.frozen(kw_only=True)
class EventDestination:
    """A receiver of events, by the second generation of the API."""

    destination_id: str
    name: str
    url: str
    secret: str = attrs.field(repr=False)
    """Shown only in the answer that creates it, on request."""
    created_at: datetime
    payload: str
    """`thin` or `snapshot`."""
    enabled_events: tuple[str, ...]
    api_version: str | None = None
    """Of snapshots; None for the account's default."""
    description: str = ""
    enabled: bool = True
    metadata: Mapping[str, str] = NO_METADATA
    updated_at: datetime = attrs.Factory(lambda source: source.created_at, takes_self=True)


@attrs.frozen(kw_only=True)
class Clock:
    """A test clock. Its objects are created by its time, its events in real time."""

    clock_id: str
    created_at: datetime
    frozen_at: datetime
    """While it advances: still the time that all of its objects have reached."""
    status: str = "ready"
    target_at: datetime | None = None
    """The time that it is advancing to."""
    name: str | None = None
