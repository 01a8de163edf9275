"""Process batches of claimed events: translate, apply, halve, retry, end as dead.

Webhooks, retries, replays and reconciliation all come through here.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Final

import attrs

from billing_core.cooperate import cooperate
from billing_core.errors import BillingError, StoreUnavailableError, TenantConflictError, dead_reason, text_of
from billing_core.events import BillingEvent, Claim, Disposition, Outcome, Translation
from billing_core.inbox.policy import DispatchPolicy, Scope
from billing_core.inbox.ports import EventQueue
from billing_core.inbox.thin_events import ThinEventResolver
from billing_core.model import Uncertainty
from billing_core.state.ports import EventTranslator
from billing_core.state.results import DryRun
from billing_core.state.service import BillingService
from billing_core.tracing import NOT_TRACED, Tracer


@attrs.frozen(kw_only=True)
class Retry:
    """A failed attempt at an event that is tried again."""

    claim: Claim
    reason: str
    error: str
    after: timedelta
    """The wait until the next attempt."""


@attrs.frozen(kw_only=True)
class ProcessingReport:
    """The result of one batch; passed to observers after the commit."""

    outcomes: Sequence[Outcome]
    events: Sequence[BillingEvent]
    retries: Sequence[Retry] = ()
    """The failed attempts at events that are tried again."""
    lost: int
    """Claims whose lease ran out before they were done."""
    seconds: float
    unreadable: Sequence[str] = ()
    """Places in the provider's schema that could not be read, once for each event that lacked them."""

    @property
    def retried(self) -> int:
        """The number of events that are tried again."""
        return len(self.retries)

    @property
    def failed(self) -> Sequence[Claim]:
        """The failed attempts: of events that are tried again, and of those that died of it."""
        dead = [outcome.claim for outcome in self.outcomes if outcome.disposition is Disposition.DEAD]
        return [*(retry.claim for retry in self.retries), *dead]


@attrs.frozen(kw_only=True)
class BatchResult:
    """The result of processing some claims."""

    outcomes: Sequence[Outcome] = ()
    events: Sequence[BillingEvent] = ()
    retries: Sequence[Retry] = ()
    released: bool = False
    """Events that waited for what was saved are due."""
    uncertainties: Sequence[Uncertainty] = ()
    thin: Sequence[Claim] = ()
    """Events that the provider has to be asked about first; still claimed."""
    unreadable: Sequence[str] = ()

    def plus(self, other: "BatchResult") -> "BatchResult":
        """Combine the results of two groups."""
        return BatchResult(
            outcomes=[*self.outcomes, *other.outcomes],
            events=[*self.events, *other.events],
            retries=[*self.retries, *other.retries],
            released=self.released or other.released,
            uncertainties=[*self.uncertainties, *other.uncertainties],
            thin=[*self.thin, *other.thin],
            unreadable=[*self.unreadable, *other.unreadable],
        )


NOT_READ: Final[Mapping[int, Translation]] = MappingProxyType({})
"""No event of a batch has been translated yet."""
UNKNOWN: Final = Translation()
"""Nothing is known of an event: it could not be translated."""


class BatchProcessor:
    """Applies claimed events. Failed ones get another attempt or end as dead; no event makes it raise."""

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
        tracer: Tracer = NOT_TRACED,
    ) -> None:
        """Compose a processor.

        Args:
            queue: the claims on events.
            translator: reads events.
            service: applies them.
            scope: the mode and account to act on.
            policy: limits on batches, attempts and waits.
            publish: takes new messages after their commit.
            observe: takes a report of each batch.
            resolver: looks up thin events; without one they are parked.
            refetch: takes uncertain objects after the commit; without one their marks stay until a newer event.
            tracer: opens a span around each attempt at a batch.
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
        self._tracer = tracer
        self._lookups = asyncio.Semaphore(policy.lookups)
        self._stopping = False

    def stop(self) -> None:
        """Stop waiting for an unavailable store, and look nothing more up."""
        self._stopping = True

    def read_ahead(self, claim: Claim) -> tuple[Claim, Translation | None]:
        """Translate an event at intake: return its claim without the body; or with it, if it cannot be read yet."""
        try:
            translation = self._translate(claim)
        except Exception:
            return claim, None  # it fails again when it is processed, where errors are handled
        if self._needs_lookup(translation):
            return claim, None
        return claim.without_body(), translation

    async def process(self, claims: Sequence[Claim], read: Mapping[int, Translation] = NOT_READ) -> Sequence[Outcome]:
        """Apply claimed events, thin ones too; see `apply`."""
        result = await self.apply(claims, read)
        looked_up = await asyncio.gather(*map(self.look_up, result.thin))
        return [outcome for each in (result, *looked_up) for outcome in each.outcomes]

    async def apply(self, claims: Sequence[Claim], read: Mapping[int, Translation] = NOT_READ) -> BatchResult:
        """Apply all claims but thin events; those are left for `look_up`.

        While the store is unavailable the batch is tried again until its lease has run out: giving up loses nothing,
        a worker claims the events then.

        Args:
            claims: the events; those that are not in `read` with their bodies.
            read: the translations that are known already, by dispatch id.
        """
        with self._tracer.processing(claims):
            return await self._apply(claims, read)

    async def _apply(self, claims: Sequence[Claim], read: Mapping[int, Translation]) -> BatchResult:
        started = time.monotonic()
        result = BatchResult()
        groups = [claims] if claims else []
        while groups:
            try:
                done = await self._apply_together(groups[-1], read)
            except StoreUnavailableError:
                if self._stopping or time.monotonic() - started > self._policy.lease.total_seconds():
                    break
                await asyncio.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - spreads load
                continue
            group = groups.pop()
            if done is None:
                middle = len(group) // 2
                groups += [group[middle:], group[:middle]]
            else:
                result = result.plus(done)
        self._conclude(result, processed=len(claims) - len(result.thin), started=started)
        return result

    async def look_up(self, claim: Claim) -> BatchResult:
        """Ask the provider about a thin event, then apply it by itself."""
        if self._resolver is None or not await self._may_look_up():
            await self.release([claim])
            return BatchResult()
        started = time.monotonic()
        try:
            translation = await self._resolver.resolve(claim.event)
        except Exception as error:
            # If the store is unavailable, its lease runs out, and it is claimed again.
            with contextlib.suppress(StoreUnavailableError), self._tracer.processing([claim]):
                result = await self._fail(claim, error)
                self._conclude(result, processed=1, started=started)
                return result
            return BatchResult()
        finally:
            self._lookups.release()
        return await self.apply([claim], {claim.dispatch_id: translation})

    async def dry_run(self, claims: Sequence[Claim]) -> DryRun:
        """Find out what processing stored events would do; nothing is changed, but the provider may be asked.

        The claims need not be held. Raises: the error of the first event that fails.
        """
        read = [(claim, self._translate(claim)) async for claim in cooperate(claims)]
        if self._resolver is not None:
            read = [
                (claim, await self._resolver.resolve(claim.event) if translation.thin else translation)
                for claim, translation in read
            ]
        return await self._service.dry_run(read)

    async def release(self, claims: Collection[Claim]) -> None:
        """Return claims uncounted; should the store be unavailable, their leases run out."""
        with contextlib.suppress(StoreUnavailableError):
            await self._queue.release(claims)

    async def _may_look_up(self) -> bool:
        """Wait for a free lookup, but not for so long that the lease would run out before the answer arrives."""
        try:
            async with asyncio.timeout(self._policy.lease.total_seconds() / 4):
                await self._lookups.acquire()
        except TimeoutError:
            return False
        if self._stopping:
            self._lookups.release()
            return False
        return True

    def _conclude(self, result: BatchResult, *, processed: int, started: float) -> None:
        """Pass on what was committed, and report on the claims that were processed."""
        if result.events:
            self._publish(result.events)
        if result.uncertainties and self._refetch is not None:
            self._refetch(result.uncertainties)
        if processed == 0 and result.thin:
            return
        self._observe(
            ProcessingReport(
                outcomes=result.outcomes,
                events=result.events,
                retries=result.retries,
                lost=processed - len(result.outcomes) - len(result.retries),
                seconds=time.monotonic() - started,
                unreadable=result.unreadable,
            )
        )

    async def _apply_together(self, claims: Sequence[Claim], read: Mapping[int, Translation]) -> BatchResult | None:
        """Apply a group of events together. None if one of them failed: halved, it stands alone in the end."""
        translated: Sequence[tuple[Claim, Translation]] = ()
        try:
            if len(claims) == 1 and claims[0].tries > self._policy.max_attempts:
                return await self._bury(claims[0], "bug", "No attempt ever came back: it may kill its process.")
            translated = [
                (claim, read.get(claim.dispatch_id) or self._translate(claim)) async for claim in cooperate(claims)
            ]
            thin = [claim for claim, translation in translated if self._needs_lookup(translation)]
            readable = [one for one in translated if not self._needs_lookup(one[1])] if thin else translated
            if not readable:
                return BatchResult(thin=thin)
            applied = await self._service.apply(readable)
            return BatchResult(
                outcomes=applied.outcomes,
                events=applied.events,
                released=applied.released,
                uncertainties=applied.uncertainties,
                thin=thin,
                unreadable=[place for _, translation in readable for place in translation.missing],
            )
        except StoreUnavailableError:
            raise
        except Exception as error:
            if len(claims) > 1:
                return None
            return await self._fail(claims[0], error, translated[0][1] if translated else UNKNOWN)

    def _translate(self, claim: Claim) -> Translation:
        refused = self._scope.refuses(claim)
        return Translation(ignored=refused) if refused else self._translator.translate(claim.event)

    def _needs_lookup(self, translation: Translation) -> bool:
        return translation.thin and self._resolver is not None

    async def _fail(self, claim: Claim, error: Exception, translation: Translation = UNKNOWN) -> BatchResult:
        """Retry an event later, if that can help and attempts are left; else it is dead, with what is known of it."""
        end = self.end_of(claim, error)
        if end is not None:
            return await self._bury(claim, end.reason or "", end.error or "", translation)
        retry = Retry(
            claim=claim, reason=dead_reason(error), error=text_of(error), after=self._policy.backoff(claim.tries)
        )
        kept = await self._queue.retry(claim, after=retry.after, reason=retry.reason, error=retry.error)
        return BatchResult(retries=(retry,) if kept else ())

    def end_of(self, claim: Claim, error: Exception) -> Outcome | None:
        """Return the outcome of an event that failed with this error; None if it is tried again.

        An error that is not ours is a bug, and retried all the same: the next deployment may have fixed it. An event
        that was applied before stays applied, and needs no other attempt.
        """
        retryable = error.retryable if isinstance(error, BillingError) else True
        if retryable and claim.tries < self._policy.max_attempts and not claim.applied:
            return None
        dead = Outcome(claim=claim, disposition=Disposition.DEAD, reason=dead_reason(error), error=text_of(error))
        return dead.kept

    async def _bury(self, claim: Claim, reason: str, error: str, translation: Translation = UNKNOWN) -> BatchResult:
        customer_id = translation.customer_id
        dead = Outcome(claim=claim, disposition=Disposition.DEAD, reason=reason, error=error, customer_id=customer_id)
        if claim.applied:
            restored = await self._queue.restore(claim, reason=reason, error=error)
            return BatchResult(outcomes=(dead.kept,) if restored else ())
        # The objects that an event of a conflict names do not say whose it is.
        about = () if reason == TenantConflictError.code else translation.about
        kept = await self._queue.bury(claim, reason=reason, error=error, customer_id=customer_id, about=about)
        return BatchResult(outcomes=(dead,) if kept else ())
