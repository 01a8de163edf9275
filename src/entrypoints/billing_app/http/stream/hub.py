"""The fan-out of one process: one reader of the bus, any number of clients."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from billing_app.dependencies import Dependency
from billing_app.http.loops import restarted
from billing_app.http.ports import StreamMetrics
from billing_app.http.stream.channel import Channel, StreamClient
from billing_app.http.stream.frames import message_frame
from billing_app.http.stream.message_reader import MessageReader
from billing_app.http.stream.sinks import Sink
from billing_app.settings import StreamSettings
from billing_app.tracing import Tracing
from billing_core.errors import EventBusUnavailableError, StoreUnavailableError
from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.model.epoch import Epoch
from billing_core.stream.following import pause_before
from billing_core.stream.ports import EventBus, MessageHistory
from billing_core.waiting import wait_at_most

log = structlog.get_logger()

_TENANTS_PER_COMPARISON: Final = 500
"""Tenants compared with the repository by one query."""

_KEEP_ALIVE_BATCH: Final = 50
"""Clients that get a comment before other tasks run: sending thousands at once would delay messages."""

_COMPARISON_WITHOUT_BUS: Final = timedelta(seconds=2)
"""Pause between two comparisons with the repository while the bus is unavailable."""


class HubFullError(Exception):
    """This process serves as many streams as it may."""


class StreamHub:
    """The clients of this process and the loops that serve them. Without `run`, clients only catch up."""

    def __init__(
        self,
        *,
        bus: EventBus | None,
        history: MessageHistory,
        metrics: StreamMetrics,
        policy: StreamSettings,
        epoch: Epoch,
        dependency: Dependency | None,
        tracing: Tracing | None,
    ) -> None:
        """Without a bus all messages come from the repository, which is asked every other second.

        So it is while the bus, which is the `dependency`, takes no messages, whether it can be read or not.
        """
        self._bus = bus
        self._reader = MessageReader(bus=bus, history=history, epoch=epoch)
        self._metrics = metrics
        self._policy = policy
        self._channels: dict[TenantId, Channel] = {}
        self._clients: dict[int, StreamClient] = {}
        self._occupied = asyncio.Event()
        """Set while there is any client: without one the bus need not be followed."""
        self._compare_now = asyncio.Event()
        self._closed = False
        self._dependency = dependency
        self._tracing = tracing
        if dependency is not None:
            dependency.on_loss = self._compare_now.set

    @property
    def full(self) -> bool:
        """Whether no further client is accepted."""
        return self._closed or len(self._clients) >= self._policy.max_connections

    @property
    def open_streams(self) -> int:
        """The number of clients."""
        return len(self._clients)

    # --- clients ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def client(self, tenant_id: TenantId, sink: Sink) -> Iterator[StreamClient]:
        """Register a client for the length of the block. Raises HubFullError."""
        if self.full:
            raise HubFullError
        channel = self._channel(tenant_id)
        client = StreamClient(channel, sink)
        self._clients[id(client)] = channel.clients[id(client)] = client
        self._occupied.set()
        self._metrics.streams_open(len(self._clients))
        try:
            yield client
        finally:
            del self._clients[id(client)], channel.clients[id(client)]
            if not channel.clients:
                del self._channels[tenant_id]
            if not self._clients:
                self._occupied.clear()
            self._metrics.streams_open(len(self._clients))

    def _channel(self, tenant_id: TenantId) -> Channel:
        channel = self._channels.get(tenant_id)
        if channel is None:
            channel = Channel(tenant_id, self._reader, self._metrics, recent=self._policy.buffer)
            self._channels[tenant_id] = channel
        return channel

    def close(self) -> None:
        """Accept no more clients and end all streams now; clients that do not read are cut off."""
        self._closed = True
        for client in self._clients.values():
            client.end("shutdown")
            client.cut_if_stuck()

    # --- loops --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the bus, keep connections alive and look for lost messages, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for loop in (self._keep_alive, self._compare):
                tasks.create_task(restarted(loop))
            if self._bus is not None:
                tasks.create_task(restarted(partial(self._follow, self._bus)))

    async def _follow(self, bus: EventBus) -> None:
        attempt = 0
        while True:
            await self._occupied.wait()
            try:
                async with contextlib.aclosing(bus.follow()) as batches:
                    async for events in batches:
                        if not events:  # connected again, maybe to a part only: look for what was missed
                            if attempt:
                                log.info("stream.bus_recovered", attempts=attempt)
                            self._reader.bus_available, attempt = True, 0
                            self._compare_now.set()
                        for event in events:
                            self._deliver(event)
                        if not self._clients:
                            break
                self._reader.bus_available = False
                continue
            except EventBusUnavailableError as exc:
                if self._reader.bus_available or attempt == 0:
                    log.warning("stream.bus_unavailable", error=str(exc))
                    self._metrics.stream_bus_lost()
                self._reader.bus_available = False
                self._compare_now.set()
                attempt += 1
            await asyncio.sleep(pause_before(attempt))

    def _deliver(self, event: BillingEvent) -> None:
        channel = self._channels.get(event.tenant_id)
        if channel is None:
            return
        if self._tracing is None or event.trace_context is None:
            self._deliver_to(channel, event)
        else:
            with self._tracing.delivering(event.event_type, event.trace_context) as delivered:
                delivered(self._deliver_to(channel, event), len(channel.clients))

    def _deliver_to(self, channel: Channel, event: BillingEvent) -> int:
        """Send a message to the clients that keep up, and return how many these are."""
        sent = channel.deliver(message_frame(event, self._reader.epoch))
        if sent:
            at = event.published_at
            self._metrics.stream_delivered("live", sent, seconds=None if at is None else max(time.time() - at, 0))
        return sent

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._policy.keepalive.total_seconds())
            clients = list(self._clients.values())
            for start in range(0, len(clients), _KEEP_ALIVE_BATCH):
                for client in clients[start : start + _KEEP_ALIVE_BATCH]:
                    client.keep_alive()
                await asyncio.sleep(0)

    async def _compare(self) -> None:
        """Compare every tenant with the repository: nothing else shows that the bus lost a tenant's last message."""
        keepalive = self._policy.keepalive
        while True:
            pause = keepalive if self._bus_works else min(_COMPARISON_WITHOUT_BUS, keepalive)
            await wait_at_most(self._compare_now, pause)
            self._compare_now.clear()
            channels = list(self._channels.values())
            for start in range(0, len(channels), _TENANTS_PER_COMPARISON):
                await self._compare_some(channels[start : start + _TENANTS_PER_COMPARISON])

    @property
    def _bus_works(self) -> bool:
        """Whether messages arrive by the bus: it can be followed, and took the last message."""
        return self._reader.bus_available and (self._dependency is None or self._dependency.error is None)

    async def _compare_some(self, channels: Sequence[Channel]) -> None:
        known = [channel.head for channel in channels]
        try:
            numbers = await self._reader.last_numbers([channel.tenant_id for channel in channels])
        except StoreUnavailableError:
            return
        for channel, head in zip(channels, known, strict=True):
            channel.compare(numbers.get(channel.tenant_id, 0), known=head)
