"""The entitlements that one process keeps, and how current they are."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import attrs

from billing_core.model import Freshness, TenantEntitlements, TenantId

NO_ERA: Final = -1


@attrs.frozen(kw_only=True)
class CachePolicy:
    """The bounds of a cache of entitlements: its size, and how old an answer may be."""

    capacity: int = 50_000
    """Tenants that are kept; of more, those that were asked for last."""
    live_for: timedelta = timedelta(seconds=60)
    """Age at which a tenant is read again although the bus told nothing: a change in silence is seen by then."""
    polled_for: timedelta = timedelta(seconds=2)
    """The same while the bus is unavailable."""
    stale_for: timedelta = timedelta(minutes=15)
    """Age up to which the last known state answers while the database is unavailable."""
    patience: timedelta = timedelta(seconds=1)
    """The longest wait for the database where a last known state could answer."""
    rules_every: timedelta = timedelta(seconds=5)
    """Interval at which other rules in force are noticed."""


@attrs.frozen
class Found:
    """Entitlements from the cache, with the instant for which to decide."""

    entitlements: TenantEntitlements
    now: datetime
    """By the store's clock: the instant of the reading and the time since it was asked for."""
    freshness: Freshness


@attrs.define
class _Entry:
    entitlements: TenantEntitlements
    read_at: float
    """This process's monotonic clock just before the state was asked for, so that no answer is older than it says."""
    era: int
    """The period of following without a gap in which it was read; `NO_ERA` if in none."""
    outdated: bool = False
    """Whether a later message was heard of."""


class EntitlementCache:
    """Entitlements by tenant, of bounded number. No I/O: `Entitlements` fills it and tells it what the bus says."""

    def __init__(self, policy: CachePolicy, *, generation: Callable[[], int], elapsed: Callable[[], float]) -> None:
        """Create an empty cache.

        Args:
            policy: its bounds.
            generation: returns the generation of the rules in force: entries of others count as outdated.
            elapsed: a monotonic clock, in seconds.
        """
        self._entries: OrderedDict[TenantId, _Entry] = OrderedDict()
        self._capacity = policy.capacity
        self._live_for = policy.live_for.total_seconds()
        self._polled_for = policy.polled_for.total_seconds()
        self._stale_for = policy.stale_for.total_seconds()
        self._generation = generation
        self._elapsed = elapsed
        self._era = 0
        self._following = False

    def __len__(self) -> int:
        return len(self._entries)

    # --- what the bus says --------------------------------------------------------------------------------------

    def begin_era(self) -> None:
        """Note that messages arrive from now on, and that earlier ones may have been missed."""
        self._following = True
        self._era += 1

    def end_era(self) -> None:
        """Note that no messages arrive."""
        self._following = False

    @property
    def era(self) -> int:
        """The current period of following without a gap; `NO_ERA` while none arrive. Read it before the state."""
        return self._era if self._following else NO_ERA

    def heard(self, tenant_id: TenantId, sequence: int) -> None:
        """Note a message of a tenant: an entry that was read before it is outdated."""
        entry = self._entries.get(tenant_id)
        if entry is not None and entry.entitlements.sequence < sequence:
            entry.outdated = True

    # --- entries ------------------------------------------------------------------------------------------------

    def keep(self, entitlements: TenantEntitlements, *, era: int, read_at: float, outdated: bool = False) -> Found:
        """Keep what was just read, in place of the tenant asked for the longest ago if the cache is full.

        Args:
            entitlements: the compiled state.
            era: the era before the state was read.
            read_at: the monotonic clock before the state was read, which the age of the state counts from.
            outdated: whether a later message was heard of meanwhile.
        """
        entry = _Entry(entitlements, read_at, era, outdated)
        self._entries[entitlements.tenant_id] = entry
        self._entries.move_to_end(entitlements.tenant_id)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
        age = self._elapsed() - read_at
        return Found(entitlements, entitlements.as_of + timedelta(seconds=age), self._freshness(entry))

    def fresh(self, tenant_id: TenantId) -> Found | None:
        """Return what is known of a tenant unless it has to be read again."""
        entry = self._entries.get(tenant_id)
        if entry is None or entry.outdated:
            return None
        age = self._elapsed() - entry.read_at
        freshness = self._freshness(entry)
        if age >= (self._live_for if freshness is Freshness.LIVE else self._polled_for):
            return None
        if entry.entitlements.generation != self._generation():
            return None
        self._entries.move_to_end(tenant_id)
        return Found(entry.entitlements, entry.entitlements.as_of + timedelta(seconds=age), freshness)

    def last_known(self, tenant_id: TenantId) -> Found | None:
        """Return what was known of a tenant last, for a while during which it cannot be read again."""
        entry = self._entries.get(tenant_id)
        age = 0.0 if entry is None else self._elapsed() - entry.read_at
        if entry is None or age >= self._stale_for:
            return None
        return Found(entry.entitlements, entry.entitlements.as_of + timedelta(seconds=age), Freshness.STALE)

    def _freshness(self, entry: _Entry) -> Freshness:
        """Return whether every message since the reading has arrived."""
        return Freshness.LIVE if self._following and entry.era == self._era else Freshness.POLLED
