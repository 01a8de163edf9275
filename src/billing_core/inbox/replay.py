"""Replay: process stored events again, from our own store and however old they are.

There is no second way to write state: replayed events go through the `BatchProcessor`, like all others. An event that
was applied before changes nothing, unless its rows differ from its content; see docs/adr/0011.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

import attrs

from billing_core.converters import to_plain
from billing_core.errors import StoreUnavailableError, dead_reason, text_of
from billing_core.events import Claim, Disposition, Effect, Outcome
from billing_core.inbox.batch import BatchProcessor
from billing_core.inbox.policy import DispatchPolicy
from billing_core.inbox.ports import AuditTrail, EventSelector, HeldPlan, ReplayQueue
from billing_core.inbox.selection import EventFilter
from billing_core.model import EventId
from billing_core.state.ports import TenantReader
from billing_core.state.results import DryRun
from billing_core.state.rules import RulesBook

ACTION = "replay"
"""The action in the audit log."""

DRY_RUN_LIMIT: Final = 1000
"""Maximum number of events in a dry run: it is one transaction that holds its locks until the rollback."""

_LOOKED_EVERY: Final = 1.0
"""Seconds of a pause after which a replay looks whether it is to end."""

_LAST_WRITE_SECONDS: Final = 1.0
"""Longest time that a cancelled replay takes to record its end."""


@attrs.frozen(kw_only=True)
class ReplayRequest:
    """A replay as an operator asked for it."""

    wanted: EventFilter
    actor: str
    reason: str | None = None
    rate: float | None = None
    """Events per second at most; None for no limit."""
    publishes: bool = True
    """Whether messages are published. Only for the audit log; the service decides."""

    def describe(self) -> Mapping[str, object]:
        """Return the request as JSON values."""
        return {**self.wanted.describe(), "publish": self.publishes}


@attrs.frozen(kw_only=True)
class ReplayReport:
    """The progress of a replay."""

    matched: int
    """Events that matched the filter when it began."""
    changed: int = 0
    confirmed: int = 0
    stale: int = 0
    ignored: int = 0
    parked: int = 0
    dead: int = 0
    dead_by_reason: Mapping[str, int] = attrs.field(factory=dict)
    not_confirmed: int = 0
    """Applied events whose replay failed or found something else: they stay applied, with their effect."""
    not_confirmed_by_reason: Mapping[str, int] = attrs.field(factory=dict)
    unfinished: int = 0
    """Failed and due again, or claimed elsewhere meanwhile: a worker finishes them."""
    busy: int = 0
    """Skipped, because they are being processed elsewhere."""
    pruned: int = 0
    """No longer replayable: their bodies are gone."""
    messages: int = 0
    interrupted: bool = False

    @property
    def seen(self) -> int:
        """Events that were handled, with whatever result."""
        applied = self.changed + self.confirmed + self.stale + self.not_confirmed
        return applied + self.ignored + self.parked + self.dead + self.left_over

    @property
    def left_over(self) -> int:
        """Events that were not finished here."""
        return self.unfinished + self.busy + self.pruned

    @property
    def failed(self) -> bool:
        """Whether some events need an operator."""
        return self.dead + self.not_confirmed + self.unfinished + self.pruned > 0 or self.interrupted

    def plus(self, outcomes: Sequence[Outcome], *, unfinished: int, busy: int, pruned: int) -> "ReplayReport":
        """Add the results of a batch."""

        unconfirmed = Counter(one.unconfirmed for one in outcomes if one.unconfirmed is not None)
        dead = Counter(one.reason or "" for one in outcomes if one.disposition is Disposition.DEAD)

        def ended(disposition: Disposition, effect: Effect | None = None) -> int:
            ends = (one for one in outcomes if one.disposition is disposition and one.unconfirmed is None)
            return sum(effect in (None, one.effect) for one in ends)

        return attrs.evolve(
            self,
            changed=self.changed + ended(Disposition.APPLIED, Effect.CHANGED),
            confirmed=self.confirmed + ended(Disposition.APPLIED, Effect.CONFIRMED),
            stale=self.stale + ended(Disposition.APPLIED, Effect.STALE),
            ignored=self.ignored + ended(Disposition.IGNORED),
            parked=self.parked + ended(Disposition.PARKED),
            dead=self.dead + dead.total(),
            dead_by_reason=dict(Counter(self.dead_by_reason) + dead),
            not_confirmed=self.not_confirmed + unconfirmed.total(),
            not_confirmed_by_reason=dict(Counter(self.not_confirmed_by_reason) + unconfirmed),
            unfinished=self.unfinished + unfinished,
            busy=self.busy + busy,
            pruned=self.pruned + pruned,
            messages=self.messages + sum(one.sequence is not None for one in outcomes),
        )


@attrs.frozen(kw_only=True)
class Failure:
    """An event that could not be applied in a dry run, and why."""

    event_id: EventId
    error: str
    reason: str
    """The reason it would be dead for, now or after its last attempt."""


@attrs.frozen(kw_only=True)
class DryRunReport:
    """The result that a replay would have. Nothing was changed."""

    report: ReplayReport
    trial: DryRun
    failures: Sequence[Failure] = ()


class Replayer:
    """Replays stored events in batches, beside workers and other replays.

    If the process dies, its claimed events are due once their leases run out, and its audit entry stays unfinished.
    """

    def __init__(
        self,
        *,
        events: EventSelector,
        queue: ReplayQueue,
        audits: AuditTrail,
        batches: BatchProcessor,
        reader: TenantReader,
        rules: RulesBook,
        policy: DispatchPolicy,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._events = events
        self._queue = queue
        self._audits = audits
        self._batches = batches
        self._reader = reader
        self._rules = rules
        self._policy = policy
        self._sleep = sleep
        self._stopping = False

    async def find(self, wanted: EventFilter, *, limit: int | None = None) -> Sequence[int]:
        """Return the dispatch ids of matching events, in the order in which they happened."""
        return await self._events.select(wanted, limit=limit)

    async def find_lost_plans(self, numbers: Sequence[int]) -> Sequence[HeldPlan]:
        """Return the stored plans that the rules in force lack: a replay of these events would take them away.

        Raises: StoreUnavailableError.
        """
        catalog = self._rules.current.catalog
        lacking = [held for held in await self._events.plans(numbers) if catalog.plan(held.plan_code) is None]
        return [held for held in lacking if await self._would_change(held)]

    async def _would_change(self, held: HeldPlan) -> bool:
        """Return whether a subscription to the plan would be read as another one: an open catalog lists no plan."""
        catalog = self._rules.current.catalog
        stored = [each.snapshot for each in await self._reader.subscriptions(held.tenant_id)]
        on_plan = [seen for seen in stored if seen.plan_code == held.plan_code and not seen.ended]
        return any(catalog.read_subscription(seen).plan_code != held.plan_code for seen in on_plan)

    def stop(self) -> None:
        """Ask `replay` to end after the batch in progress."""
        self._stopping = True

    async def replay(
        self,
        request: ReplayRequest,
        numbers: Sequence[int],
        *,
        observe: Callable[[ReplayReport], None],
        begun: Callable[[int], None] | None = None,
    ) -> ReplayReport:
        """Process these events again, in this order.

        Args:
            request: the request, for the audit log.
            numbers: the dispatch ids that `find` returned.
            observe: takes the progress after each batch.
            begun: takes the number of the audit entry, which has the progress, once there is one. It can be canceled
                there by any process; the replay ends before its next batch then.

        If it is cancelled, the batch in progress is rolled back and the entry ends as interrupted.

        Raises: StoreUnavailableError; the audit entry then stays unfinished.
        """
        audit_id = await self._audits.begin(
            ACTION, actor=request.actor, reason=request.reason, filter=request.describe()
        )
        if begun is not None:
            begun(audit_id)
        report = ReplayReport(matched=len(numbers))
        started = time.monotonic()
        try:
            for batch in self._split(numbers, request.rate):
                if request.rate is not None:
                    await self._pause(audit_id, report, started + report.seen / request.rate - time.monotonic())
                if await self._is_ended(audit_id, report):
                    report = attrs.evolve(report, interrupted=True)
                    break
                report = await self._replay_batch(batch, report)
                observe(report)
        except asyncio.CancelledError:
            with suppress(StoreUnavailableError, TimeoutError):
                async with asyncio.timeout(_LAST_WRITE_SECONDS):
                    await self._audits.finish(audit_id, to_plain(attrs.evolve(report, interrupted=True)))
            raise
        await self._audits.finish(audit_id, to_plain(report))
        return report

    async def _pause(self, audit_id: int, report: ReplayReport, seconds: float) -> None:
        """Sleep, a second at a time at most, unless the replay is to end: a low rate must not delay a cancellation."""
        parts = max(1, math.ceil(seconds / _LOOKED_EVERY))
        for part in range(parts):
            if part > 0 and await self._is_ended(audit_id, report):
                return
            await self._sleep(max(0.0, seconds / parts))

    async def _is_ended(self, audit_id: int, report: ReplayReport) -> bool:
        """Record the progress, and return whether the replay was canceled or its process stops."""
        return await self._audits.advance(audit_id, to_plain(report)) or self._stopping

    async def dry_run(self, numbers: Sequence[int]) -> DryRunReport:
        """Find out what replaying these events would do, in one unit of work that is rolled back.

        Leaves nothing behind: no lease, attempt, number, message or audit entry. Meanwhile it holds the locks that a
        replay takes batch by batch, so `numbers` should be few.
        Raises: StoreUnavailableError.
        """
        claims = await self._queue.read(numbers)
        failures: Sequence[tuple[Claim, Exception]] = ()
        try:
            trial = await self._batches.dry_run(claims)
        except StoreUnavailableError:
            raise
        except Exception:
            failures = await self._find_failures(claims)
            failed = {claim.dispatch_id for claim, _ in failures}
            trial = await self._batches.dry_run([each for each in claims if each.dispatch_id not in failed])
        ends = [self._batches.end_of(claim.renewed(), error) for claim, error in failures]
        report = ReplayReport(matched=len(numbers)).plus(
            [*trial.outcomes, *(end for end in ends if end is not None)],
            unfinished=ends.count(None),
            busy=len(claims) - len(failures) - len(trial.outcomes),
            pruned=len(numbers) - len(claims),
        )
        raised = [
            Failure(event_id=claim.event.event_id, error=text_of(error), reason=dead_reason(error))
            for claim, error in failures
        ]
        found = [
            Failure(event_id=one.claim.event.event_id, error=one.error or one.reason or "", reason=one.reason or "")
            for one in trial.outcomes
            if one.disposition is Disposition.DEAD or one.unconfirmed is not None
        ]
        return DryRunReport(report=report, trial=trial, failures=[*raised, *found])

    def _split(self, numbers: Sequence[int], rate: float | None) -> Iterator[Sequence[int]]:
        """Split into batches, none larger than what may be replayed in one second."""
        size = self._policy.batch if rate is None else max(1, min(self._policy.batch, math.floor(rate)))
        return (numbers[start : start + size] for start in range(0, len(numbers), size))

    async def _replay_batch(self, numbers: Sequence[int], report: ReplayReport) -> ReplayReport:
        claims = await self._queue.reclaim(numbers, lease=self._policy.lease)
        left_out = set(numbers) - {claim.dispatch_id for claim in claims}
        readable = {claim.dispatch_id for claim in await self._queue.read(sorted(left_out))} if left_out else set()
        outcomes = await self._batches.process(claims) if claims else ()
        return report.plus(
            outcomes,
            unfinished=len(claims) - len(outcomes),
            busy=len(readable),
            pruned=len(left_out - readable),
        )

    async def _find_failures(self, claims: Sequence[Claim]) -> Sequence[tuple[Claim, Exception]]:
        """Find the events that cannot be applied, each with its error: halved, they stand alone in the end."""
        if not claims:
            return ()
        try:
            await self._batches.dry_run(claims)
        except StoreUnavailableError:
            raise
        except Exception as error:
            if len(claims) == 1:
                return [(claims[0], error)]
            middle = len(claims) // 2
            return [*await self._find_failures(claims[:middle]), *await self._find_failures(claims[middle:])]
        return ()
