"""A tenant's messages for code in this process: as objects, and as server-sent events for its own clients."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack
from typing import Final, Self

from billing_app.container import Container
from billing_app.host.errors import BadPositionError, StreamResetError, TooManyStreamsError
from billing_app.host.lifetime import Lifetime
from billing_app.http.stream.channel import StreamClient
from billing_app.http.stream.frames import Frame, message_of, opening_frame, reconnect_frame, reset_frame
from billing_app.http.stream.hub import HubFullError
from billing_app.http.stream.sinks import ClientGoneError
from billing_app.http.stream.spreading import life_of_one, pause_of_one
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


class _Following:
    """A tenant's messages, followed for the length of a block.

    No generator, as a stream is one: garbage collection would end both at the same time, each in a task of its own.
    """

    def __init__(self, container: Container, tenant_id: TenantId, position: str | None) -> None:
        self._epoch: Epoch = container.epoch()
        self._after, self._foreign = start_at(self._epoch, position)
        self.sink = QueueSink()
        self._admission = container.hub().client(tenant_id, self.sink)
        self.cursor = 0
        """The number after which it begins."""
        self.reset = False
        """Whether the state has to be loaded again, because the wanted position does not exist."""

    @property
    def position(self) -> str:
        """The position of `cursor`."""
        return self._epoch.position(self.cursor)

    async def __aenter__(self) -> Self:
        """Begin. Raises TooManyStreamsError, StoreUnavailableError."""
        with ExitStack() as stack:
            try:
                self.client: StreamClient = stack.enter_context(self._admission)
            except HubFullError:
                raise TooManyStreamsError(_TOO_MANY) from None
            self.cursor, ahead = await self.client.begin(self._after)
            self.reset = ahead or self._foreign
            self.ended = asyncio.create_task(self.client.run(), name="stream")
            self.ended.add_done_callback(lambda _: self.sink.abort())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        with self._stack:
            self.ended.cancel()
            await asyncio.gather(self.ended, return_exceptions=True)


async def messages(
    lifetime: Lifetime, tenant_id: TenantId, after: str | None
) -> AsyncGenerator[BillingEventPayload, None]:
    """Yield the messages after a position; see `Billing.stream`."""
    position = after
    while True:
        async with _Following(lifetime.opened.container, tenant_id, position) as following:
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
    retry, longest = pause_of_one(policy), life_of_one(policy).total_seconds()
    reason = "client_left"
    try:
        async with _Following(container, tenant_id, last_event_id) as following:
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
