"""Read messages again for clients that missed them: from the bus's log while it answers, else from the repository."""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from billing_app.http.stream.frames import Frame, message_frame
from billing_core.errors import EventBusUnavailableError, StoreUnavailableError
from billing_core.model import TenantId
from billing_core.model.epoch import Epoch
from billing_core.stream.ports import EventBus, MessageHistory

PAGE: Final = 200
"""Messages read at a time."""


class MessageReader:
    """Stored messages of any tenant, encoded as frames."""

    def __init__(self, *, bus: EventBus | None, history: MessageHistory, epoch: Epoch) -> None:
        self.epoch = epoch
        self.bus_available = False
        """Set by the hub: it follows the bus, and is the first to notice that the bus is gone or back."""
        self._bus = bus
        self._history = history

    async def last_number(self, tenant_id: TenantId) -> int:
        """Return the number of a tenant's last message, 0 without one. Raises StoreUnavailableError."""
        return await self._history.sequence(tenant_id)

    async def last_numbers(self, tenant_ids: Collection[TenantId]) -> Mapping[TenantId, int]:
        """Return the numbers of the tenants' last messages. Raises StoreUnavailableError."""
        return await self._history.sequences(tenant_ids)

    async def read(self, tenant_id: TenantId, *, after: int) -> tuple[Sequence[Frame], str]:
        """Return a page of frames from `after + 1` on and where they come from: `log` or `history`.

        The page is empty if there are no such messages or the repository is unavailable.
        """
        if self._bus is not None and self.bus_available:
            with contextlib.suppress(EventBusUnavailableError):
                events = await self._bus.read(tenant_id, after=after, limit=PAGE)
                if events and events[0].sequence == after + 1:
                    return [message_frame(event, self.epoch) for event in events], "log"
        try:
            events = await self._history.events(tenant_id, after=after, limit=PAGE)
        except StoreUnavailableError:
            return (), "history"
        return [message_frame(event, self.epoch) for event in events], "history"
