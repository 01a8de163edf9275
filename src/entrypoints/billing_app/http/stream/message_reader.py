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
        self._asked = 0
        self._outdated: dict[TenantId, int] = {}
        """Tenants whose log on the bus still holds messages that were withdrawn, by the question that found it out."""

    async def last_number(self, tenant_id: TenantId) -> int:
        """Return the number of a tenant's last message, 0 without one. Raises StoreUnavailableError."""
        await self._note_outdated_logs([tenant_id])
        return await self._history.sequence(tenant_id)

    async def last_numbers(self, tenant_ids: Collection[TenantId]) -> Mapping[TenantId, int]:
        """Return the numbers of the tenants' last messages. Raises StoreUnavailableError."""
        await self._note_outdated_logs(tenant_ids)
        return await self._history.sequences(tenant_ids)

    async def erased_until(self, tenant_id: TenantId) -> int:
        """Return the number up to which a tenant's messages were erased. Raises StoreUnavailableError."""
        return await self._history.erased_until(tenant_id)

    def passes_over_log(self, tenant_id: TenantId) -> bool:
        """Tell whether a tenant's log on the bus is passed over."""
        return tenant_id in self._outdated

    def pass_over_log(self, tenant_id: TenantId) -> None:
        """Read a tenant's messages from the history until its log is known to be right again."""
        self._asked += 1
        self._outdated[tenant_id] = self._asked

    async def _note_outdated_logs(self, tenant_ids: Collection[TenantId]) -> None:
        """Ask which logs are outdated. An answer to an earlier question says nothing about what a later one found."""
        if self._bus is None:
            return
        self._asked += 1
        asked = self._asked
        outdated = set(await self._history.outdated_logs(tenant_ids))
        for tenant_id in tenant_ids:
            if tenant_id in outdated:
                self._outdated[tenant_id] = max(asked, self._outdated.get(tenant_id, 0))
            elif self._outdated.get(tenant_id, asked) < asked:
                del self._outdated[tenant_id]

    async def read(self, tenant_id: TenantId, *, after: int) -> tuple[Sequence[Frame], str]:
        """Return a page of frames from `after + 1` on and where they come from: `log` or `history`.

        The page is empty if there are no such messages or the repository is unavailable.
        """
        if self._bus is not None and self.bus_available and tenant_id not in self._outdated:
            with contextlib.suppress(EventBusUnavailableError):
                events = await self._bus.read(tenant_id, after=after, limit=PAGE)
                if events and events[0].sequence == after + 1:
                    return [message_frame(event, self.epoch) for event in events], "log"
        try:
            events = await self._history.events(tenant_id, after=after, limit=PAGE)
        except StoreUnavailableError:
            return (), "history"
        return [message_frame(event, self.epoch) for event in events], "history"
