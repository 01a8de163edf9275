"""A tenant's messages for code in this process: as objects, and as server-sent events for its own clients."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import attrs

from billing_app.container import Container
from billing_app.host.errors import BadPositionError, StreamResetError, TooManyStreamsError
from billing_app.host.lifetime import Lifetime
from billing_app.http.stream.channel import StreamClient
from billing_app.http.stream.frames import Frame, message_of, opening_frame, reconnect_frame, reset_frame
from billing_app.http.stream.hub import HubFullError
from billing_app.http.stream.sinks import ClientGoneError
from billing_core import payloads
from billing_core.model import TenantId
from billing_core.model.epoch import Epoch
from billing_core.payloads import BillingEventPayload

_ROOM: Final = 200
"""Frames that wait for their reader. A slower reader is brought up to date from the log or the repository."""
_TOO_MANY: Final = "this process serves as many streams as BILLING_STREAM_MAX_CONNECTIONS allows, or it is closing"


class QueueSink:
    """A Sink whose frames are taken by a reader in the same process."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._ended = False

    def send(self, frame: Frame) -> bool:
        """See Sink."""
        if self._ended or len(self._frames) >= _ROOM:
            return False
        self._frames.append(frame)
        self._filled.set()
        return True

    async def write(self, frames: Sequence[Frame]) -> None:
        """See Sink."""
        for frame in frames:
            while not self.send(frame):
                if self._ended:
                    raise ClientGoneError("client_left")
                self._emptied.clear()
                await self._emptied.wait()

    def abort(self) -> None:
        """See Sink. What was written stays for the reader."""
        self._ended = True
        self._filled.set()
        self._emptied.set()

    @property
    def gone(self) -> bool:
        """See Sink."""
        return self._ended

    async def take(self) -> Sequence[Frame]:
        """Wait for frames, and return them all; () at the end."""
        while not self._frames and not self._ended:
            self._filled.clear()
            await self._filled.wait()
        taken = list(self._frames)
        self._frames.clear()
        self._emptied.set()
        return taken


@attrs.frozen(kw_only=True)
class _Following:
    """A stream that is open."""

    cursor: int
    """The number after which it begins."""
    position: str
    """That number as a position."""
    reset: bool
    """Whether the state has to be loaded again, because the wanted position does not exist."""
    client: StreamClient
    sink: QueueSink
    ended: "asyncio.Task[str]"
    """Ends with the stream, with the reason."""


def start_at(epoch: Epoch, position: str | None) -> tuple[int | None, bool]:
    """Return the number of a position, and whether it is one of another history. Raises BadPositionError.

    Without a position a stream starts with the next new message: the number is None.
    """
    if position is None:
        return None, False
    try:
        after = epoch.sequence(position)
    except ValueError:
        raise BadPositionError from None
    return after, after is None


@asynccontextmanager
async def _following(container: Container, tenant_id: TenantId, position: str | None) -> AsyncIterator[_Following]:
    """Follow a tenant's messages for the length of the block. Raises TooManyStreamsError, StoreUnavailableError."""
    epoch: Epoch = container.epoch()
    after, foreign = start_at(epoch, position)
    sink = QueueSink()
    with admitted(container, tenant_id, sink) as client:
        cursor, ahead = await client.begin(after)
        ended = asyncio.create_task(client.run(), name="stream")
        ended.add_done_callback(lambda _: sink.abort())
        try:
            yield _Following(
                cursor=cursor,
                position=epoch.position(cursor),
                reset=ahead or foreign,
                client=client,
                sink=sink,
                ended=ended,
            )
        finally:
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)


@contextmanager
def admitted(container: Container, tenant_id: TenantId, sink: QueueSink) -> Iterator[StreamClient]:
    """Register a client for the length of the block. Raises TooManyStreamsError."""
    try:
        client = container.hub().client(tenant_id, sink)
        with client as registered:
            yield registered
    except HubFullError:
        raise TooManyStreamsError(_TOO_MANY) from None


async def messages(
    lifetime: Lifetime, tenant_id: TenantId, after: str | None
) -> AsyncGenerator[BillingEventPayload, None]:
    """Yield the messages after a position; see `Billing.stream`."""
    position = after
    while True:
        async with _following(lifetime.opened.container, tenant_id, position) as following:
            if following.reset:
                raise StreamResetError(following.position)
            position = following.position
            while frames := await following.sink.take():
                for frame in frames:
                    if frame.sequence:
                        position = frame.position
                        yield payloads.loads(message_of(frame))
                    elif frame.position:
                        raise StreamResetError(frame.position)
            following.ended.result()
        await lifetime.opened_again()
        if lifetime.closing.is_set():
            return


async def server_sent_events(
    container: Container, tenant_id: TenantId, last_event_id: str | None
) -> AsyncGenerator[bytes, None]:
    """Yield whole frames, some at a time; see `Billing.server_sent_events`."""
    policy = container.settings().stream
    retry = policy.retry * random.uniform(1, 2)  # noqa: S311 - spreads load
    longest = policy.max_life.total_seconds() * random.uniform(0.5, 1)  # noqa: S311
    reason = "client_left"
    try:
        async with _following(container, tenant_id, last_event_id) as following:
            yield opening_frame(following.position, retry).plain
            if following.reset:
                yield reset_frame(following.cursor, following.position).plain
            timer = asyncio.get_running_loop().call_later(longest, following.client.end, "max_life")
            try:
                while frames := await following.sink.take():
                    yield b"".join(frame.plain for frame in frames)
            finally:
                timer.cancel()
            reason = following.ended.result()
            yield reconnect_frame(reason, retry).plain
    finally:
        container.metrics().stream_ended(reason)
