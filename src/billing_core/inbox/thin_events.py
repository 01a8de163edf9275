"""Events that name an object without showing it: what they say is asked for."""

from typing import Final

import attrs

from billing_core.events import ProviderEvent, Translation
from billing_core.inbox.ports import KnownEvents, ThinEventGateway

SNAPSHOT_TWIN: Final = "snapshot_twin"
"""The same fact is stored as an event that shows its object: that one counts."""
UNKNOWN_EVENT: Final = "unknown_event"
"""The provider does not know the event, or not any more."""
OBJECT_GONE: Final = "object_gone"
"""The event's object does not exist any more."""


class ThinEventResolver:
    """Asks the provider what thin events are about. Outside any transaction: an answer may take its time."""

    def __init__(self, *, gateway: ThinEventGateway, events: KnownEvents) -> None:
        self._gateway = gateway
        self._events = events

    async def resolve(self, event: ProviderEvent) -> Translation:
        """What a thin event comes to: its object as it is now, or the reason to ignore it.

        Folded under the event's own stamp that is sound: what is known now holds everything up to the event, and
        whatever happened since has a later event of its own. Raises: GatewayError, StoreUnavailableError.
        """
        fetched = await self._gateway.fetch_event(event.event_id)
        if fetched is None:
            return Translation(ignored=UNKNOWN_EVENT)
        if fetched.snapshot_event_id is not None:
            twin = attrs.evolve(event.key, event_id=fetched.snapshot_event_id)
            if await self._events.known([twin]):
                return Translation(ignored=SNAPSHOT_TWIN)
        return fetched.translation or Translation(ignored=OBJECT_GONE)
