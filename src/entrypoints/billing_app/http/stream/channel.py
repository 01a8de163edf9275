"""Delivery within one tenant: every client gets every message once and in order, whatever its pace.

A client has a cursor, the number of the last message it was sent, and is only ever sent `cursor + 1`. While it keeps
up, a message goes from the bus into its socket at once, without a task switch. If it cannot (it has just connected,
the bus skipped a number, its socket is full), it leaves that fast path and its own task brings it up to date: from the
frames kept in memory, the bus's log or the repository, in this order. So a slow client delays no other client and needs
no queue of its own, and a message that the bus lost is read from the repository.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

from billing_app.http.ports import StreamMetrics
from billing_app.http.stream.frames import KEEP_ALIVE, Frame, reset_frame
from billing_app.http.stream.message_reader import PAGE, MessageReader
from billing_app.http.stream.sinks import Sink
from billing_core.errors import StoreUnavailableError
from billing_core.events import BillingEventType
from billing_core.model import TenantId

_WITHDRAWING: Final = frozenset(
    {BillingEventType.CUSTOMER_UNLINKED.value, BillingEventType.SUBSCRIPTION_UNLINKED.value}
)
"""Messages behind which earlier ones may have been withdrawn: what is kept of those is forgotten."""


class Channel:
    """One tenant's clients in this process, and its newest frames."""

    def __init__(self, tenant_id: TenantId, reader: MessageReader, metrics: StreamMetrics, *, recent: int) -> None:
        """Keep up to `recent` frames in memory while some client lags behind."""
        self.tenant_id = tenant_id
        self.clients: dict[int, StreamClient] = {}
        self.head = 0
        """The highest number known to exist."""
        self._reader = reader
        self._metrics = metrics
        self._recent: deque[Frame] = deque(maxlen=recent)
        """Consecutive frames up to `_last`; empty as long as every client keeps up."""
        self._last = 0
        """The last number that the bus delivered."""
        self._page: Sequence[Frame] = ()
        """The page read last for a client that fell behind; kept until the next comparison with the repository."""
        self._reading = asyncio.Lock()
        self._forgotten = 0
        """How often frames were forgotten because messages may have been withdrawn."""

    def deliver(self, frame: Frame) -> int:
        """Take a message from the bus, and return how many clients got it at once."""
        if frame.sequence <= self._last:
            return 0
        if frame.event_type in _WITHDRAWING:
            self._reader.pass_over_log(self.tenant_id)
            self._forget_frames()
        if frame.sequence != self._last + 1:
            self._recent.clear()
        self._last = frame.sequence
        self._recent.append(frame)
        self.head = max(self.head, frame.sequence)
        sent = sum(client.offer(frame) for client in self.clients.values())
        if sent == len(self.clients):
            self._recent.clear()
        return sent

    def compare(self, last: int, *, known: int) -> None:
        """Take note of the last number in the repository; `known` is what `head` was before the query."""
        self._page = ()
        if last < known:
            self._set_back(last)
        else:
            self.reach(last)

    def reach(self, number: int) -> None:
        """Note that messages up to `number` exist."""
        if number > self.head:
            self.head = number
            self._wake_clients()

    def _set_back(self, number: int) -> None:
        """Note that the history ends before what clients have already got, for example after a restored backup."""
        self.head, self._last = number, 0
        self._recent.clear()
        self._wake_clients()

    def _forget_frames(self) -> None:
        """Forget the frames kept in memory, also those that are being read: their messages may have been withdrawn."""
        self._page = ()
        self._recent.clear()
        self._forgotten += 1

    def _wake_clients(self) -> None:
        for client in self.clients.values():
            client.catch_up()

    async def last_number(self) -> int:
        """Return the number of the tenant's last message. Raises StoreUnavailableError."""
        last = await self._reader.last_number(self.tenant_id)
        if self._reader.passes_over_log(self.tenant_id):
            self._forget_frames()
        self.reach(last)
        return self.head

    async def frames_after(self, cursor: int) -> Sequence[Frame]:
        """Return some frames from `cursor + 1` on, without a gap; () if they cannot be read right now."""
        frames, source = _following(self._recent, cursor), "live"
        if not frames:
            async with self._reading:  # one read at a time: the clients that wait mostly want the same page
                frames, source = _following(self._page, cursor), "history"
                if not frames:
                    forgotten = self._forgotten
                    frames, source = await self._reader.read(self.tenant_id, after=cursor)
                    self._page = frames if forgotten == self._forgotten else ()
        if frames:
            self._metrics.stream_delivered(source, len(frames))
        return frames

    async def erased_until(self) -> int:
        """Return the number up to which the tenant's messages were erased. Raises StoreUnavailableError."""
        return await self._reader.erased_until(self.tenant_id)

    def reset(self, number: int) -> Frame:
        """Return the frame that makes a client load the state again and continue after `number`."""
        return reset_frame(number, self._reader.epoch.position(number))


class StreamClient:
    """One open stream, driven by the task that serves it."""

    def __init__(self, channel: Channel, sink: Sink) -> None:
        self._channel = channel
        self._sink = sink
        self._cursor = 0
        self._live = False
        """Whether `offer` may send past `run`, which then waits: all is sent and nothing is being written."""
        self._writing = False
        self._wake = asyncio.Event()
        self._end: str | None = None

    async def begin(self, after: int | None) -> tuple[int, bool]:
        """Start after message `after`, or with the next new message if it is None.

        Returns: the cursor, and whether the client knows numbers that do not exist and has to load the state again.
        Raises: StoreUnavailableError.
        """
        last = await self._channel.last_number()
        known = after is None or (after <= last and after >= await self._channel.erased_until())
        self._cursor = last if after is None or not known else after
        return self._cursor, not known

    async def run(self) -> str:
        """Send messages until the stream ends, and return the reason. Raises ClientGoneError."""
        while self._end is None:
            if self._cursor > self._channel.head:
                self._cursor = self._channel.head
                await self._write([self._channel.reset(self._cursor)])
            elif self._cursor == self._channel.head:
                self._live = True
                await self._wake.wait()
            else:
                await self._catch_up()
            self._wake.clear()
        return self._end

    async def _catch_up(self) -> None:
        frames = await self._channel.frames_after(self._cursor)
        if frames:
            await self._write(frames)
            self._cursor = frames[-1].sequence
            self._channel.reach(self._cursor)
        elif await self._was_erased():
            self._cursor = self._channel.head
            await self._write([self._channel.reset(self._cursor)])
        else:  # the repository is unavailable, or behind the bus for a moment
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(0.5, 1)):  # noqa: S311 - spreads load
                    await self._wake.wait()

    async def _was_erased(self) -> bool:
        """Tell whether the messages that the client misses are gone for good: it has to load the state again."""
        try:
            return self._cursor < await self._channel.erased_until()
        except StoreUnavailableError:
            return False

    async def _write(self, frames: Sequence[Frame]) -> None:
        self._writing = True
        try:
            await self._sink.write(frames)
        finally:
            self._writing = False

    def offer(self, frame: Frame) -> bool:
        """Send a new message at once if it is the next one and the client keeps up; otherwise leave it to `run`."""
        if self._live and frame.sequence == self._cursor + 1 and self._sink.send(frame):
            self._cursor = frame.sequence
            return True
        self.catch_up()
        return False

    def catch_up(self) -> None:
        """Let `run` compare the cursor with the channel's head."""
        self._live = False
        self._wake.set()

    def keep_alive(self) -> None:
        """Send a comment; skipped while the client has not read what came before."""
        if self._sink.gone:
            self.end("client_left")
        else:
            self._sink.send(KEEP_ALIVE)

    def cut_if_stuck(self) -> None:
        """Cut the connection if the client has not yet read what is being written."""
        if self._writing:
            self._sink.abort()

    def end(self, reason: str) -> None:
        """End the stream; the first reason counts."""
        if self._end is None:
            self._end = reason
            self.catch_up()


def _following(frames: Sequence[Frame] | deque[Frame], cursor: int) -> Sequence[Frame]:
    """Return the part of consecutive frames that begins at `cursor + 1`; () if that one is not among them."""
    if not frames or not frames[0].sequence <= cursor + 1 <= frames[-1].sequence:
        return ()
    start = cursor + 1 - frames[0].sequence
    return list(islice(frames, start, start + PAGE))
