"""Write frames to one client's socket."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final, Protocol

from aiohttp import HttpVersion11, web

from billing_app.http.stream.frames import Frame

_CONGESTED: Final = 64 * 1024
"""Unsent bytes in a socket's buffer above which frames are no longer sent to it directly."""


class ClientGoneError(Exception):
    """The client has left or does not read. `reason` is from a closed set."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Sink(Protocol):
    """The receiver of one client's frames."""

    def send(self, frame: Frame) -> bool:
        """Pass a frame to the socket at once, or return False if it is not ready for more."""
        ...

    async def write(self, frames: Sequence[Frame]) -> None:
        """Send frames and wait until the client has read them. Raises ClientGoneError if it does not."""
        ...

    def abort(self) -> None:
        """Cut the connection; a `write` in progress ends with ClientGoneError."""
        ...

    @property
    def gone(self) -> bool:
        """Whether the connection is known to be closed."""
        ...


class SocketSink:
    """A Sink that writes into one HTTP response, in two ways.

    `send` writes to the transport itself: the frame is already the chunk that aiohttp would make of it, and a coroutine
    per client and event would cost more than everything else. `write` goes through aiohttp and waits for the socket.
    """

    def __init__(self, request: web.Request, response: web.StreamResponse, *, write_timeout: timedelta) -> None:
        self._request = request
        self._response = response
        self._write_timeout = write_timeout.total_seconds()
        self._transport: asyncio.WriteTransport | None = None
        self._chunked = request.version >= HttpVersion11

    async def open(self) -> None:
        """Send the head of the response; nothing may be sent before."""
        try:
            await self._response.prepare(self._request)
        except OSError as exc:
            raise ClientGoneError("client_left") from exc
        transport = self._request.transport
        if transport is None:
            raise ClientGoneError("client_left")
        self._transport = transport
        # Longer than `write` waits: to the kernel, a client that does not read is silent, too.
        _limit_silence(transport, 2 * self._write_timeout)

    def send(self, frame: Frame) -> bool:
        """See Sink."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > _CONGESTED:
            return False
        transport.write(frame.chunk if self._chunked else frame.plain)
        return True

    async def write(self, frames: Sequence[Frame]) -> None:
        """See Sink. The deadline is for each piece, so that a long backlog does not need a fast line."""
        for piece in _pieces(frames):
            try:
                async with asyncio.timeout(self._write_timeout):
                    await self._response.write(piece)
            except TimeoutError:
                self.abort()
                raise ClientGoneError("stalled") from None
            except OSError as exc:
                raise ClientGoneError(_reason_of(exc)) from exc

    async def close(self, last: Frame) -> None:
        """Send the last frame and the end of the response."""
        await self.write([last])
        with suppress(OSError):
            await self._response.write_eof()

    def abort(self) -> None:
        """See Sink."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def gone(self) -> bool:
        """See Sink."""
        return self._transport is not None and self._transport.is_closing()


def _pieces(frames: Sequence[Frame]) -> Sequence[bytes]:
    """Join whole frames to pieces that fit into a socket's buffer."""
    pieces: list[bytes] = []
    piece = bytearray()
    for frame in frames:
        piece += frame.plain
        if len(piece) >= _CONGESTED:
            pieces.append(bytes(piece))
            piece = bytearray()
    return [*pieces, bytes(piece)] if piece else pieces


def _reason_of(lost: OSError) -> str:
    """Return why a connection was lost. aiohttp keeps the kernel's error as the cause of its own."""
    return "stalled" if isinstance(lost.__cause__, TimeoutError) else "client_left"


def _limit_silence(transport: asyncio.WriteTransport, seconds: float) -> None:
    """Let the kernel close a connection whose peer takes nothing: a client that vanished sends no FIN."""
    connection = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux
    if option is not None and connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, option, round(seconds * 1000))
