"""Dispatch: the loops that turn claimed events into state, and the handoff from intake.

Most events show their object. A thin one takes a call to the provider: the loops look it up in a task of its own, so
that a slow provider delays no other event.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import timedelta

from billing_core.errors import StoreUnavailableError
from billing_core.events import Claim, Translation
from billing_core.inbox.batch import NOT_READ, BatchProcessor, BatchResult
from billing_core.inbox.policy import DispatchPolicy
from billing_core.inbox.ports import EventQueue
from billing_core.waiting import first_of, wait_at_most


class Dispatcher:
    """Processes events: those handed over at intake, and those that are due in the store.

    `run` continues until `stop`; handed-over events that are not processed by then return to the store.
    """

    def __init__(self, *, queue: EventQueue, batches: BatchProcessor, policy: DispatchPolicy) -> None:
        self._queue = queue
        self._batches = batches
        self._policy = policy
        self._handed: deque[tuple[Claim, Translation | None]] = deque()
        self._handed_over = asyncio.Event()
        self._due = asyncio.Event()
        self._stopping = asyncio.Event()
        self._running = False

    # --- Handoff ------------------------------------------------------------------------------------------------

    def lease(self) -> timedelta | None:
        """See `billing_core.inbox.intake.Handoff`. None as well while it does not run: nothing would be processed."""
        full = len(self._handed) >= self._policy.handoff_limit
        return None if full or not self._running or self._stopping.is_set() else self._policy.lease

    def offer(self, claim: Claim) -> None:
        """See `billing_core.inbox.intake.Handoff`.

        Translate at once: a translation takes a tenth of the memory of its body once that is parsed.
        """
        self._handed.append(self._batches.read_ahead(claim))
        self._handed_over.set()

    # --- loops --------------------------------------------------------------------------------------------------

    async def run(self, *, concurrency: int = 1) -> None:
        """Process until stopped.

        Args:
            concurrency: how many batches of due events are processed at a time, beside the handed-over ones.
        """
        self._running = True
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._run_handed(tasks))
                tasks.create_task(self._look_after_parked())
                for _ in range(concurrency):
                    tasks.create_task(self._run_due(tasks))
        finally:
            self._running = False
        await self._release_handed()

    def stop(self) -> None:
        """Ask `run` to end after the batches in progress."""
        self._batches.stop()
        self._stopping.set()
        self._handed_over.set()
        self._due.set()

    async def _run_handed(self, tasks: asyncio.TaskGroup) -> None:
        while not self._stopping.is_set():
            if not self._handed:
                self._handed_over.clear()
                await self._handed_over.wait()
                continue
            count = min(len(self._handed), self._policy.handoff_batch)
            handed = [self._handed.popleft() for _ in range(count)]
            read = {claim.dispatch_id: translation for claim, translation in handed if translation is not None}
            await self._process_beside(tasks, [claim for claim, _ in handed], read)

    async def _run_due(self, tasks: asyncio.TaskGroup) -> None:
        while not self._stopping.is_set():
            self._due.clear()
            try:
                claims = await self._queue.claim(limit=self._policy.batch, lease=self._policy.lease)
            except StoreUnavailableError:
                await self._pause()
                continue
            if claims:
                await self._process_beside(tasks, await self._limit_company(claims))
            else:
                await self._wait_for_due()

    async def _process_beside(
        self, tasks: asyncio.TaskGroup, claims: Sequence[Claim], read: Mapping[int, Translation] = NOT_READ
    ) -> None:
        """Apply what can be read; look up thin events beside the loop."""
        result = await self._batches.apply(claims, read)
        self._wake_for(result)
        for claim in result.thin:
            tasks.create_task(self._look_up(claim))

    async def _look_up(self, claim: Claim) -> None:
        self._wake_for(await self._batches.look_up(claim))

    def _wake_for(self, result: BatchResult) -> None:
        """Wake the loops if events that waited became due."""
        if result.released:
            self._due.set()

    async def _limit_company(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Return as many of the claims as may be tried together; release the others uncounted.

        The event that has been due longest is among them, whatever its attempt: a steady flow of new events must not
        postpone forever the one that has to be tried alone.
        """
        together: list[Claim] = []
        apart: list[Claim] = []
        most = self._policy.batch
        for claim in claims:
            limit = min(most, self._policy.companions(claim.tries))
            if len(together) < limit:
                together.append(claim)
                most = limit
            else:
                apart.append(claim)
        if apart:
            await self._batches.release(apart)
        return together

    async def _look_after_parked(self) -> None:
        """Find parked events whose object was saved meanwhile, then end those that have waited for too long."""
        while not self._stopping.is_set():
            with contextlib.suppress(StoreUnavailableError):
                if await self._queue.unpark():
                    self._due.set()
                await self._queue.lapse(after=self._policy.parked_for, limit=self._policy.batch)
            await wait_at_most(self._stopping, self._policy.waiting_poll)

    async def _pause(self) -> None:
        """Sleep one poll interval: an unavailable store cannot signal its return."""
        await wait_at_most(self._stopping, self._policy.poll)

    async def _wait_for_due(self) -> None:
        await first_of(self._queue.wait(at_most=self._policy.poll), self._due.wait())

    async def _release_handed(self) -> None:
        """Return the handed-over events that were not begun."""
        await self._batches.release([claim for claim, _ in self._handed])
        self._handed.clear()
