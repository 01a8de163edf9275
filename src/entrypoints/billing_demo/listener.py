"""The other end of the loop: clients of the real stream, one per tenant, that check every message number."""

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
class Frame:
    """One server-sent event."""

    event: str = "message"
    id: str | None = None
    data: str = ""


class FrameParser:
    """Turns the lines of a stream into frames. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}

    def feed(self, line: str) -> Frame | None:
        """Take one line without its end; a frame when the line completes one that carries data or an event name."""
        if line == "":
            fields, self._fields = self._fields, {}
            if "data" not in fields and "event" not in fields:
                return None
            return Frame(event=fields.get("event", "message"), id=fields.get("id"), data=fields.get("data", ""))
        name, _, value = line.partition(":")
        if name in ("event", "id", "data"):
            value = value.removeprefix(" ")
            joined = name == "data" and name in self._fields
            self._fields[name] = f"{self._fields[name]}\n{value}" if joined else value
        return None


class Listener:
    """Follows one tenant's stream for as long as it runs; reconnects and resumes by the last number it has seen."""

    def __init__(self, *, session: aiohttp.ClientSession, url: str, tenant_id: str, token: Callable[[], str]) -> None:
        """`token` is asked for a fresh one at every connection."""
        self._session = session
        self._url = url
        self._token = token
        self.tenant_id = tenant_id
        self.last = 0
        """The highest number seen."""
        self.connections = 0
        self.violations: list[str] = []
        """Numbers that came twice or out of order, and resets: none of them may happen here."""
        self.status: str | None = None
        """Of the subscription that the last message showed."""

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            # When the server is away we come back, as every browser does.
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
                await self._listen()
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen(self) -> None:
        headers = {"Authorization": f"Bearer {self._token()}", "Last-Event-ID": str(self.last)}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=_SILENCE_SECONDS)
        async with self._session.get(self._url, headers=headers, timeout=timeout) as response:
            if response.status != 200:
                return
            self.connections += 1
            async for frame in _frames(response.content):
                self._take(frame)

    def _take(self, frame: Frame) -> None:
        if frame.event == "reconnect":
            return
        if frame.event == "reset":
            self.violations.append(f"{self.tenant_id}: was told to reset after {self.last}")
            return
        payload: dict[str, Any] = json.loads(frame.data)
        number = int(frame.id or 0)
        if number != payload["sequence"] or payload["tenant_id"] != self.tenant_id:
            self.violations.append(f"{self.tenant_id}: frame {frame.id} holds another message")
        if number != self.last + 1:
            self.violations.append(f"{self.tenant_id}: {number} came after {self.last}")
        self.last = max(self.last, number)
        if payload["subscription"] is not None:
            self.status = payload["subscription"]["status"]


async def _frames(content: aiohttp.StreamReader) -> AsyncIterator[Frame]:
    parser = FrameParser()
    async for line in content:
        frame = parser.feed(line.decode().rstrip("\r\n"))
        if frame is not None:
            yield frame


class Audience:
    """All listeners of a run."""

    def __init__(self, *, session: aiohttp.ClientSession, url: str, token: Callable[[str], str]) -> None:
        self._session = session
        self._url = url
        self._token = token
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leaving: list[asyncio.Task[None]] = []
        self._heard_by_leavers = 0
        self._complaints_of_leavers: list[str] = []
        self.listeners: dict[str, Listener] = {}

    def invite(self, tenant_id: str) -> None:
        """Let a tenant listen from its first message on; inviting it twice is harmless."""
        if tenant_id in self.listeners:
            return
        listener = Listener(
            session=self._session, url=self._url, tenant_id=tenant_id, token=lambda: self._token(tenant_id)
        )
        self.listeners[tenant_id] = listener
        self._tasks[tenant_id] = asyncio.create_task(listener.run(), name=f"listener {tenant_id}")

    def dismiss(self) -> None:
        """Let everybody go who is here now; what they heard still counts."""
        self._heard_by_leavers, self._complaints_of_leavers = self.messages, self.violations
        for task in self._tasks.values():
            task.cancel()
        self._leaving += self._tasks.values()
        self._tasks, self.listeners = {}, {}

    async def leave(self) -> None:
        """Close all streams, and wait until they are closed."""
        self.dismiss()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    @property
    def messages(self) -> int:
        """How many messages all tenants have seen."""
        return self._heard_by_leavers + sum(listener.last for listener in self.listeners.values())

    @property
    def violations(self) -> list[str]:
        """Everything that was not once and in order."""
        present = [violation for listener in self.listeners.values() for violation in listener.violations]
        return self._complaints_of_leavers + present

    def statuses(self) -> Counter[str]:
        """How many tenants were last told that their subscription has which status."""
        return Counter(listener.status for listener in self.listeners.values() if listener.status is not None)
