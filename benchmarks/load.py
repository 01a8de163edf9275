"""A cheap closed-loop HTTP client: N connections, each with one request in flight."""

import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from typing import cast

import attrs
import structlog


@attrs.frozen(kw_only=True)
class Load:
    """Result of one run. Latencies are in seconds, one per answered request."""

    seconds: float
    latencies: Sequence[float]
    unexpected: int
    """Answers with an unexpected status."""

    @property
    def per_second(self) -> float:
        """Return the answered requests per second."""
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """Return the latency that `share` of the requests stayed under, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


class _Connection(asyncio.Protocol):
    """One connection, which sends the next request when the last one is answered. Answers must have Content-Length."""

    def __init__(self, run: "_Run") -> None:
        self._run = run
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is a stream transport by shape, not by class.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        start = head.index(b"content-length:") + len(b"content-length:")
        length = int(head[start:].split(b"\r\n", 1)[0])
        if len(self._buffer) < head_end + 4 + length:
            return
        self._run.answered(time.perf_counter() - self._sent_at, self._buffer[9:12])
        self._buffer = self._buffer[head_end + 4 + length :]
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.closed(exc)

    def _send(self) -> None:
        request = self._run.next_request()
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


class _Run:
    def __init__(self, requests: Sequence[bytes], expected_status: int, connections: int) -> None:
        self._requests = iter(requests)
        self._total = len(requests)
        self._expected = str(expected_status).encode()
        self._open = connections
        self.latencies: list[float] = []
        self.unexpected = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def next_request(self) -> bytes | None:
        return next(self._requests, None)

    def answered(self, latency: float, status: bytes) -> None:
        self.latencies.append(latency)
        self.unexpected += status != self._expected

    def closed(self, error: Exception | None) -> None:
        self._open -= 1
        if self._open == 0 and not self.done.done():
            if len(self.latencies) < self._total:
                missing = self._total - len(self.latencies)
                self.done.set_exception(ConnectionError(f"{missing} requests were never answered: {error}"))
            else:
                self.done.set_result(None)


async def post_all(port: int, requests: Sequence[bytes], *, connections: int, expected_status: int = 202) -> Load:
    """Send all requests to 127.0.0.1:port over the given number of connections, and wait for all answers."""
    run = _Run(requests, expected_status, connections)
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(run), "127.0.0.1", port)
    await run.done
    return Load(seconds=time.perf_counter() - started, latencies=run.latencies, unexpected=run.unexpected)


def request(path: str, body: bytes, signature: str) -> bytes:
    """Encode a POST request for a socket."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nStripe-Signature: {signature}\r\n\r\n"
    )
    return head.encode() + body


def run(main: "asyncio._CoroutineLike[None]") -> None:
    """Run a benchmark, on uvloop if it is installed. It logs as a server does, to standard error and not each step."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    uvloop.run(main)
