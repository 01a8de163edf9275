"""Mending: objects in doubt are asked for again, outside any transaction and beside everything else."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

import attrs

from billing_core.errors import BillingError, StoreUnavailableError
from billing_core.events import BillingEvent, Translation
from billing_core.model import CustomerId, InvoiceId, SubscriptionId, Uncertainty, UncertaintyKind, entitled_customer
from billing_core.state.ports import PaymentGateway, UncertainObjects
from billing_core.state.service import BillingService, RefetchOutcome, RefetchResult


@attrs.frozen(kw_only=True)
class RefetchPolicy:
    """How much is asked at a time, and how often the marks that are left are looked through."""

    concurrency: int = 4
    sweep_every: timedelta = timedelta(minutes=1)
    sweep_limit: int = 100
    """Objects of one sweep; the next one goes on behind them, so that one that cannot be mended delays no other."""
    waiting_limit: int = 2048
    """Doubts that wait; those beyond it are left to the sweeps."""


@attrs.frozen(kw_only=True)
class RefetchReport:
    """How one attempt to settle a doubt went; handed to observers after its end."""

    uncertainty: Uncertainty
    result: str
    """A `Mending`, or the code of an error: then the mark stays, and a later sweep tries again."""
    error: str | None = None
    seconds: float


class Refetcher:
    """Fetches what is in doubt through the gateway and has the answer written. One fetch per object at a time.

    The marks in the repository are the memory: what is lost with the process, or fails, a sweep finds again.
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
        """Take over doubts. Of two about one object the later one counts: the former rests on what is no more."""
        for uncertainty in uncertainties:
            if uncertainty.object_id in self._waiting or len(self._waiting) < self._policy.waiting_limit:
                self._waiting[uncertainty.object_id] = uncertainty
        self._woken.set()

    async def run(self) -> None:
        """Mend what is offered, and look through the marks now and then, until stopped."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep_regularly())
            for _ in range(self._policy.concurrency):
                tasks.create_task(self._refetch_waiting())

    def stop(self) -> None:
        """Ask `run` to end after the objects it is at; the marks of the others stay."""
        self._stopping.set()
        self._woken.set()

    async def sweep(self) -> None:
        """Offer marked objects, from where the last sweep ended; it begins anew behind the last one."""
        found = await self._objects.uncertain(after=self._swept_to, limit=self._policy.sweep_limit)
        self._swept_to = found[-1].object_id if len(found) == self._policy.sweep_limit else ""
        self.offer(found)

    async def refetch(self, uncertainty: Uncertainty) -> None:
        """Ask the provider about one object and write the answer. Never raises for the object or the provider."""
        started = time.monotonic()
        error: str | None = None
        try:
            refetched = await self._ask_and_write(uncertainty)
        except Exception as exc:
            # Also for a bug of ours: it must not end the loop that mends all the others.
            result, error = (exc.code if isinstance(exc, BillingError) else "bug"), f"{type(exc).__name__}: {exc}"
        else:
            result = refetched.result.value
            if refetched.events:
                self._publish(refetched.events)
        self._observe(
            RefetchReport(uncertainty=uncertainty, result=result, error=error, seconds=time.monotonic() - started)
        )

    async def _ask_and_write(self, uncertainty: Uncertainty) -> RefetchOutcome:
        found = await self._fetch(uncertainty.kind, uncertainty.object_id)
        return (
            RefetchOutcome(result=RefetchResult.UNKNOWN)
            if found is None
            else await self._service.apply_refetch(uncertainty, found)
        )

    async def _fetch(self, kind: UncertaintyKind, object_id: str) -> Translation | None:
        match kind:
            case "subscription":
                return await self._gateway.fetch_subscription(SubscriptionId(object_id))
            case "invoice":
                return await self._gateway.fetch_invoice(InvoiceId(object_id))
            case "customer":
                return await self._gateway.fetch_customer(CustomerId(object_id))
            case "entitlements":
                return await self._gateway.fetch_entitlements(entitled_customer(object_id))

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
                self._woken.set()  # a newer doubt about the same object may have waited for this one's end

    def _take(self) -> Uncertainty | None:
        """The doubt that has waited longest, of those whose object nobody asks for right now."""
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
            # Spread, lest processes that were started together all ask for the same objects at the same time.
            pause = self._policy.sweep_every.total_seconds() * random.uniform(0.75, 1.25)  # noqa: S311
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
