"""Replays that run in this process after their request was answered, one at a time."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog

from billing_app.http.operations.problems import Problem
from billing_core.inbox.replay import Replayer, ReplayReport, ReplayRequest

log = structlog.get_logger()

_UNWINDING: Final = 5.0
"""Seconds that a replay has for the batch in progress when the process ends."""


class ReplayJobs:
    """The replay that this process runs. Its progress and its end are in the audit log, for every process to read."""

    def __init__(self, *, replayer: Replayer, quiet_replayer: Replayer) -> None:
        """Replay with `replayer`, or with the one that updates state without messages."""
        self._replayers = {True: replayer, False: quiet_replayer}
        self._running: asyncio.Task[None] | None = None

    def replayer(self, *, publishes: bool = True) -> Replayer:
        """Return the replayer that publishes messages, or the other one."""
        return self._replayers[publishes]

    async def start(self, request: ReplayRequest, numbers: Sequence[int]) -> int:
        """Begin a replay and return its entry in the audit log.

        Raises: Problem (409) while another one runs here; StoreUnavailableError if it could not begin.
        """
        if self._running is not None and not self._running.done():
            raise Problem(409, "replay_running", "A replay is running on this server. Wait for its end, or cancel it.")
        begun: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._running = asyncio.create_task(self._replay(request, numbers, begun), name="replay")
        return await asyncio.shield(begun)

    async def close(self) -> None:
        """End the replay after the batch in progress."""
        for replayer in self._replayers.values():
            replayer.stop()
        if self._running is None:
            return
        await asyncio.wait([self._running], timeout=_UNWINDING)
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running

    async def _replay(self, request: ReplayRequest, numbers: Sequence[int], begun: "asyncio.Future[int]") -> None:
        replayer = self._replayers[request.publishes]
        try:
            report = await replayer.replay(request, numbers, observe=_ignore, begun=begun.set_result)
            log.info("replay.ended", matched=report.matched, seen=report.seen, interrupted=report.interrupted)
        except Exception as error:
            if not begun.done():
                begun.set_exception(error)
                return
            log.exception("replay.failed", matched=len(numbers))


def _ignore(_report: ReplayReport) -> None:
    """The audit log has the progress."""
