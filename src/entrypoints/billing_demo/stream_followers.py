"""Followers of the real stream, one per tenant, that verify every message number."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import aiohttp
import attrs

_RECONNECT_SECONDS: Final = 0.3
_SILENCE_SECONDS: Final = 60.0
"""The server sends a comment every few seconds; a connection that is silent for longer is dead."""


@attrs.frozen(kw_only=True)
class ServerSentEvent:
    """One server-sent event."""

    event: str = "message"
    id: str | None = None
    data: str = ""


class EventParser:
    """Parses the lines of a stream. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}

    def feed(self, line: str) -> ServerSentEvent | None:
        """Parse one line without its end; return a frame if the line completes one that has data or an event name."""
        if line == "":
            fields, self._fields = self._fields, {}
            if "data" not in fields and "event" not in fields:
                return None
            return ServerSentEvent(
                event=fields.get("event", "message"), id=fields.get("id"), data=fields.get("data", "")
            )
        name, _, value = line.partition(":")
        if name in ("event", "id", "data"):
            value = value.removeprefix(" ")
            joined = name == "data" and name in self._fields
            self._fields[name] = f"{self._fields[name]}\n{value}" if joined else value
        return None


class StreamFollower:
    """Follows one tenant's stream; reconnects and resumes after the last number it has received."""

    def __init__(self, *, session: aiohttp.ClientSession, url: str, tenant_id: str, token: Callable[[], str]) -> None:
        """`token` is called for every connection."""
        self._session = session
        self._url = url
        self._token = token
        self.tenant_id = tenant_id
        self.last = 0
        """The highest number received."""
        self.connections = 0
        self.violations: list[str] = []
        """Duplicate and out-of-order numbers, and resets: none of them may happen in a demo."""
        self.status: str | None = None
        """Status of the subscription in the last message that had one."""

    async def run(self) -> None:
        """Follow the stream until cancelled."""
        while True:
            # Reconnect when the server is down, as every browser does.
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
                await self._follow()
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _follow(self) -> None:
        headers = {"Authorization": f"Bearer {self._token()}", "Last-Event-ID": str(self.last)}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=_SILENCE_SECONDS)
        async with self._session.get(self._url, headers=headers, timeout=timeout) as response:
            if response.status != 200:
                return
            self.connections += 1
            async for frame in _frames(response.content):
                self._receive(frame)

    def _receive(self, frame: ServerSentEvent) -> None:
        if frame.event == "reconnect":
            return
        if frame.event == "reset":
            self.violations.append(f"{self.tenant_id}: reset after message {self.last}")
            return
        payload: dict[str, Any] = json.loads(frame.data)
        number = int(frame.id or 0)
        if number != payload["sequence"] or payload["tenant_id"] != self.tenant_id:
            self.violations.append(f"{self.tenant_id}: frame {frame.id} contains another message")
        if number != self.last + 1:
            self.violations.append(f"{self.tenant_id}: received message {number} after {self.last}")
        self.last = max(self.last, number)
        if payload["subscription"] is not None:
            self.status = payload["subscription"]["status"]


async def _frames(content: aiohttp.StreamReader) -> AsyncIterator[ServerSentEvent]:
    parser = EventParser()
    async for line in content:
        frame = parser.feed(line.decode().rstrip("\r\n"))
        if frame is not None:
            yield frame


class StreamFollowers:
    """All stream followers of a run."""

    def __init__(self, *, session: aiohttp.ClientSession, url: str, token: Callable[[str], str]) -> None:
        self._session = session
        self._url = url
        self._token = token
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closing: list[asyncio.Task[None]] = []
        self._earlier_messages = 0
        self._earlier_violations: list[str] = []
        self.followers: dict[str, StreamFollower] = {}

    def connect(self, tenant_id: str) -> None:
        """Follow a tenant's stream from its first message; does nothing if it is followed already."""
        if tenant_id in self.followers:
            return
        follower = StreamFollower(
            session=self._session, url=self._url, tenant_id=tenant_id, token=lambda: self._token(tenant_id)
        )
        self.followers[tenant_id] = follower
        self._tasks[tenant_id] = asyncio.create_task(follower.run(), name=f"stream follower of {tenant_id}")

    def disconnect(self) -> None:
        """Disconnect all followers, without waiting. Their messages and violations stay in the totals."""
        self._earlier_messages, self._earlier_violations = self.messages, self.violations
        for task in self._tasks.values():
            task.cancel()
        self._closing += self._tasks.values()
        self._tasks, self.followers = {}, {}

    async def close(self) -> None:
        """Disconnect all followers and wait until their streams are closed."""
        self.disconnect()
        await asyncio.gather(*self._closing, return_exceptions=True)

    @property
    def messages(self) -> int:
        """Number of messages that all followers have received."""
        return self._earlier_messages + sum(follower.last for follower in self.followers.values())

    @property
    def violations(self) -> list[str]:
        """All violations of order and completeness."""
        current = [violation for follower in self.followers.values() for violation in follower.violations]
        return self._earlier_violations + current

    def statuses(self) -> Counter[str]:
        """Count the tenants by the status of their subscription in the last message."""
        return Counter(follower.status for follower in self.followers.values() if follower.status is not None)
