"""Thin events, which name an object without showing it: fetch the object from the provider."""

from typing import Final

import attrs

from billing_core.events import ProviderEvent, Translation
from billing_core.inbox.ports import KnownEvents, ThinEventGateway

SNAPSHOT_TWIN: Final = "snapshot_twin"
"""The same change is stored as an event that shows its object: that one counts."""
UNKNOWN_EVENT: Final = "unknown_event"
"""The provider does not know the event, or no longer does."""
OBJECT_GONE: Final = "object_gone"
"""The event's object no longer exists."""


class ThinEventResolver:
    """Asks the provider about thin events. Outside any transaction: an answer may take seconds."""

    def __init__(self, *, gateway: ThinEventGateway, events: KnownEvents) -> None:
        self._gateway = gateway
        self._events = events

    async def resolve(self, event: ProviderEvent) -> Translation:
        """Return the object of a thin event as it is now, or the reason to ignore the event.

        It is sound to fold that under the event's own stamp: the current state includes everything up to the event,
        and each later change has a later event of its own. Raises: GatewayError, StoreUnavailableError.
        """
        fetched = await self._gateway.fetch_event(event.event_id)
        if fetched is None:
            return Translation(ignored=UNKNOWN_EVENT)
        if fetched.snapshot_event_id is not None:
            twin = attrs.evolve(event.key, event_id=fetched.snapshot_event_id)
            if await self._events.known([twin]):
                return Translation(ignored=SNAPSHOT_TWIN)
        return fetched.translation or Translation(ignored=OBJECT_GONE)
