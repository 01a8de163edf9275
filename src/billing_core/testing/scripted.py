"""A provider without a payload format: tests decide what its events say."""

from datetime import datetime

import attrs

from billing_core.events import EventKey, ProviderEvent, Translation
from billing_core.model import EventId, Snapshot


class ScriptedProvider:
    """Source of events and their `EventTranslator`; other events are of an unhandled type."""

    def __init__(self) -> None:
        self._says: dict[EventKey, Translation] = {}
        self._before: dict[EventKey, Translation] = {}

    def event(
        self,
        event_id: str,
        says: Translation,
        *,
        at: datetime,
        before: Snapshot | None = None,
        livemode: bool = True,
        account: str = "",
    ) -> ProviderEvent:
        """Return an event created at `at` that `says` something; `before` is the snapshot that an update overwrote."""
        key = EventKey(event_id=EventId(event_id), livemode=livemode, account=account)
        self._says[key] = says
        if before is not None:
            self._before[key] = attrs.evolve(says, snapshots=(before,))
        return ProviderEvent(
            key=key, type="scripted", api_version=None, created_at=at, received_at=at, body=event_id.encode()
        )

    def translate(self, event: ProviderEvent) -> Translation:
        """See EventTranslator. Raises ValueError for an event whose body is gone."""
        if not event.body:
            raise ValueError(f"{event.event_id} has no body to read")
        return self._says.get(event.key, Translation(ignored="unhandled_type"))

    def translate_previous(self, event: ProviderEvent) -> Translation | None:
        """See EventTranslator."""
        return self._before.get(event.key)
