"""The account's events, from newest to oldest, and those who are notified of them."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from billing_stripe.testing.builders import previous_attributes
from billing_stripe.testing.events import event
from billing_stripe.testing.fake_stripe.errors import Json
from billing_stripe.testing.fake_stripe.kinds import Kind

KEPT = timedelta(days=30)
"""Age up to which events can be fetched."""


@attrs.frozen(kw_only=True)
class Cause:
    """The request that changed something."""

    request_id: str | None = None
    idempotency_key: str | None = None


AUTOMATIC = Cause()
"""Stripe itself, for example at a renewal."""


@attrs.frozen(kw_only=True, eq=False)
class Entry:
    """One event, which can be rendered in any API version."""

    event_id: str
    type: str
    created_at: datetime
    cause: Cause
    account_id: str | None
    """The connected account it happened in."""
    kind: Kind[Any]
    source: Any
    before: Any = None
    """The object before an update."""

    def exists_in(self, api_version: str) -> bool:
        """Return whether an API version has such events."""
        return api_version >= self.kind.since

    def render(self, api_version: str, *, pending_webhooks: int = 0) -> Json:
        """Render the event."""
        shown = self.kind.show(self.source, api_version)
        previous: Json | None = None
        if self.before is not None:
            previous = previous_attributes(self.kind.show(self.before, api_version), shown)
        body = event(
            self.type,
            shown,
            created=self.created_at,
            api_version=api_version,
            event_id=self.event_id,
            previous_attributes=previous,
            request_id=self.cause.request_id,
            account=self.account_id,
        )
        body["request"]["idempotency_key"] = self.cause.idempotency_key
        body["pending_webhooks"] = pending_webhooks
        return body


Listener = Callable[[Entry], None]


class Journal:
    """Events in the order of their creation. An event keeps the form of the account's version at that time."""

    def __init__(self, api_version: str) -> None:
        self.api_version = api_version
        self.entries: list[Entry] = []
        self._bodies: dict[str, Json] = {}
        self._listeners: list[Listener] = []
        self._ageless: set[str] = set()
        self._undelivered: dict[str, int] = {}

    def listen(self, listener: Listener) -> None:
        """Call the listener with every event from now on, once the change that caused it is complete."""
        self._listeners.append(listener)

    def add(self, entries: list[Entry]) -> None:
        """Add events and notify the listeners."""
        for entry in entries:
            self.entries.append(entry)
            if entry.exists_in(self.api_version):
                self._bodies[entry.event_id] = entry.render(self.api_version)
        for entry in entries:
            for listener in self._listeners:
                listener(entry)

    def put(self, body: Mapping[str, Any]) -> None:
        """Add the body of an event that was made elsewhere, of any age; nothing is notified."""
        self._bodies[body["id"]] = dict(body)
        self._ageless.add(body["id"])

    def remove(self, event_id: str) -> None:
        """Remove an event. Raises KeyError if there is none."""
        del self._bodies[event_id]

    def expect(self, event_id: str, deliveries: int) -> None:
        """Note deliveries that are still pending; negative for those that are done."""
        self._undelivered[event_id] = self._undelivered.get(event_id, 0) + deliveries

    def find(self, event_id: str, now: datetime) -> Json | None:
        """Return the body of an event that is not too old."""
        body = self._bodies.get(event_id)
        return None if body is None or self._expired(body, now) else self._shown(body)

    def newest(self, now: datetime) -> list[Json]:
        """Return the bodies of all events that are not too old, newest first."""
        return [self._shown(body) for body in reversed(self._bodies.values()) if not self._expired(body, now)]

    def _shown(self, body: Json) -> Json:
        pending = self._undelivered.get(body["id"])
        return body if pending is None else {**body, "pending_webhooks": pending}

    def _expired(self, body: Json, now: datetime) -> bool:
        age = now.timestamp() - float(body["created"])
        return body["id"] not in self._ageless and age > KEPT.total_seconds()
