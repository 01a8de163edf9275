"""The limits of dispatch, and the events that a deployment acts on."""

import random
from datetime import timedelta

import attrs

from billing_core.events import Claim


@attrs.frozen(kw_only=True)
class DispatchPolicy:
    """Limits on batches, attempts and waits."""

    batch: int = 2048
    """Events claimed at a time, with their bodies."""
    handoff_batch: int = 2048
    """Handed-over events processed at a time. Like a commit at intake, a batch takes everything queued during the
    previous one: few events when there is little to do, and many that share each statement and row when there is much.
    """
    lease: timedelta = timedelta(seconds=60)
    max_attempts: int = 12
    backoff_base: timedelta = timedelta(seconds=30)
    backoff_cap: timedelta = timedelta(minutes=10)
    poll: timedelta = timedelta(seconds=1)
    waiting_poll: timedelta = timedelta(seconds=10)
    """Interval of looking for parked events that no longer have to wait; nearly all become due without it."""
    parked_for: timedelta = timedelta(days=30)
    """Time after which an event stops waiting for a tenant: a guest's refund never finds one."""
    lookups: int = 8
    """Thin events that the provider is asked about at a time."""
    handoff_limit: int = 8192
    """Events a process takes over right at intake, some kilobytes each; those beyond it are left to any worker."""

    def backoff(self, attempt: int) -> timedelta:
        """Return how long to wait after the given failed attempt: full jitter under a doubling, capped ceiling."""
        ceiling = min(self.backoff_cap, self.backoff_base * 2 ** min(attempt - 1, 30))
        return timedelta(seconds=random.uniform(0, ceiling.total_seconds()))  # noqa: S311 - spreads load

    def companions(self, attempt: int) -> int:
        """Return how many events may share a batch with one that is at its n-th attempt.

        An event that kills its process takes the whole batch down and costs each of them an attempt. So the more often
        it came back, the fewer it is tried with; from the seventh attempt on it is alone.
        """
        return max(1, self.batch >> 2 * (attempt - 1))


@attrs.frozen(kw_only=True)
class Scope:
    """The mode and account whose events this deployment acts on; others are stored and ignored."""

    livemode: bool
    account: str = ""

    def refuses(self, claim: Claim) -> str | None:
        """Return the reason to ignore an event of another mode or account."""
        if claim.event.key.livemode != self.livemode:
            return "livemode"
        return "account" if claim.event.key.account not in ("", self.account) else None
