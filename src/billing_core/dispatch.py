"""Dispatch: claimed events become state. Webhooks, retries, replays and reconciliation all come through `process`."""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta

import attrs

from billing_core.errors import BillingError, StoreUnavailableError
from billing_core.events import BillingEvent, Claim, Disposition, Outcome, Translation
from billing_core.ports import EventStore, EventTranslator
from billing_core.service import BillingService


@attrs.frozen(kw_only=True)
class DispatchPolicy:
    """How hard and how long we try."""

    batch: int = 256
    lease: timedelta = timedelta(seconds=60)
    max_attempts: int = 12
    backoff_base: timedelta = timedelta(seconds=30)
    backoff_cap: timedelta = timedelta(minutes=10)
    poll: timedelta = timedelta(seconds=1)
    handoff_limit: int = 2048
    """Events a process takes over right at intake; beyond it they are left for whoever has time."""

    def backoff(self, attempt: int) -> timedelta:
        """How long to wait after the given failed attempt: full jitter under a doubling, capped ceiling."""
        ceiling = min(self.backoff_cap, self.backoff_base * 2 ** min(attempt - 1, 30))
        return timedelta(seconds=random.uniform(0, ceiling.total_seconds()))  # noqa: S311 - spreads load

    def companions(self, attempt: int) -> int:
        """How many events may share a batch with one that is at its n-th attempt.

        An event that kills its process takes the whole batch down, and every one of them has an attempt less. So the
        oftener it came back, the fewer it is tried with; from the fifth time on it is alone.
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


class Dispatcher:
    """Processes events: those handed over at intake, and those the store says are due.

    `run` goes on until `stop`; what was handed over but not processed by then goes back to the store.
    """

    def __init__(
        self,
        *,
        store: EventStore,
        translator: EventTranslator,
        service: BillingService,
        scope: Scope,
        policy: DispatchPolicy,
        publish: Callable[[Sequence[BillingEvent]], None],
        observe: Callable[[ProcessingReport], None],
    ) -> None:
        self._store = store
        self._translator = translator
        self._service = service
        self._scope = scope
        self._policy = policy
        self._publish = publish
        self._observe = observe
        self._handed: deque[Claim] = deque()
        self._handed_over = asyncio.Event()
        self._due = asyncio.Event()
        self._stopping = asyncio.Event()

    # --- Handoff ------------------------------------------------------------------------------------------------

    def lease(self) -> timedelta | None:
        """See `billing_core.intake.Handoff`."""
        full = len(self._handed) >= self._policy.handoff_limit
        return None if full or self._stopping.is_set() else self._policy.lease

    def offer(self, claim: Claim) -> None:
        """See `billing_core.intake.Handoff`."""
        self._handed.append(claim)
        self._handed_over.set()

    # --- loops --------------------------------------------------------------------------------------------------

    async def run(self, *, concurrency: int = 1) -> None:
        """Process until stopped.

        Args:
            concurrency: how many batches of due events are worked on at a time, beside the handed-over ones.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_handed())
            for _ in range(concurrency):
                tasks.create_task(self._run_due())
        await self._give_back()

    def stop(self) -> None:
        """Ask `run` to end after the batches it is at."""
        self._stopping.set()
        self._handed_over.set()
        self._due.set()

    async def _run_handed(self) -> None:
        while not self._stopping.is_set():
            if not self._handed:
                self._handed_over.clear()
                await self._handed_over.wait()
                continue
            count = min(len(self._handed), self._policy.batch)
            await self.process([self._handed.popleft() for _ in range(count)])

    async def _run_due(self) -> None:
        while not self._stopping.is_set():
            self._due.clear()
            try:
                claims = await self._store.claim(limit=self._policy.batch, lease=self._policy.lease)
            except StoreUnavailableError:
                await self._pause()
                continue
            if claims:
                await self.process(await self._without_company(claims))
            else:
                await self._wait_for_due()

    async def _without_company(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """As many of the claims as may be tried together; the others go back uncounted.

        The one that has been due for longest is among them, whatever its attempt: fresh events that keep coming must
        not put off for ever the one that has to be tried alone.
        """
        together: list[Claim] = []
        apart: list[Claim] = []
        most = self._policy.batch
        for claim in claims:
            limit = min(most, self._policy.companions(claim.attempt))
            if len(together) < limit:
                together.append(claim)
                most = limit
            else:
                apart.append(claim)
        if apart:
            with contextlib.suppress(StoreUnavailableError):
                await self._store.release(apart)
        return together

    async def _pause(self) -> None:
        """Wait for a poll's time: a store that is away can neither be asked nor say when it is back."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), self._policy.poll.total_seconds())

    async def _wait_for_due(self) -> None:
        hints = [
            asyncio.create_task(self._store.wait(at_most=self._policy.poll)),
            asyncio.create_task(self._due.wait()),
        ]
        try:
            await asyncio.wait(hints, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for hint in hints:
                hint.cancel()
            await asyncio.gather(*hints, return_exceptions=True)

    async def _give_back(self) -> None:
        """Return what was handed over and not begun; should the store be gone too, the leases will run out."""
        with contextlib.suppress(StoreUnavailableError):
            await self._store.release(self._handed)
        self._handed.clear()

    # --- processing ---------------------------------------------------------------------------------------------

    async def process(self, claims: Sequence[Claim]) -> Sequence[Outcome]:
        """Apply claimed events, give failed ones their next attempt or bury them; never raises for an event.

        While the store is away the batch is tried again until its lease has run out: nothing is lost by giving up,
        somebody claims the events then.
        """
        started = time.monotonic()
        result = _Processed()
        groups = [claims] if claims else []
        while groups:
            try:
                done = await self._apply(groups[-1])
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
        if result.events:
            self._publish(result.events)
        if result.linked:
            self._due.set()
        self._observe(
            ProcessingReport(
                outcomes=result.outcomes,
                events=result.events,
                retried=result.retried,
                lost=len(claims) - len(result.outcomes) - result.retried,
                seconds=time.monotonic() - started,
            )
        )
        return result.outcomes

    async def _apply(self, claims: Sequence[Claim]) -> "_Processed | None":
        """Apply a group of events together. None if one of them failed: halved, it will stand alone in the end."""
        try:
            if len(claims) == 1 and claims[0].attempt > self._policy.max_attempts:
                return await self._bury(claims[0], "bug", "No attempt ever came back: it may kill its process.")
            applied = await self._service.apply([(claim, self._translate(claim)) for claim in claims])
            return _Processed(outcomes=applied.outcomes, events=applied.events, linked=bool(applied.linked))
        except StoreUnavailableError:
            raise
        except Exception as error:
            return await self._fail(claims[0], error) if len(claims) == 1 else None

    def _translate(self, claim: Claim) -> Translation:
        refused = self._scope.refuses(claim)
        return Translation(ignored=refused) if refused else self._translator.translate(claim.event)

    async def _fail(self, claim: Claim, error: Exception) -> "_Processed":
        """One event cannot be applied: later, if that can help and attempts are left; else it is dead.

        An error that is not ours is a bug, and tried again all the same: the next deployment may have fixed it.
        """
        code, retryable = (error.code, error.retryable) if isinstance(error, BillingError) else ("bug", True)
        text = f"{type(error).__name__}: {error}"
        if not retryable or claim.attempt >= self._policy.max_attempts:
            return await self._bury(claim, code, text)
        after = self._policy.backoff(claim.attempt)
        kept = await self._store.retry(claim, after=after, reason=code, error=text)
        return _Processed(retried=int(kept))

    async def _bury(self, claim: Claim, reason: str, error: str) -> "_Processed":
        kept = await self._store.bury(claim, reason=reason, error=error)
        dead = Outcome(claim=claim, disposition=Disposition.DEAD, reason=reason, error=error)
        return _Processed(outcomes=(dead,) if kept else ())


@attrs.frozen(kw_only=True)
class _Processed:
    """What became of some claims."""

    outcomes: Sequence[Outcome] = ()
    events: Sequence[BillingEvent] = ()
    retried: int = 0
    linked: bool = False

    def plus(self, other: "_Processed") -> "_Processed":
        return _Processed(
            outcomes=[*self.outcomes, *other.outcomes],
            events=[*self.events, *other.events],
            retried=self.retried + other.retried,
            linked=self.linked or other.linked,
        )
