"""May this tenant use this feature now? Answered from memory, by what the bus tells and the clock says."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final, Literal

import attrs

from billing_core.entitlements.cache import CachePolicy, EntitlementCache, Found
from billing_core.entitlements.loading import EntitlementLoader
from billing_core.errors import EventBusUnavailableError, StoreUnavailableError
from billing_core.model import FeatureVerdict, Quantity, TenantEntitlements, TenantId
from billing_core.stream.following import pause_before
from billing_core.stream.ports import EventBus

_READINGS: Final = 3
"""Readings of one tenant in a row, if messages that are newer than the reading keep arriving."""
_PAUSE_AFTER_FAILURE: Final = 1.0
"""Seconds without another attempt to read, where a last known state can answer."""


@attrs.frozen(kw_only=True)
class EntitlementReport:
    """One reading of a tenant's state, or one answer that had to do without."""

    result: Literal["read", "failed", "stale"]
    """`failed` if the database could not be read; `stale` if the last known state answered."""
    seconds: float = 0.0
    """The duration of the reading; 0 of a stale answer."""
    kept: int
    """The number of tenants that are kept in memory."""


@attrs.define
class _Reading:
    """A reading under way, which all who ask for the tenant wait for."""

    task: "asyncio.Task[Found]" = attrs.field(init=False)
    heard: int = 0
    """The highest number of the tenant's messages that arrived meanwhile."""


class Entitlements:
    """Answers to which features tenants may use now, from memory for tenants that were asked for before.

    While `run` follows the bus, an answer is as current as its messages: a change counts as soon as its message
    arrives. A change without a message counts after `CachePolicy.live_for`, and other rules after `rules_every`. While
    the bus is unavailable, or without `run`, a state is read again after `polled_for`; while the database is, too, the
    last known one answers for `stale_for`. Each answer says which of these it is (`Freshness`).
    """

    def __init__(
        self,
        *,
        loader: EntitlementLoader,
        bus: EventBus | None,
        policy: CachePolicy = CachePolicy(),  # noqa: B008 - frozen
        elapsed: Callable[[], float] = time.monotonic,
        observe: Callable[[EntitlementReport], None] = lambda _: None,
    ) -> None:
        """Create the service; without a bus all states are read again after `polled_for`.

        Args:
            loader: reads states.
            bus: the bus that every process publishes to.
            policy: bounds of size and age.
            elapsed: a monotonic clock, in seconds.
            observe: receives a report of each reading and each stale answer; it must not raise.
        """
        self._observe = observe
        self._loader = loader
        self._bus = bus
        self._policy = policy
        self._elapsed = elapsed
        self._cache = EntitlementCache(policy, generation=lambda: loader.generation, elapsed=elapsed)
        self._readings: dict[TenantId, _Reading] = {}
        self._asked = asyncio.Event()
        """Set by the first question: before it the bus need not be followed."""
        self._pause_until = float("-inf")

    # --- questions ----------------------------------------------------------------------------------------------

    async def allows(
        self, tenant_id: TenantId, feature: str, quantity: Quantity = 1, *, used: Quantity | None = None
    ) -> FeatureVerdict:
        """Decide whether a tenant may use a feature, or so much more of it, now.

        Args:
            tenant_id: the tenant; one that is unknown has no access.
            feature: the key of the feature in the catalog, or the provider's lookup key.
            quantity: how much more is asked for; it does not matter for a switch. 0: whether what is there may stay.
            used: how much there is already, if the caller counts it itself.

        Raises: StoreUnavailableError if the state is neither readable nor known; ValueError for a negative quantity.
        """
        found = self._cache.fresh(tenant_id) or await self._read(tenant_id)
        return _verdict(found, feature, quantity, used)

    def allows_cached(
        self, tenant_id: TenantId, feature: str, quantity: Quantity = 1, *, used: Quantity | None = None
    ) -> FeatureVerdict | None:
        """Decide without waiting, or return None if the tenant has to be read first. As `allows` otherwise."""
        found = self._cache.fresh(tenant_id)
        return None if found is None else _verdict(found, feature, quantity, used)

    async def remaining(self, tenant_id: TenantId, feature: str, *, used: Quantity | None = None) -> Quantity | None:
        """Return how much of a feature is left: 0 if it is refused altogether, None if it has no limit.

        Raises: as `allows`.
        """
        return (await self.allows(tenant_id, feature, used=used)).remaining

    async def entitlements(self, tenant_id: TenantId) -> TenantEntitlements:
        """Return everything that a tenant may use, for any instant from its `as_of` on. Raises: as `allows`."""
        return (await self.found(tenant_id)).entitlements

    async def found(self, tenant_id: TenantId) -> Found:
        """Return the same with the instant for which to decide and how current it is. Raises: as `allows`."""
        return self._cache.fresh(tenant_id) or await self._read(tenant_id)

    # --- readings -----------------------------------------------------------------------------------------------

    async def _read(self, tenant_id: TenantId) -> Found:
        """Read a tenant, once for all who wait; answer with the last known state if that fails or takes too long."""
        self._asked.set()
        known = self._cache.last_known(tenant_id)
        if known is not None and self._elapsed() < self._pause_until:
            return self._stale(known)
        reading = self._readings.get(tenant_id)
        if reading is None:
            reading = self._readings[tenant_id] = _Reading()
            reading.task = asyncio.create_task(self._read_once(tenant_id, reading), name="entitlements")
            reading.task.add_done_callback(_retrieve)
        if known is None:
            return await asyncio.shield(reading.task)
        try:
            async with asyncio.timeout(self._policy.patience.total_seconds()):
                return await asyncio.shield(reading.task)
        except (StoreUnavailableError, TimeoutError):
            self._pause_until = self._elapsed() + _PAUSE_AFTER_FAILURE
            known = self._cache.last_known(tenant_id)  # again: it has grown older by the wait, perhaps too old
            return await asyncio.shield(reading.task) if known is None else self._stale(known)

    def _stale(self, known: Found) -> Found:
        self._observe(EntitlementReport(result="stale", kept=len(self._cache)))
        return known

    async def _read_once(self, tenant_id: TenantId, reading: _Reading) -> Found:
        began = self._elapsed()
        result: Literal["read", "failed"] = "failed"
        try:
            for _ in range(_READINGS):
                era, read_at = self._cache.era, self._elapsed()
                entitlements = await self._loader.load(tenant_id)
                if entitlements.sequence >= reading.heard:
                    break
            found = self._cache.keep(
                entitlements, era=era, read_at=read_at, outdated=entitlements.sequence < reading.heard
            )
            result = "read"
            return found
        finally:
            del self._readings[tenant_id]
            seconds = self._elapsed() - began
            self._observe(EntitlementReport(result=result, seconds=seconds, kept=len(self._cache)))

    # --- loops --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the bus and the rules in force, from the first question on, until cancelled."""
        await self._asked.wait()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_rules())
            if self._bus is not None:
                tasks.create_task(self._follow(self._bus))

    async def _follow_rules(self) -> None:
        while True:
            await asyncio.sleep(self._policy.rules_every.total_seconds())
            with contextlib.suppress(StoreUnavailableError):
                await self._loader.look_for_rules()

    async def _follow(self, bus: EventBus) -> None:
        attempt = 0
        while True:
            try:
                async with contextlib.aclosing(bus.follow()) as batches:
                    async for events in batches:
                        if not events:
                            self._cache.begin_era()
                            attempt = 0
                        for event in events:
                            self.hear(event.tenant_id, event.sequence)
            except EventBusUnavailableError:
                attempt += 1
            finally:
                self._cache.end_era()
            await asyncio.sleep(pause_before(attempt))

    def hear(self, tenant_id: TenantId, sequence: int) -> None:
        """Take note of a message: the next answer is read after it."""
        reading = self._readings.get(tenant_id)
        if reading is not None:
            reading.heard = max(reading.heard, sequence)
        self._cache.heard(tenant_id, sequence)


def _verdict(found: Found, feature: str, quantity: Quantity, used: Quantity | None) -> FeatureVerdict:
    return found.entitlements.allows(feature, found.now, quantity, used=used, freshness=found.freshness)


def _retrieve(task: "asyncio.Task[Found]") -> None:
    """Take the error of a reading that all who waited for it have given up on."""
    if not task.cancelled():
        task.exception()
