"""The process that starts the others of a group, restarts those that end, and ends all of them together.

It holds local servers for them, and does nothing else, so that nothing but its own death ends it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from typing import Final

import attrs
import structlog

from billing_app.container.local_servers import resolve_servers
from billing_app.lifeline import READY
from billing_app.processes import tasks
from billing_app.processes.assignment import Assignment, Run
from billing_app.processes.ports import check_metrics_ports, own_metrics_port, shared_port
from billing_app.settings import ServerSettings, Settings, SettingsFault
from billing_app.shutdown import UNWINDING
from billing_core.errors import ConfigurationError

log = structlog.get_logger()

_FIRST_PAUSE: Final = timedelta(seconds=0.5)
_LONGEST_PAUSE: Final = timedelta(seconds=30)
_STEADY: Final = timedelta(minutes=1)
"""A process that ran for longer is restarted after the first pause again."""
_OVERDUE: Final = UNWINDING + timedelta(seconds=1)
"""A process is killed if it runs for this much longer than its shutdown may take."""


async def supervise_servers(settings: Settings, faults: Sequence[SettingsFault]) -> int:
    """Run servers that share one port until SIGTERM, and return the worst of their exit statuses.

    Args:
        settings: the configuration, with the number of processes.
        faults: the faults of the settings.

    Raises: ConfigurationError if the port is taken, or there are not enough for metrics.
    """
    return await _supervise("serve", settings, faults, tasks.serve, shared_port)


async def supervise_workers(settings: Settings, faults: Sequence[SettingsFault], *, concurrency: int) -> int:
    """Run workers until SIGTERM, and return the worst of their exit statuses; see `supervise_servers`."""
    return await _supervise("worker", settings, faults, partial(tasks.work, concurrency=concurrency), nullcontext)


async def _supervise(
    kind: str,
    settings: Settings,
    faults: Sequence[SettingsFault],
    run: Run,
    hold_port: Callable[[ServerSettings], AbstractContextManager[ServerSettings]],
) -> int:
    if sys.platform == "win32":
        raise ConfigurationError("--processes needs Linux or macOS: start each process by itself")
    status, account_id = await _check(kind, settings, faults)
    if status:
        return status
    check_metrics_ports(settings.server, settings.processes)
    if settings.database.url is None:
        log.info("start.step", doing=f"starts or joins the local servers in {settings.embedded.data_dir}")
    with hold_port(settings.server) as server:
        async with resolve_servers(settings):
            group = Supervisor(
                [
                    Assignment(
                        name=f"{kind}-{index + 1}",
                        settings=attrs.evolve(settings, server=own_metrics_port(server, index)),
                        run=run,
                        account_id=account_id,
                    )
                    for index in range(settings.processes)
                ],
                patience=server.shutdown_timeout + _OVERDUE,
            )
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, group.stop)
            return await group.run()


async def _check(kind: str, settings: Settings, faults: Sequence[SettingsFault]) -> tuple[int, str | None]:
    """Check the configuration in a process of its own; return its exit status, and the account of the API key if known.

    The process ends with this one: its checks may wait for servers that do not answer.
    """
    task = partial(tasks.check_for_supervisor, faults=faults)
    check = await _start(Assignment(name=f"{kind}-check", settings=settings, run=task, account_id=None))
    terminated = asyncio.Event()

    def terminate() -> None:
        terminated.set()
        _kill(check)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        reported, _ = await check.communicate()
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        _kill(check)
    status = -signal.SIGTERM if terminated.is_set() else check.returncode or 0
    return _exit_status(status), reported.decode().strip() or None


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill a process if it runs."""
    if process.returncode is None:
        process.kill()


async def _start(assignment: Assignment) -> asyncio.subprocess.Process:
    """Start a process and send it its assignment."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "billing_app.processes.child", assignment.name),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # a terminal signals all processes of its session, and each must get one signal
    )
    assert process.stdin is not None
    process.stdin.write(assignment.encode())
    return process


def _exit_status(returncode: int) -> int:
    """Return an exit status as a shell does: 128 and more for signals."""
    return 128 - returncode if returncode < 0 else returncode


class Supervisor:
    """Keeps a process for each assignment running until it is stopped."""

    def __init__(self, assignments: Sequence[Assignment], *, patience: timedelta) -> None:
        """Create a supervisor.

        Args:
            assignments: the work of each process.
            patience: how long a process may take to end before it is killed.
        """
        self._stop = asyncio.Event()
        self._members = [_Member(each, patience, self._stop) for each in assignments]

    @property
    def pids(self) -> Sequence[int | None]:
        """The ids of the processes in the order of their assignments; None for one that was never started."""
        return [member.pid for member in self._members]

    async def run(self) -> int:
        """Run all processes until the stop, and return the worst of their exit statuses.

        One that ends is started again. If one ends before it has served for the first time, all of them end: what
        speaks against one speaks against the others.
        """
        first, *others = self._members
        async with asyncio.TaskGroup() as tasks:
            kept = [tasks.create_task(first.keep())]
            # The others follow it, so that what a start changes is changed once, and a fault is reported once.
            await first.settled.wait()
            kept += [tasks.create_task(other.keep()) for other in others]
            for other in others:
                await other.settled.wait()
            if not self._stop.is_set():
                log.info("processes.started", pids=self.pids)
        return max(each.result() for each in kept)

    def stop(self) -> None:
        """End all processes within their time to shut down; a second call kills them."""
        if self._stop.is_set():
            for member in self._members:
                member.kill()
        self._stop.set()


class _Member:
    """A process of the group, over all of its restarts."""

    def __init__(self, assignment: Assignment, patience: timedelta, stop: asyncio.Event) -> None:
        self._assignment = assignment
        self._patience = patience.total_seconds()
        self._stop = stop
        self._process: asyncio.subprocess.Process | None = None
        self._serves = False
        self.settled = asyncio.Event()
        """Set once the process serves for the first time, or will not."""

    @property
    def pid(self) -> int | None:
        """The id of the process that runs or ran last."""
        return None if self._process is None else self._process.pid

    def kill(self) -> None:
        """Kill the process if it runs."""
        if self._process is not None:
            _kill(self._process)

    async def keep(self) -> int:
        """Run the process, again each time that it ends, until the stop. Return its last exit status."""
        pause = _FIRST_PAUSE
        try:
            while not self._stop.is_set():
                began = time.monotonic()
                status = await self._run_once()
                if self._stop.is_set():
                    return status
                if not self.settled.is_set():
                    log.error("process.not_started", name=self._assignment.name, status=status)
                    self._stop.set()
                    return status or 1
                if time.monotonic() - began > _STEADY.total_seconds():
                    pause = _FIRST_PAUSE
                seconds = pause.total_seconds()
                log.error(
                    "process.ended",
                    name=self._assignment.name,
                    pid=self.pid,
                    status=status,
                    restart_in_seconds=seconds,
                )
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), seconds)
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            self.kill()
            self.settled.set()
        return 0

    async def _run_once(self) -> int:
        """Run the process until it ends, by itself or by the stop; return its exit status, 128 and more for signals."""
        self._serves = False
        try:
            self._process = process = await _start(self._assignment)
        except OSError:  # there may be memory for it, or fewer processes, at the next attempt
            log.exception("process.not_created", name=self._assignment.name)
            return os.EX_OSERR
        assert process.stdout is not None
        reports = asyncio.create_task(self._read_reports(process.stdout))
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait([ended, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        status = ended.result() if ended.done() else await self._end(process, ended)
        reports.cancel()
        return _exit_status(status)

    async def _end(self, process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> int:
        """End the process within its time and return its exit status, 0 if it did not serve yet: it had no work."""
        assert process.stdin is not None
        process.stdin.close()
        if not self._serves:
            process.terminate()
            await self._wait_or_kill(process, ended)
            return 0
        await self._wait_or_kill(process, ended)
        return ended.result()

    async def _wait_or_kill(self, process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
        await asyncio.wait([ended], timeout=self._patience)
        if not ended.done():
            log.error("process.killed", name=self._assignment.name, pid=process.pid)
            process.kill()
            await ended

    async def _read_reports(self, reports: asyncio.StreamReader) -> None:
        """Note that the process serves. Everything else on its standard output is ignored, however long a line is."""
        while not reports.at_eof():
            line = b""
            with suppress(ValueError):
                line = await reports.readline()
            if line == f"{READY}\n".encode():
                self._serves = True
                self.settled.set()
