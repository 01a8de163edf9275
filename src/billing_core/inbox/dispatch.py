"""Dispatch: claimed events become state. Webhooks, retries, replays and reconciliation all come through `process`.

Most events say what they are about. One that only names its object takes a call to the provider: the loops hand it to a
task of its own, so that a slow provider delays no other event.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Final

import attrs

from billing_core.cooperate import cooperate
from billing_core.errors import BillingError, StoreUnavailableError, dead_reason
from billing_core.events import BillingEvent, Claim, Disposition, Outcome, Translation
from billing_core.inbox.ports import EventQueue
from billing_core.inbox.thin_events import ThinEventResolver
from billing_core.model import Uncertainty
from billing_core.state.ports import EventTranslator
from billing_core.state.service import BillingService, DryRun


@attrs.frozen(kw_only=True)
class DispatchPolicy:
    """How hard and how long we try."""

    batch: int = 1024
    """Events claimed at a time, with their bodies."""
    handoff_batch: int = 2048
    """Handed-over events processed at a time. As with commits at intake, what has queued up during the last batch makes
    the next one: few when there is little to do, and when there is much, many that share each statement and row."""
    lease: timedelta = timedelta(seconds=60)
    max_attempts: int = 12
    backoff_base: timedelta = timedelta(seconds=30)
    backoff_cap: timedelta = timedelta(minutes=10)
    poll: timedelta = timedelta(seconds=1)
    waiting_poll: timedelta = timedelta(seconds=10)
    """How often to look for parked events that need not wait any more; nearly all leave without being looked for."""
    lookups: int = 8
    """Events that the provider is asked about at a time."""
    handoff_limit: int = 8192
    """Events a process takes over right at intake, some kilobytes each; beyond it they are left for who has time."""

    def backoff(self, attempt: int) -> timedelta:
        """How long to wait after the given failed attempt: full jitter under a doubling, capped ceiling."""
        ceiling = min(self.backoff_cap, self.backoff_base * 2 ** min(attempt - 1, 30))
        return timedelta(seconds=random.uniform(0, ceiling.total_seconds()))  # noqa: S311 - spreads load

    def companions(self, attempt: int) -> int:
        """How many events may share a batch with one that is at its n-th attempt.

        An event that kills its process takes the whole batch down, and every one of them has an attempt less. So the
        oftener it came back, the fewer it is tried with; from the sixth time on it is alone.
        """
        return max(1, self.batch >> 2 * (attempt - 1))


@attrs.frozen(kw_only=True)
class Scope:
    """Whose events this deployment acts on; others are stored and ignored."""

    livemode: bool
    account: str = ""

    def refuses(self, claim: Claim) -> str | None:
        """The reason to ignore an event of another mode or account."""
        if claim.event.key.livemode != self.livemode:
            return "livemode"
        return "account" if claim.event.key.account not in ("", self.account) else None


@attrs.frozen(kw_only=True)
class ProcessingReport:
    """What processing one batch came to; handed to observers after the commit."""

    outcomes: Sequence[Outcome]
    events: Sequence[BillingEvent]
    retried: int
    lost: int
    """Claims whose lease ran out before they were done."""
    seconds: float
    unreadable: Sequence[str] = ()
    """Places in the provider's schema that could not be read, once for each event that lacked them."""


_NOTHING_FOUND: Final[Mapping[int, Translation]] = MappingProxyType({})


class Dispatcher:
    """Processes events: those handed over at intake, and those the store says are due.

    `run` goes on until `stop`; what was handed over but not processed by then goes back to the store.
    """

    def __init__(
        self,
        *,
        queue: EventQueue,
        translator: EventTranslator,
        service: BillingService,
        scope: Scope,
        policy: DispatchPolicy,
        publish: Callable[[Sequence[BillingEvent]], None],
        observe: Callable[[ProcessingReport], None],
        resolver: ThinEventResolver | None = None,
        refetch: Callable[[Sequence[Uncertainty]], None] | None = None,
    ) -> None:
        """Tie everything together.

        Args:
            queue: where events come from and go back to.
            translator: reads them.
            service: applies them.
            scope: which of them are ours.
            policy: how hard to try.
            publish: is handed new messages after their commit.
            observe: is told of every batch.
            resolver: asks what events are about that do not show it; without one they are parked.
            mend: is handed what may be wrong, after its commit; without one the marks stay until a newer event.
        """
        self._queue = queue
        self._translator = translator
        self._service = service
        self._scope = scope
        self._policy = policy
        self._publish = publish
        self._observe = observe
        self._resolver = resolver
        self._refetch = refetch
        self._lookups = asyncio.Semaphore(policy.lookups)
        self._handed: deque[tuple[Claim, Translation | None]] = deque()
        self._handed_over = asyncio.Event()
        self._due = asyncio.Event()
        self._stopping = asyncio.Event()

    # --- Handoff ------------------------------------------------------------------------------------------------

    def lease(self) -> timedelta | None:
        """See `billing_core.inbox.intake.Handoff`."""
        full = len(self._handed) >= self._policy.handoff_limit
        return None if full or self._stopping.is_set() else self._policy.lease

    def offer(self, claim: Claim) -> None:
        """See `billing_core.inbox.intake.Handoff`.

        Read at once, while the parsed body is at hand: what an event says takes a tenth of the memory of its body.
        """
        self._handed.append(self.read_ahead(claim))
        self._handed_over.set()

    def read_ahead(self, claim: Claim) -> tuple[Claim, Translation | None]:
        """What is kept of a claim until its turn: what its event says, without the body; or, unread, with it."""
        try:
            translation = self._translate(claim)
        except Exception:
            return claim, None  # its turn comes, and with it whoever deals with errors
        if self._has_to_ask(translation):
            return claim, None
        return claim.without_body(), translation

    # --- loops --------------------------------------------------------------------------------------------------

    async def run(self, *, concurrency: int = 1) -> None:
        """Process until stopped.

        Args:
            concurrency: how many batches of due events are worked on at a time, beside the handed-over ones.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_handed(tasks))
            tasks.create_task(self._watch_waiting())
            for _ in range(concurrency):
                tasks.create_task(self._run_due(tasks))
        await self._give_back()

    def stop(self) -> None:
        """Ask `run` to end after the batches it is at."""
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
            found = {claim.dispatch_id: read for claim, read in handed if read is not None}
            await self._process_beside(tasks, [claim for claim, _ in handed], found)

    async def _run_due(self, tasks: asyncio.TaskGroup) -> None:
        while not self._stopping.is_set():
            self._due.clear()
            try:
                claims = await self._queue.claim(limit=self._policy.batch, lease=self._policy.lease)
            except StoreUnavailableError:
                await self._pause()
                continue
            if claims:
                await self._process_beside(tasks, await self._without_company(claims))
            else:
                await self._wait_for_due()

    async def _process_beside(
        self, tasks: asyncio.TaskGroup, claims: Sequence[Claim], found: Mapping[int, Translation] = _NOTHING_FOUND
    ) -> None:
        """Process what can be read; what has to be asked for goes on beside the loop."""
        done = await self._work_off(claims, found)
        for claim in done.unread:
            tasks.create_task(self._look_up(claim))

    async def _without_company(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """As many of the claims as may be tried together; the others go back uncounted.

        The one that has been due for longest is among them, whatever its attempt: fresh events that keep coming must
        not put off for ever the one that has to be tried alone.
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
            await self._hand_back(apart)
        return together

    async def _watch_waiting(self) -> None:
        """Now and then look for events that were parked while what they wait for was being saved."""
        while not self._stopping.is_set():
            with contextlib.suppress(StoreUnavailableError):
                if await self._queue.unpark():
                    self._due.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._policy.waiting_poll.total_seconds())

    async def _pause(self) -> None:
        """Wait for a poll's time: a store that is away can neither be asked nor say when it is back."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), self._policy.poll.total_seconds())

    async def _wait_for_due(self) -> None:
        hints = [
            asyncio.create_task(self._queue.wait(at_most=self._policy.poll)),
            asyncio.create_task(self._due.wait()),
        ]
        try:
            await asyncio.wait(hints, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for hint in hints:
                hint.cancel()
            await asyncio.gather(*hints, return_exceptions=True)

    async def _give_back(self) -> None:
        """Return what was handed over and not begun."""
        await self._hand_back([claim for claim, _ in self._handed])
        self._handed.clear()

    async def _hand_back(self, claims: Collection[Claim]) -> None:
        """Return claims uncounted; should the store be gone, their leases will run out."""
        with contextlib.suppress(StoreUnavailableError):
            await self._queue.release(claims)

    # --- processing ---------------------------------------------------------------------------------------------

    async def process(
        self, claims: Sequence[Claim], found: Mapping[int, Translation] = _NOTHING_FOUND
    ) -> Sequence[Outcome]:
        """Apply claimed events, give failed ones their next attempt or bury them; never raises for an event.

        While the store is away the batch is tried again until its lease has run out: nothing is lost by giving up,
        somebody claims the events then.

        Args:
            claims: the events; those that are not in `found` with their bodies.
            found: what is known already of some of them, by their dispatch ids.
        """
        done = await self._work_off(claims, found)
        looked_up = await asyncio.gather(*map(self._look_up, done.unread))
        return [*done.outcomes, *(outcome for outcomes in looked_up for outcome in outcomes)]

    async def dry_run(self, claims: Sequence[Claim]) -> DryRun:
        """What processing stored events would do; nothing of it happens, but the provider may be asked.

        The claims need not be held. Raises: whatever an event of them fails by.
        """
        read = [(claim, self._translate(claim)) async for claim in cooperate(claims)]
        if self._resolver is not None:
            read = [
                (claim, await self._resolver.resolve(claim.event) if translation.thin else translation)
                for claim, translation in read
            ]
        return await self._service.dry_run(read)

    async def _look_up(self, claim: Claim) -> Sequence[Outcome]:
        """Ask the provider what an event is about, then apply it by itself."""
        if self._resolver is None or not await self._may_ask():
            await self._hand_back([claim])
            return ()
        started = time.monotonic()
        try:
            translation = await self._resolver.resolve(claim.event)
        except Exception as error:
            with contextlib.suppress(StoreUnavailableError):  # then its lease runs out, and somebody asks again
                result = await self._fail(claim, error)
                self._conclude(result, asked=1, started=started)
                return result.outcomes
            return ()
        finally:
            self._lookups.release()
        return (await self._work_off([claim], {claim.dispatch_id: translation})).outcomes

    async def _may_ask(self) -> bool:
        """Wait for a turn, but not for so long that the lease would run out before the answer is there."""
        try:
            async with asyncio.timeout(self._policy.lease.total_seconds() / 4):
                await self._lookups.acquire()
        except TimeoutError:
            return False
        if self._stopping.is_set():
            self._lookups.release()
            return False
        return True

    async def _work_off(
        self, claims: Sequence[Claim], found: Mapping[int, Translation] = _NOTHING_FOUND
    ) -> "_Processed":
        """Apply what can be read; `found` says what is known of some already, by their dispatch ids."""
        started = time.monotonic()
        result = _Processed()
        groups = [claims] if claims else []
        while groups:
            try:
                done = await self._apply(groups[-1], found)
            except StoreUnavailableError:
                if self._stopping.is_set() or time.monotonic() - started > self._policy.lease.total_seconds():
                    break
                await asyncio.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - spreads load
                continue
            group = groups.pop()
            if done is None:
                middle = len(group) // 2
                groups += [group[middle:], group[:middle]]
            else:
                result = result.plus(done)
        self._conclude(result, asked=len(claims) - len(result.unread), started=started)
        return result

    def _conclude(self, result: "_Processed", *, asked: int, started: float) -> None:
        """Pass on what was committed, and report on as many claims as were `asked` for."""
        if result.events:
            self._publish(result.events)
        if result.uncertainties and self._refetch is not None:
            self._refetch(result.uncertainties)
        if result.linked:
            self._due.set()
        if asked == 0 and result.unread:
            return
        self._observe(
            ProcessingReport(
                outcomes=result.outcomes,
                events=result.events,
                retried=result.retried,
                lost=asked - len(result.outcomes) - result.retried,
                seconds=time.monotonic() - started,
                unreadable=result.unreadable,
            )
        )

    async def _apply(self, claims: Sequence[Claim], found: Mapping[int, Translation]) -> "_Processed | None":
        """Apply a group of events together. None if one of them failed: halved, it will stand alone in the end."""
        try:
            if len(claims) == 1 and claims[0].tries > self._policy.max_attempts:
                return await self._bury(claims[0], "bug", "No attempt ever came back: it may kill its process.")
            read = [
                (claim, found.get(claim.dispatch_id) or self._translate(claim)) async for claim in cooperate(claims)
            ]
            unread = [claim for claim, translation in read if self._has_to_ask(translation)]
            readable = [one for one in read if not self._has_to_ask(one[1])]
            if not readable:
                return _Processed(unread=unread)
            applied = await self._service.apply(readable)
            return _Processed(
                outcomes=applied.outcomes,
                events=applied.events,
                linked=bool(applied.linked),
                uncertainties=applied.uncertainties,
                unread=unread,
                unreadable=[place for _, translation in readable for place in translation.missing],
            )
        except StoreUnavailableError:
            raise
        except Exception as error:
            return await self._fail(claims[0], error) if len(claims) == 1 else None

    def _translate(self, claim: Claim) -> Translation:
        refused = self._scope.refuses(claim)
        return Translation(ignored=refused) if refused else self._translator.translate(claim.event)

    def _has_to_ask(self, translation: Translation) -> bool:
        return self._resolver is not None and translation.thin

    async def _fail(self, claim: Claim, error: Exception) -> "_Processed":
        """One event cannot be applied: later, if that can help and attempts are left; else it is dead.

        An error that is not ours is a bug, and tried again all the same: the next deployment may have fixed it.
        """
        retryable = error.retryable if isinstance(error, BillingError) else True
        reason, text = dead_reason(error), f"{type(error).__name__}: {error}"
        if not retryable or claim.tries >= self._policy.max_attempts:
            return await self._bury(claim, reason, text)
        after = self._policy.backoff(claim.tries)
        kept = await self._queue.retry(claim, after=after, reason=reason, error=text)
        return _Processed(retried=int(kept))

    async def _bury(self, claim: Claim, reason: str, error: str) -> "_Processed":
        kept = await self._queue.bury(claim, reason=reason, error=error)
        dead = Outcome(claim=claim, disposition=Disposition.DEAD, reason=reason, error=error)
        return _Processed(outcomes=(dead,) if kept else ())


@attrs.frozen(kw_only=True)
class _Processed:
    """What became of some claims."""

    outcomes: Sequence[Outcome] = ()
    events: Sequence[BillingEvent] = ()
    retried: int = 0
    linked: bool = False
    uncertainties: Sequence[Uncertainty] = ()
    unread: Sequence[Claim] = ()
    """What the provider has to be asked about first; still claimed."""
    unreadable: Sequence[str] = ()

    def plus(self, other: "_Processed") -> "_Processed":
        return _Processed(
            outcomes=[*self.outcomes, *other.outcomes],
            events=[*self.events, *other.events],
            retried=self.retried + other.retried,
            linked=self.linked or other.linked,
            uncertainties=[*self.uncertainties, *other.uncertainties],
            unread=[*self.unread, *other.unread],
            unreadable=[*self.unreadable, *other.unreadable],
        )
