"""Refetch uncertain objects from the provider, outside any transaction and beside everything else."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

import attrs

from billing_core.errors import BillingError, StoreUnavailableError, text_of
from billing_core.events import BillingEvent, Translation
from billing_core.model import (
    CustomerId,
    CustomerSnapshot,
    EntitlementsSnapshot,
    InvoiceId,
    InvoiceSnapshot,
    SubscriptionId,
    SubscriptionSnapshot,
    Uncertainty,
    entitled_customer,
)
from billing_core.state.ports import PaymentGateway, UncertainObjects
from billing_core.state.results import RefetchOutcome, RefetchResult
from billing_core.state.service import BillingService
from billing_core.waiting import wait_at_most


@attrs.frozen(kw_only=True)
class RefetchPolicy:
    """Limits on fetches, and how often remaining marks are swept."""

    concurrency: int = 4
    sweep_every: timedelta = timedelta(minutes=1)
    sweep_limit: int = 100
    """Objects per sweep; the next one continues behind them, so that an object that stays uncertain delays no other."""
    waiting_limit: int = 2048
    """Uncertainties that wait in memory; those beyond it are left to the sweeps."""


@attrs.frozen(kw_only=True)
class RefetchReport:
    """The result of one attempt to settle an uncertainty; passed to observers after its end."""

    uncertainty: Uncertainty
    result: str
    """A `RefetchResult`, or the code of an error: then the mark stays, and a later sweep tries again."""
    error: str | None = None
    seconds: float


class Refetcher:
    """Fetches uncertain objects through the gateway and applies the answers. One fetch per object at a time.

    The marks in the repository are the memory: a sweep finds again everything that fails or is lost with the process.
    """

    def __init__(
        self,
        *,
        gateway: PaymentGateway,
        service: BillingService,
        objects: UncertainObjects,
        policy: RefetchPolicy,
        publish: Callable[[Sequence[BillingEvent]], None],
        observe: Callable[[RefetchReport], None],
    ) -> None:
        self._gateway = gateway
        self._service = service
        self._objects = objects
        self._policy = policy
        self._publish = publish
        self._observe = observe
        self._waiting: dict[str, Uncertainty] = {}
        self._in_flight: set[str] = set()
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._swept_to = ""

    def offer(self, uncertainties: Iterable[Uncertainty]) -> None:
        """Take over uncertainties. Of two about one object the later one counts: the earlier state is gone."""
        for uncertainty in uncertainties:
            if uncertainty.object_id in self._waiting or len(self._waiting) < self._policy.waiting_limit:
                self._waiting[uncertainty.object_id] = uncertainty
        self._woken.set()

    async def run(self) -> None:
        """Refetch offered objects and sweep the marks regularly, until stopped."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep_regularly())
            for _ in range(self._policy.concurrency):
                tasks.create_task(self._refetch_waiting())

    def stop(self) -> None:
        """Ask `run` to end after the fetches in flight; the marks of the other objects stay."""
        self._stopping.set()
        self._woken.set()

    async def sweep(self) -> None:
        """Offer marked objects, from where the last sweep ended; after the last object start over."""
        found = await self._objects.uncertain(after=self._swept_to, limit=self._policy.sweep_limit)
        self._swept_to = found[-1].object_id if len(found) == self._policy.sweep_limit else ""
        self.offer(found)

    async def refetch(self, uncertainty: Uncertainty) -> None:
        """Fetch one object and apply the answer. Never raises for the object or the provider."""
        started = time.monotonic()
        error: str | None = None
        try:
            outcome = await self._fetch_and_apply(uncertainty)
        except Exception as exc:
            # Also for a bug of ours: it must not end the loop that settles all the others.
            result, error = (exc.code if isinstance(exc, BillingError) else "bug"), text_of(exc)
        else:
            result = outcome.result.value
            if outcome.events:
                self._publish(outcome.events)
        self._observe(
            RefetchReport(uncertainty=uncertainty, result=result, error=error, seconds=time.monotonic() - started)
        )

    async def _fetch_and_apply(self, uncertainty: Uncertainty) -> RefetchOutcome:
        found = await self._fetch(uncertainty.kind, uncertainty.object_id)
        if found is None:
            return RefetchOutcome(result=RefetchResult.UNKNOWN)
        return await self._service.apply_refetch(uncertainty, found)

    async def _fetch(self, kind: str, object_id: str) -> Translation | None:
        match kind:
            case SubscriptionSnapshot.kind:
                return await self._gateway.fetch_subscription(SubscriptionId(object_id))
            case InvoiceSnapshot.kind:
                return await self._gateway.fetch_invoice(InvoiceId(object_id))
            case CustomerSnapshot.kind:
                return await self._gateway.fetch_customer(CustomerId(object_id))
            case EntitlementsSnapshot.kind:
                return await self._gateway.fetch_entitlements(entitled_customer(object_id))
            case _:
                raise LookupError(f"a {kind} cannot be fetched again")

    # --- loops --------------------------------------------------------------------------------------------------

    async def _refetch_waiting(self) -> None:
        while not self._stopping.is_set():
            uncertainty = self._take()
            if uncertainty is None:
                self._woken.clear()
                await self._woken.wait()
                continue
            try:
                await self.refetch(uncertainty)
            finally:
                self._in_flight.discard(uncertainty.object_id)
                self._woken.set()  # a newer uncertainty of the same object may have waited for this one's end

    def _take(self) -> Uncertainty | None:
        """Take the longest waiting uncertainty whose object is not being fetched."""
        object_id = next((waiting for waiting in self._waiting if waiting not in self._in_flight), None)
        if object_id is None:
            return None
        self._in_flight.add(object_id)
        return self._waiting.pop(object_id)

    async def _sweep_regularly(self) -> None:
        while not self._stopping.is_set():
            if not self._waiting:
                with contextlib.suppress(StoreUnavailableError):
                    await self.sweep()
            # Jitter, so that processes that started together do not all fetch the same objects at the same time.
            await wait_at_most(self._stopping, self._policy.sweep_every * random.uniform(0.75, 1.25))  # noqa: S311
