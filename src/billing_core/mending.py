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
from billing_core.model import CustomerId, Doubt, DoubtKind, InvoiceId, SubscriptionId, entitled_customer
from billing_core.ports import BillingRepository, PaymentGateway
from billing_core.service import BillingService, Mended, Mending


@attrs.frozen(kw_only=True)
class MendingPolicy:
    """How much is asked at a time, and how often the marks that are left are looked through."""

    concurrency: int = 4
    sweep_every: timedelta = timedelta(minutes=1)
    sweep_limit: int = 100
    """Objects of one sweep; the next one goes on behind them, so that one that cannot be mended delays no other."""
    waiting_limit: int = 2048
    """Doubts that wait; those beyond it are left to the sweeps."""


@attrs.frozen(kw_only=True)
class MendingReport:
    """How one attempt to settle a doubt went; handed to observers after its end."""

    doubt: Doubt
    result: str
    """A `Mending`, or the code of an error: then the mark stays, and a later sweep tries again."""
    error: str | None = None
    seconds: float


class Mender:
    """Fetches what is in doubt through the gateway and has the answer written. One fetch per object at a time.

    The marks in the repository are the memory: what is lost with the process, or fails, a sweep finds again.
    """

    def __init__(
        self,
        *,
        gateway: PaymentGateway,
        service: BillingService,
        repository: BillingRepository,
        policy: MendingPolicy,
        publish: Callable[[Sequence[BillingEvent]], None],
        observe: Callable[[MendingReport], None],
    ) -> None:
        self._gateway = gateway
        self._service = service
        self._repository = repository
        self._policy = policy
        self._publish = publish
        self._observe = observe
        self._waiting: dict[str, Doubt] = {}
        self._in_flight: set[str] = set()
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._swept_to = ""

    def offer(self, doubts: Iterable[Doubt]) -> None:
        """Take over doubts. Of two about one object the later one counts: the former rests on what is no more."""
        for doubt in doubts:
            if doubt.object_id in self._waiting or len(self._waiting) < self._policy.waiting_limit:
                self._waiting[doubt.object_id] = doubt
        self._woken.set()

    async def run(self) -> None:
        """Mend what is offered, and look through the marks now and then, until stopped."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep_regularly())
            for _ in range(self._policy.concurrency):
                tasks.create_task(self._mend_waiting())

    def stop(self) -> None:
        """Ask `run` to end after the objects it is at; the marks of the others stay."""
        self._stopping.set()
        self._woken.set()

    async def sweep(self) -> None:
        """Offer marked objects, from where the last sweep ended; it begins anew behind the last one."""
        found = await self._repository.doubtful(after=self._swept_to, limit=self._policy.sweep_limit)
        self._swept_to = found[-1].object_id if len(found) == self._policy.sweep_limit else ""
        self.offer(found)

    async def mend(self, doubt: Doubt) -> None:
        """Ask the provider about one object and write the answer. Never raises for the object or the provider."""
        started = time.monotonic()
        error: str | None = None
        try:
            mended = await self._ask_and_write(doubt)
        except Exception as exc:
            # Also for a bug of ours: it must not end the loop that mends all the others.
            result, error = (exc.code if isinstance(exc, BillingError) else "bug"), f"{type(exc).__name__}: {exc}"
        else:
            result = mended.result.value
            if mended.events:
                self._publish(mended.events)
        self._observe(MendingReport(doubt=doubt, result=result, error=error, seconds=time.monotonic() - started))

    async def _ask_and_write(self, doubt: Doubt) -> Mended:
        found = await self._fetch(doubt.kind, doubt.object_id)
        return Mended(result=Mending.UNKNOWN) if found is None else await self._service.mend(doubt, found)

    async def _fetch(self, kind: DoubtKind, object_id: str) -> Translation | None:
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

    async def _mend_waiting(self) -> None:
        while not self._stopping.is_set():
            doubt = self._take()
            if doubt is None:
                self._woken.clear()
                await self._woken.wait()
                continue
            try:
                await self.mend(doubt)
            finally:
                self._in_flight.discard(doubt.object_id)
                self._woken.set()  # a newer doubt about the same object may have waited for this one's end

    def _take(self) -> Doubt | None:
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
