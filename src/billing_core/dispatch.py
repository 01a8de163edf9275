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
from billing_core.service import Applied, BillingService


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
        return ceiling * random.random()  # noqa: S311 - spreads load, guards nothing


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
                claims = ()
            if claims:
                await self.process(claims)
            else:
                await self._wait_for_due()

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
        retried = 0
        applied = Applied(outcomes=(), events=(), linked=())
        while True:
            try:
                applied, retried = await self._apply([(claim, self._translate(claim)) for claim in claims])
                break
            except StoreUnavailableError:
                if self._stopping.is_set() or time.monotonic() - started > self._policy.lease.total_seconds():
                    break
                await asyncio.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - spreads load, guards nothing
        if applied.events:
            self._publish(applied.events)
        if applied.linked:
            self._due.set()
        self._observe(
            ProcessingReport(
                outcomes=applied.outcomes,
                events=applied.events,
                retried=retried,
                lost=len(claims) - len(applied.outcomes) - retried,
                seconds=time.monotonic() - started,
            )
        )
        return applied.outcomes

    def _translate(self, claim: Claim) -> Translation:
        refused = self._scope.refuses(claim)
        return Translation(ignored=refused) if refused else self._translator.translate(claim.event)

    async def _apply(self, batch: Sequence[tuple[Claim, Translation]]) -> tuple[Applied, int]:
        """Apply a batch; one that fails is halved until the failing event stands alone."""
        try:
            return await self._service.apply(batch), 0
        except StoreUnavailableError:
            raise
        except Exception as error:
            if len(batch) == 1:
                return await self._fail(batch[0][0], error)
        middle = len(batch) // 2
        first, first_retried = await self._apply(batch[:middle])
        second, second_retried = await self._apply(batch[middle:])
        both = Applied(
            outcomes=[*first.outcomes, *second.outcomes],
            events=[*first.events, *second.events],
            linked=[*first.linked, *second.linked],
        )
        return both, first_retried + second_retried

    async def _fail(self, claim: Claim, error: Exception) -> tuple[Applied, int]:
        """One event cannot be applied: later, if that can help and attempts are left; else it is dead."""
        known = isinstance(error, BillingError)
        reason = error.code if isinstance(error, BillingError) else "bug"
        text = f"{type(error).__name__}: {error}"
        retryable = (error.retryable if isinstance(error, BillingError) else True) and (
            claim.attempt < self._policy.max_attempts
        )
        if retryable:
            kept = await self._store.retry(
                claim, after=self._policy.backoff(claim.attempt), reason="transient" if known else reason, error=text
            )
            return Applied(outcomes=(), events=(), linked=()), int(kept)
        kept = await self._store.bury(claim, reason=reason, error=text)
        dead = Outcome(claim=claim, disposition=Disposition.DEAD, reason=reason, error=text)
        return Applied(outcomes=[dead] if kept else [], events=(), linked=()), 0
