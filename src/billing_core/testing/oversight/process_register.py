"""The contract of ProcessRegister."""

from datetime import timedelta

import attrs

from billing_core.oversight.ports import SILENT_KEPT, ProcessRegister, RunningProcess
from billing_core.testing.builders import AT
from billing_core.testing.suite import Suite
from billing_core.testing.timing import Elapse

SERVER = RunningProcess(
    process_id="a1", kind="serve", processes_events=True, host="web-1", pid=7, version="0.1.0", started_at=AT
)
WORKER = attrs.evolve(SERVER, process_id="b2", kind="worker", host="wörk", started_at=AT + timedelta(seconds=1))
SECOND = timedelta(seconds=1)


class ProcessRegisterContract(Suite):
    """Servers and workers, and when each was last heard of.

    A binding provides `process_register`, empty, and `elapse`.
    """

    async def test_processes_are_listed_the_longest_running_first(
        self, process_register: ProcessRegister, elapse: Elapse
    ) -> None:
        """Each as it described itself, with the time since its last beat, by the store's clock."""
        assert list(await process_register.current()) == []
        first = await process_register.beat(WORKER)
        assert (await process_register.beat(SERVER)).pending == first.pending == 0
        await elapse(SECOND)
        assert (await process_register.beat(SERVER)).at > first.at
        server, worker = await process_register.current()
        assert (server.process, worker.process) == (SERVER, WORKER)
        assert server.silent_for < SECOND <= worker.silent_for

    async def test_a_process_begins_to_process_events(self, process_register: ProcessRegister) -> None:
        """The list says of each process what its last beat said."""
        idle = attrs.evolve(SERVER, kind="application", processes_events=False)
        busy = attrs.evolve(idle, processes_events=True)
        for process in (idle, busy):
            await process_register.beat(process)
            assert [seen.process for seen in await process_register.current()] == [process]

    async def test_a_process_leaves(self, process_register: ProcessRegister) -> None:
        """It is off the list at once; one that is unknown changes nothing."""
        await process_register.beat(SERVER)
        await process_register.beat(WORKER)
        await process_register.leave(WORKER.process_id)
        await process_register.leave("unknown")
        assert [seen.process for seen in await process_register.current()] == [SERVER]

    async def test_a_process_that_died_is_forgotten(self, process_register: ProcessRegister, elapse: Elapse) -> None:
        """It stays on the list for a while, so that its silence can be seen; the next beat after that deletes it."""
        await process_register.beat(SERVER)
        await elapse(SILENT_KEPT)
        (silent,) = await process_register.current()
        assert silent.silent_for >= SILENT_KEPT
        await process_register.beat(WORKER)
        assert [seen.process for seen in await process_register.current()] == [WORKER]
