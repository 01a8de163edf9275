"""A supervisor and its processes, which do no more than a test needs of them."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.patience import PATIENCE

from billing_app.errors import StartRefusedError
from billing_app.lifeline import READY, Lifeline
from billing_app.processes.assignment import Assignment
from billing_app.processes.supervisor import Supervisor
from billing_app.runtime import termination
from billing_app.secret import Secret
from billing_app.settings import Settings, TokenSettings

pytestmark = pytest.mark.faults

SETTINGS = Settings(tokens=TokenSettings(secrets=(Secret("hunter22" * 5),)))
LONG = timedelta(seconds=PATIENCE)


async def serve(_settings: Settings, *, account_id: str | None, lifeline: Lifeline, status: int = 0) -> None:
    """Serve until the end is asked for."""
    stop = termination()
    lifeline.follow(stop)
    lifeline.report(READY)
    await stop.wait()
    sys.exit(status)


async def refuse(_settings: Settings, *, account_id: str | None, lifeline: Lifeline) -> None:
    """Refuse to start."""
    raise StartRefusedError("refusing to start: a test")


def note_first(noted: Path) -> bool:
    """Note that a process ran, and return whether it was the first."""
    first = not noted.exists()
    noted.touch()
    return first


def note_visible(folder: Path) -> None:
    """Note the parts of a process that others can see."""
    (folder / "visible").write_bytes(Path("/proc/self/cmdline").read_bytes() + Path("/proc/self/environ").read_bytes())


async def crash_once(_settings: Settings, *, account_id: str | None, lifeline: Lifeline, noted: Path) -> None:
    """Serve and crash for the first time, and go on from then on."""
    if note_first(noted):
        lifeline.report(READY)
        await asyncio.sleep(0.5)
        os._exit(3)
    await serve(_settings, account_id=account_id, lifeline=lifeline)


async def hang(_settings: Settings, *, account_id: str | None, lifeline: Lifeline) -> None:
    """Serve and never end."""
    lifeline.report(READY)
    time.sleep(PATIENCE)  # noqa: ASYNC251 - a loop that is blocked does not notice anything


async def note_settings(settings: Settings, *, account_id: str | None, lifeline: Lifeline, folder: Path) -> None:
    """Note what can be seen of a process, and serve."""
    note_visible(folder)
    (folder / "received").write_text(f"{account_id} {settings == SETTINGS}")
    await serve(settings, account_id=account_id, lifeline=lifeline)


async def print_long_lines(_settings: Settings, *, account_id: str | None, lifeline: Lifeline, noted: Path) -> None:
    """Print lines longer than a stream reads and a pipe holds, before it serves and afterwards."""
    print("x" * 200_000, flush=True)
    lifeline.report(READY)
    print("x" * 200_000, flush=True)
    note_first(noted)
    await serve(_settings, account_id=account_id, lifeline=lifeline)


def group_of(*runs: Any, patience: timedelta = LONG) -> Supervisor:
    assignments = [
        Assignment(name=f"test-{number}", settings=SETTINGS, run=run, account_id="acct_1")
        for number, run in enumerate(runs, start=1)
    ]
    return Supervisor(assignments, patience=patience)


@asynccontextmanager
async def running(group: Supervisor) -> AsyncIterator["asyncio.Task[int]"]:
    """Run a group, and kill what is left of it."""
    task = asyncio.create_task(group.run())
    try:
        async with asyncio.timeout(PATIENCE):
            yield task
    finally:
        group.stop()
        group.stop()
        await task


async def started(logs: list[Any]) -> None:
    await logged(logs, "processes.started")


async def logged(logs: list[Any], event: str) -> Any:
    while not (found := [entry for entry in logs if entry["event"] == event]):  # noqa: ASYNC110 - a list sets no event
        await asyncio.sleep(0.02)
    return found[0]


async def test_what_a_process_prints_does_not_stop_it(tmp_path: Path) -> None:
    """Its standard output is read to the end, however long a line is."""
    noted = tmp_path / "noted"
    with capture_logs() as logs:
        group = group_of(partial(print_long_lines, noted=noted))
        async with running(group) as task:
            await started(logs)
            while not noted.exists():  # noqa: ASYNC110 - a file sets no event
                await asyncio.sleep(0.02)
            group.stop()
            assert await task == 0


async def test_the_worst_exit_status_is_the_groups() -> None:
    """All processes end by the same stop, and each has its own result."""
    with capture_logs() as logs:
        group = group_of(partial(serve, status=4), serve)
        async with running(group) as task:
            await started(logs)
            group.stop()
            assert await task == 4


async def test_a_process_that_does_not_start_ends_the_group_with_its_status() -> None:
    """The first is alone until it serves, so that a fault of all is reported once."""
    with capture_logs() as logs:
        group = group_of(refuse, serve)
        async with running(group) as task:
            assert await task == 78
        assert group.pids[1] is None
        group = group_of(serve, refuse)
        async with running(group) as task:
            assert await task == 78
    failed = [entry for entry in logs if entry["event"] == "process.not_started"]
    assert [(entry["name"], entry["status"]) for entry in failed] == [("test-1", 78), ("test-2", 78)]


async def test_a_crashed_process_is_started_again(tmp_path: Path) -> None:
    """The others are left alone, and the crash does not count once its successor has ended well."""
    with capture_logs() as logs:
        group = group_of(serve, partial(crash_once, noted=tmp_path / "noted"))
        async with running(group) as task:
            ended = await logged(logs, "process.ended")
            assert (ended["name"], ended["status"], ended["restart_in_seconds"]) == ("test-2", 3, 0.5)
            steady, crashed = group.pids[0], ended["pid"]
            while group.pids[1] == crashed:  # noqa: ASYNC110 - a process id sets no event
                await asyncio.sleep(0.02)
            assert group.pids[0] == steady
            group.stop()
            assert await task == 0


async def test_a_process_that_the_system_does_not_make_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are left alone, as at a crash."""
    with capture_logs() as logs:
        group = group_of(serve, partial(crash_once, noted=tmp_path / "noted"))
        async with running(group) as task:
            await started(logs)
            with monkeypatch.context() as patch:
                patch.setattr(sys, "executable", str(tmp_path / "missing"))
                assert (await logged(logs, "process.not_created"))["name"] == "test-2"
            steady, crashed = group.pids
            while group.pids[1] == crashed:  # noqa: ASYNC110 - a process id sets no event
                await asyncio.sleep(0.02)
            assert group.pids[0] == steady
            group.stop()
            assert await task == 0


async def test_a_process_that_does_not_end_is_killed() -> None:
    """After its time to shut down."""
    with capture_logs() as logs:
        group = group_of(hang, patience=timedelta(seconds=0.1))
        async with running(group) as task:
            await started(logs)
            group.stop()
            assert await task == 128 + signal.SIGKILL
        assert [entry["name"] for entry in logs if entry["event"] == "process.killed"] == ["test-1"]


async def test_a_second_stop_kills_at_once() -> None:
    """As a second signal ends a process that stands alone."""
    with capture_logs() as logs:
        group = group_of(hang)
        async with running(group) as task:
            await started(logs)
            group.stop()
            group.stop()
            assert await task == 128 + signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_secrets_reach_a_process_through_its_pipe_alone(tmp_path: Path) -> None:
    """Arguments and environment of a process can be read by others."""
    with capture_logs() as logs:
        group = group_of(partial(note_settings, folder=tmp_path))
        async with running(group) as task:
            await started(logs)
            group.stop()
            assert await task == 0
    assert (tmp_path / "received").read_text() == "acct_1 True"
    visible = (tmp_path / "visible").read_bytes()
    assert b"test-1" in visible
    assert b"hunter22" not in visible
