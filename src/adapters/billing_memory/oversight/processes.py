"""The servers and workers that share one memory."""

from collections.abc import Sequence
from datetime import datetime

from billing_core.oversight.ports import SILENT_KEPT, Beat, RunningProcess, SeenProcess
from billing_core.state.ports import Clock


class MemoryProcessRegister:
    """A `ProcessRegister`. Memory has no schema that could be behind."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beats: dict[str, tuple[RunningProcess, datetime]] = {}

    async def beat(self, process: RunningProcess) -> Beat:
        """Note that a process is alive."""
        now = self._clock.now()
        self._beats[process.process_id] = process, now
        self._beats = {id_: seen for id_, seen in self._beats.items() if now - seen[1] < SILENT_KEPT}
        return Beat(at=now)

    async def leave(self, process_id: str) -> None:
        """Forget a process."""
        self._beats.pop(process_id, None)

    async def current(self) -> Sequence[SeenProcess]:
        """Return all processes, the longest running first."""
        now = self._clock.now()
        seen = [SeenProcess(process=process, silent_for=now - at) for process, at in self._beats.values()]
        return sorted(seen, key=lambda each: (each.process.started_at, each.process.process_id))
