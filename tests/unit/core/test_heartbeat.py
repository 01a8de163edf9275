"""The heartbeat of a process: committed writes at an interval."""

from datetime import timedelta

import attrs
import pytest

from billing_core.errors import StoreUnavailableError
from billing_core.oversight.heartbeat import Heartbeat, HeartbeatReport, SchemaBehindError
from billing_core.oversight.ports import Beat, RunningProcess, SeenProcess
from billing_core.testing.builders import AT

EVERY = timedelta(seconds=5)
AHEAD = timedelta(seconds=3)
"""Our clock is ahead of the store's."""
PROCESS = RunningProcess(
    process_id="a", kind="serve", processes_events=True, host="web", pid=1, version="1", started_at=AT
)


@attrs.define
class Register:
    """A register that counts beats, and refuses them on demand."""

    beats: int = 0
    left: int = 0
    pending: int = 0
    refuses: bool = False

    async def beat(self, _process: RunningProcess) -> Beat:
        if self.refuses:
            raise StoreUnavailableError("beat: read-only")
        self.beats += 1
        return Beat(at=AT, pending=self.pending)

    async def leave(self, _process_id: str) -> None:
        self.left += 1

    async def current(self) -> list[SeenProcess]:
        return []


@attrs.define
class World:
    """A heartbeat on a clock that tests set."""

    register: Register = attrs.field(factory=Register)
    reports: list[HeartbeatReport] = attrs.field(factory=list)
    now: float = 0.0

    def heartbeat(self) -> Heartbeat:
        return Heartbeat(
            register=self.register,
            process=PROCESS,
            every=EVERY,
            observe=self.reports.append,
            now=lambda: AT + AHEAD,
            clock=lambda: self.now,
        )


async def test_a_check_trusts_a_recent_beat_and_writes_otherwise() -> None:
    """Twice the interval later, nothing is known any more: the check writes itself."""
    world = World()
    heartbeat = world.heartbeat()
    await heartbeat.check()
    await heartbeat.check()
    assert world.register.beats == 1
    assert world.reports == [HeartbeatReport(ahead=AHEAD)]
    world.now = 2 * EVERY.total_seconds() + 1
    await heartbeat.check()
    assert world.register.beats == 2


async def test_a_refused_write_is_reported_and_asked_again_at_once() -> None:
    """A store that takes writes again is found at the next check."""
    world = World()
    heartbeat = world.heartbeat()
    await heartbeat.check()
    world.register.refuses, world.now = True, 11.0
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            await heartbeat.check()
    assert [report.failure is None for report in world.reports] == [True, False, False]
    world.register.refuses = False
    await heartbeat.check()
    assert world.reports[-1].failure is None


async def test_missing_migrations_are_told_apart() -> None:
    """The store takes writes, and the schema is behind this code."""
    world = World(register=Register(pending=2))
    heartbeat = world.heartbeat()
    await heartbeat.check()
    with pytest.raises(SchemaBehindError, match="lacks 2 migrations: run `billing migrate`"):
        await heartbeat.check_schema()
    world.register.pending, world.now = 0, 11.0
    await heartbeat.check_schema()
