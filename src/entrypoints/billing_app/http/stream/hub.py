"""The fan-out of one process: one reader of the bus, any number of clients, no gap and no duplicate for any of them.

A client has a cursor: the number of the last message it was sent. It is only ever sent `cursor + 1`. As long as it
keeps up, a message goes from the bus into its socket at once, without a task switch. When something is in the way (it
has just connected, the bus skipped a number, its socket is full) it leaves that fast path, and its own task brings it
up to date: from the messages kept in memory, the bus's log or the repository, in this order. So a slow client costs
nobody else anything and needs no queue of its own; and what the bus loses does not matter, the repository has it.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Final, Protocol

import attrs
import structlog

from billing_app.http.ports import HttpMetrics
from billing_app.http.stream.frames import KEEP_ALIVE, Frame, message_frame, reset_frame
from billing_core.errors import EventBusUnavailableError, StoreUnavailableError
from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.model.epoch import Epoch
from billing_core.stream.ports import EventBus, MessageHistory

log = structlog.get_logger()

_PAGE: Final = 200
"""Messages read at a time to catch up."""

_LOOKS_AT_A_TIME: Final = 500
"""Tenants compared with the repository by one query."""

_COMMENTS_AT_A_TIME: Final = 50
"""Clients that get a comment before the loop turns: to send thousands at once would hold messages back."""

_LOOK_WITHOUT_BUS: Final = timedelta(seconds=2)
"""How often the repository is asked for news while the bus is away."""

_LONGEST_RETRY: Final = 2.0
"""Seconds between two attempts to follow the bus, at most."""


class Sink(Protocol):
    """Where one client's frames go."""

    def send(self, frame: Frame) -> bool:
        """Hand a frame to the socket at once, or return False when it is not ready for more."""
        ...

    async def write(self, frames: Sequence[Frame]) -> None:
        """Send frames and wait until the client has taken them in. Raises ClientGoneError when it does not."""
        ...

    def abort(self) -> None:
        """Cut the connection; a `write` in progress ends with ClientGoneError."""
        ...

    @property
    def gone(self) -> bool:
        """Whether the connection is known to be closed."""
        ...


class ClientGoneError(Exception):
    """The client has left or does not read. `reason` is from a closed set."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HubFullError(Exception):
    """This process serves as many streams as it may."""


@attrs.frozen(kw_only=True)
class HubPolicy:
    """How the hub treats its clients."""

    keepalive: timedelta
    """Pause between two comments on a quiet stream, and between two looks for messages that the bus lost."""
    recent: int
    """Newest messages of each tenant kept in memory for clients that fell behind; older ones are read again."""
    max_clients: int


class StreamHub:
    """Connects clients to the bus. `run` must be running for anything but catching up to happen."""

    def __init__(
        self,
        *,
        bus: EventBus | None,
        history: MessageHistory,
        metrics: HttpMetrics,
        policy: HubPolicy,
        epoch: Epoch,
    ) -> None:
        """Without a bus all messages come from the repository, which is asked every other second."""
        self.epoch = epoch
        self._bus = bus
        self._history = history
        self._metrics = metrics
        self._policy = policy
        self._channels: dict[TenantId, _Channel] = {}
        self._clients: dict[int, StreamClient] = {}
        self._bus_answers = False
        self._occupied = asyncio.Event()
        """Whether there is any client: without one, nobody has to hear the bus."""
        self._look_now = asyncio.Event()
        self._closed = False

    # --- clients ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def client(self, tenant_id: TenantId, sink: Sink) -> "Iterator[StreamClient]":
        """Register a client for the length of the block. Raises HubFullError."""
        if self._closed or len(self._clients) >= self._policy.max_clients:
            raise HubFullError
        channel = self._channels.setdefault(tenant_id, _Channel(tenant_id, self._policy.recent))
        client = StreamClient(self, channel, sink)
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

    def close(self) -> None:
        """Take no more clients and end all streams now; those that do not read are cut off."""
        self._closed = True
        for client in self._clients.values():
            client.end("shutdown")
            client.cut_if_stuck()

    # --- loops --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the bus, keep connections alive and look for lost messages, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for loop in (self._keep_alive, self._look):
                tasks.create_task(_restarted(loop))
            if self._bus is not None:
                tasks.create_task(_restarted(partial(self._follow, self._bus)))

    async def _follow(self, bus: EventBus) -> None:
        attempt = 0
        while True:
            await self._occupied.wait()
            try:
                async with contextlib.aclosing(bus.follow()) as batches:
                    async for events in batches:
                        if not events:  # listening again, or to a part only: what was missed has to be looked up
                            self._bus_answers, attempt = True, 0
                            self._look_now.set()
                        for event in events:
                            self._deliver(event)
                        if not self._clients:
                            break
                self._bus_answers = False
                continue
            except EventBusUnavailableError as exc:
                if self._bus_answers or attempt == 0:
                    log.warning("stream.bus_lost", error=str(exc))
                    self._metrics.stream_bus_lost()
                self._bus_answers = False
                self._look_now.set()
                attempt += 1
            pause = min(_LONGEST_RETRY, 0.05 * 2.0 ** min(attempt, 10))
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads load

    def _deliver(self, event: BillingEvent) -> None:
        channel = self._channels.get(event.tenant_id)
        if channel is not None:
            sent = channel.deliver(message_frame(event, self.epoch))
            if sent:
                self._metrics.stream_delivered("live", sent)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._policy.keepalive.total_seconds())
            clients = list(self._clients.values())
            for start in range(0, len(clients), _COMMENTS_AT_A_TIME):
                for client in clients[start : start + _COMMENTS_AT_A_TIME]:
                    client.keep_alive()
                await asyncio.sleep(0)

    async def _look(self) -> None:
        """Compare every tenant with the repository: a message that the bus lost is noticed by nothing else."""
        while True:
            pause = self._policy.keepalive if self._bus_answers else min(_LOOK_WITHOUT_BUS, self._policy.keepalive)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause.total_seconds()):
                    await self._look_now.wait()
            self._look_now.clear()
            channels = list(self._channels.values())
            for start in range(0, len(channels), _LOOKS_AT_A_TIME):
                await self._look_at(channels[start : start + _LOOKS_AT_A_TIME])

    async def _look_at(self, channels: Sequence["_Channel"]) -> None:
        known = [channel.head for channel in channels]
        try:
            numbers = await self._history.sequences([channel.tenant_id for channel in channels])
        except StoreUnavailableError:
            return
        for channel, head in zip(channels, known, strict=True):
            last = numbers.get(channel.tenant_id, 0)
            channel.page = ()
            if last < head:  # the history was set back, by a restored backup say
                channel.set_back(last)
            else:
                channel.reach(last)

    # --- catching up --------------------------------------------------------------------------------------------

    async def last_number(self, channel: "_Channel") -> int:
        """The number of a tenant's last message. Raises StoreUnavailableError."""
        channel.reach(await self._history.sequence(channel.tenant_id))
        return channel.head

    async def frames_after(self, channel: "_Channel", cursor: int) -> Sequence[Frame]:
        """Some frames from `cursor + 1` on, without a gap; () when nobody has them right now."""
        frames, source = channel.recent_after(cursor), "live"
        if not frames:
            async with channel.filling:  # one read per tenant at a time: others mostly want the same page
                frames, source = _following(channel.page, cursor), "history"
                if not frames:
                    channel.page, source = await self._read(channel.tenant_id, cursor)
                    frames = channel.page
        if frames:
            self._metrics.stream_delivered(source, len(frames))
        return frames

    async def _read(self, tenant_id: TenantId, cursor: int) -> tuple[Sequence[Frame], str]:
        if self._bus is not None and self._bus_answers:
            with contextlib.suppress(EventBusUnavailableError):
                events = await self._bus.read(tenant_id, after=cursor, limit=_PAGE)
                if events and events[0].sequence == cursor + 1:
                    return [message_frame(event, self.epoch) for event in events], "log"
        try:
            events = await self._history.events(tenant_id, after=cursor, limit=_PAGE)
        except StoreUnavailableError:
            return (), "history"
        return [message_frame(event, self.epoch) for event in events], "history"


class _Channel:
    """One tenant's clients in this process, and its newest messages."""

    def __init__(self, tenant_id: TenantId, recent: int) -> None:
        self.tenant_id = tenant_id
        self.clients: dict[int, StreamClient] = {}
        self.head = 0
        """The highest number known to exist."""
        self.page: Sequence[Frame] = ()
        """What was read last to catch up somebody; kept until the next look."""
        self.filling = asyncio.Lock()
        self._recent: deque[Frame] = deque(maxlen=recent)
        """Consecutive numbers up to `_last`; empty as long as every client keeps up."""
        self._last = 0
        """The last number that came by the bus."""

    def deliver(self, frame: Frame) -> int:
        """Take a message from the bus, and say how many clients got it at once."""
        if frame.sequence <= self._last:
            return 0
        if frame.sequence != self._last + 1:
            self._recent.clear()
        self._last = frame.sequence
        self._recent.append(frame)
        self.head = max(self.head, frame.sequence)
        sent = sum(client.offer(frame) for client in self.clients.values())
        if sent == len(self.clients):
            self._recent.clear()
        return sent

    def recent_after(self, cursor: int) -> Sequence[Frame]:
        """Frames from `cursor + 1` on, if they are still here."""
        return _following(self._recent, cursor)

    def reach(self, number: int) -> None:
        """Learn that messages up to `number` exist."""
        if number > self.head:
            self.head = number
            for client in self.clients.values():
                client.catch_up()

    def set_back(self, number: int) -> None:
        """Learn that the history ends at `number`, before what clients have already got."""
        self.head, self._last = number, 0
        self._recent.clear()
        for client in self.clients.values():
            client.catch_up()


class StreamClient:
    """One open stream, in the hands of the task that serves it."""

    def __init__(self, hub: StreamHub, channel: _Channel, sink: Sink) -> None:
        self._hub = hub
        self._channel = channel
        self._sink = sink
        self._cursor = 0
        self._live = False
        """Whether frames may be sent past `run`, which then waits: it is up to date and nothing is being written."""
        self._writing = False
        self._wake = asyncio.Event()
        self._end: str | None = None

    async def begin(self, after: int | None) -> tuple[int, bool]:
        """Set where the stream begins: behind number `after`, or with what comes from now on.

        Returns: the cursor, and whether the client must be told to start anew since it knows numbers that do not exist.
        Raises: StoreUnavailableError.
        """
        last = await self._hub.last_number(self._channel)
        known = after is None or after <= last
        self._cursor = last if after is None or not known else after
        return self._cursor, not known

    async def run(self) -> str:
        """Send messages until the stream is to end; returns why. Raises ClientGoneError."""
        while self._end is None:
            if self._cursor > self._channel.head:
                self._cursor = self._channel.head
                await self._write([reset_frame(self._cursor, self._hub.epoch.position(self._cursor))])
            elif self._cursor == self._channel.head:
                self._live = True
                await self._wake.wait()
            else:
                await self._catch_up()
            self._wake.clear()
        return self._end

    async def _catch_up(self) -> None:
        frames = await self._hub.frames_after(self._channel, self._cursor)
        if frames:
            await self._write(frames)
            self._cursor = frames[-1].sequence
            self._channel.reach(self._cursor)
        else:  # the repository is away, or behind the bus for a moment
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(0.5, 1)):  # noqa: S311 - spreads load
                    await self._wake.wait()

    async def _write(self, frames: Sequence[Frame]) -> None:
        self._writing = True
        try:
            await self._sink.write(frames)
        finally:
            self._writing = False

    def offer(self, frame: Frame) -> bool:
        """Send a new message at once if it is the next one and the client keeps up; else leave it to `run`."""
        if self._live and frame.sequence == self._cursor + 1 and self._sink.send(frame):
            self._cursor = frame.sequence
            return True
        self.catch_up()
        return False

    def catch_up(self) -> None:
        """Let `run` compare the cursor with what there is."""
        self._live = False
        self._wake.set()

    def keep_alive(self) -> None:
        """Send a comment, unless the client has not even taken in what came before it."""
        if self._sink.gone:
            self.end("client_left")
        else:
            self._sink.send(KEEP_ALIVE)

    def cut_if_stuck(self) -> None:
        """Cut the connection if the client has yet to take in what is being written."""
        if self._writing:
            self._sink.abort()

    def end(self, reason: str) -> None:
        """End the stream; the first reason counts."""
        if self._end is None:
            self._end = reason
            self.catch_up()


def _following(frames: Sequence[Frame] | deque[Frame], cursor: int) -> Sequence[Frame]:
    """What of consecutive frames begins at `cursor + 1`; () unless they hold that one."""
    if not frames or not frames[0].sequence <= cursor + 1 <= frames[-1].sequence:
        return ()
    start = cursor + 1 - frames[0].sequence
    return list(islice(frames, start, start + _PAGE))


async def _restarted(loop: Callable[[], Awaitable[None]]) -> None:
    """A loop that must not end: one failing does not take the streams down, but it is told."""
    while True:
        try:
            await loop()
        except Exception:
            log.exception("stream.loop_failed", loop=repr(loop))
        await asyncio.sleep(1)
