"""The live feed of operators: one loop per process looks at the store, as long as anyone listens."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

import structlog

from billing_app.http.operator.answers import event_answer, seconds
from billing_app.http.operator.health import CountsAnswer, dead_groups
from billing_app.http.operator.replay_answers import replay_answer
from billing_app.http.stream.frames import Frame, data_frame
from billing_core.converters import dumps
from billing_core.errors import StoreUnavailableError
from billing_core.inbox.replay import ACTION
from billing_core.inbox.selection import EventFilter
from billing_core.oversight.changes import EventChanges
from billing_core.oversight.inspection import StoredEvent
from billing_core.oversight.ports import AuditLog, EventLog, InboxBacklog
from billing_core.state.ports import Clock
from billing_core.stream.ports import Outbox

log = structlog.get_logger()

MOST_LISTENERS: Final = 50
_WATCHED: Final = 200
"""The newest events, whose changes are sent."""
_SENT_AT_ONCE: Final = 100
_WAITING: Final = 300
"""Frames that wait for a listener; one that reads no faster is cut off."""
_EVERY: Final = timedelta(seconds=1)
_COUNTS_AGAIN: Final = timedelta(seconds=15)
"""Unchanged counts are sent again after this time, so that a page knows how old they are."""


class FeedFullError(Exception):
    """This process has as many listeners as it may."""


class Listener:
    """One client of the feed."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[Frame | None] = asyncio.Queue(_WAITING)
        """Frames to send; None ends the stream."""
        self.stalled = False

    def put(self, frame: Frame | None) -> None:
        """Hand a frame over. A listener whose queue is full is ended instead."""
        try:
            self.frames.put_nowait(frame)
        except asyncio.QueueFull:
            self.stalled = True
            while not self.frames.empty():
                self.frames.get_nowait()
            self.frames.put_nowait(None)


class OperatorFeed:
    """The listeners of this process and the loop that serves them."""

    def __init__(
        self,
        *,
        events: EventLog,
        audits: AuditLog,
        backlog: InboxBacklog,
        outbox: Outbox,
        clock: Clock,
        every: timedelta = _EVERY,
    ) -> None:
        self._events = events
        self._audits = audits
        self._backlog = backlog
        self._outbox = outbox
        self._clock = clock
        self._pause = every.total_seconds()
        self._listeners: set[Listener] = set()
        self._occupied = asyncio.Event()
        self._counts = ""
        self._counts_sent_at: datetime | None = None
        self._replay = ""

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        """Register a listener for the length of the block. Raises FeedFullError."""
        if len(self._listeners) >= MOST_LISTENERS:
            raise FeedFullError
        listener = Listener()
        self._listeners.add(listener)
        self._counts_sent_at = None  # the next look sends it the counts
        self._occupied.set()
        try:
            yield listener
        finally:
            self._listeners.remove(listener)
            if not self._listeners:
                self._occupied.clear()

    def close(self) -> None:
        """End all streams."""
        for listener in self._listeners:
            listener.put(None)

    async def run(self) -> None:
        """Look at the store while there are listeners, until canceled."""
        missed = False
        while True:
            await self._occupied.wait()
            try:
                changes = EventChanges(await self._newest())
                if missed:
                    self._send("overflow", "{}")
                    missed = False
                while self._occupied.is_set():
                    await self._look(changes)
                    await asyncio.sleep(self._pause)
            except StoreUnavailableError as error:
                if not missed:
                    log.warning("operator_feed.store_unavailable", error=str(error))
                missed = True
                self._send("unavailable", "{}")
                await asyncio.sleep(self._pause)

    async def _look(self, changes: EventChanges) -> None:
        changed = changes.since_last_look(await self._newest())
        for event in changed[-_SENT_AT_ONCE:]:
            self._send("event", dumps(event_answer(event)))
        if len(changed) > _SENT_AT_ONCE:
            self._send("overflow", "{}")
        await self._look_at_counts()
        await self._look_at_replay()

    async def _newest(self) -> Sequence[StoredEvent]:
        return await self._events.find(EventFilter(), before=None, limit=_WATCHED)

    async def _look_at_counts(self) -> None:
        backlog, now = await self._backlog.backlog(), self._clock.now()
        counts = CountsAnswer(
            as_of=now,
            due=backlog.due,
            parked=backlog.parked,
            dead=dead_groups(backlog),
            oldest_due_seconds=seconds(backlog.oldest_due),
            oldest_unpublished_seconds=seconds(await self._outbox.oldest()),
        )
        known = f"{backlog.due} {backlog.parked} {sorted(backlog.dead.items())}"
        old = self._counts_sent_at is None or now - self._counts_sent_at >= _COUNTS_AGAIN
        if old or known != self._counts:
            self._counts, self._counts_sent_at = known, now
            self._send("counts", dumps(counts))

    async def _look_at_replay(self) -> None:
        found = await self._audits.latest(limit=1, action=ACTION)
        replay = dumps(replay_answer(found[0], self._clock.now())) if found else ""
        if replay != self._replay:
            self._replay = replay
            self._send("replay", replay)

    def _send(self, name: str, data: str) -> None:
        frame = data_frame(name, data)
        for listener in self._listeners:
            listener.put(frame)
