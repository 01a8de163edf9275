"""Limits of calls inside one process."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import attrs

from billing_core.operations.call_limits import CallLimits, CallRefusal, Priority

_IN_FLIGHT_PAUSE: Final = timedelta(milliseconds=50)
_MOST_HALVINGS: Final = 3
_SMALLEST_BURST: Final = 2.0
_ONCE_WITHIN: Final = 1.0
"""Seconds within which refusals for load are one."""


@attrs.define
class _Slowdown:
    """Halvings of a limit for a while."""

    halvings: int = 0
    since: float = 0.0
    until: float = 0.0

    def factor(self, now: float) -> float:
        return 0.5**self.halvings if now < self.until else 1.0

    def deepen(self, now: float, seconds: float) -> None:
        running = now < self.until
        if running and now < self.since + _ONCE_WITHIN:
            return
        self.halvings = min(self.halvings + 1, _MOST_HALVINGS) if running else 1
        self.since, self.until = now, now + seconds


@attrs.define
class _Bucket:
    """Calls that may begin now: they grow with time, up to the burst."""

    rate: float
    slowdown: _Slowdown = attrs.field(factory=_Slowdown)
    level: float | None = None
    """None as long as it is full."""
    at: float = 0.0

    def wait(self, now: float, priority: Priority) -> float:
        """Return the seconds until one more call may begin; 0 if it may now."""
        rate = self.rate * self.slowdown.factor(now)
        burst = max(_SMALLEST_BURST, rate / 4)
        full = burst if self.level is None else self.level + (now - self.at) * rate
        self.level, self.at = min(burst, full), now
        needed = 1 + (burst / 2 if priority == "background" else 0)
        return max(0.0, needed - self.level) / rate

    def take(self) -> None:
        self.level = (self.level or 0) - 1


@attrs.define
class _Endpoint:
    bucket: _Bucket
    calls: dict[str, float] = attrs.field(factory=dict)
    """Calls in flight, each with the instant at which it stops counting."""


class LocalCallLimiter:
    """A `CallLimiter` for the calls of one process."""

    def __init__(self, limits: CallLimits, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._all = _Bucket(limits.rate)
        self._endpoints: dict[str, _Endpoint] = {}

    async def enter(self, call: str, endpoint: str, priority: Priority) -> CallRefusal | None:
        """Count one more call, or refuse it."""
        now, own = self._monotonic(), self._endpoint(endpoint)
        own.calls = {name: until for name, until in own.calls.items() if until > now}
        if len(own.calls) >= self._most_in_flight(own, now, priority):
            return CallRefusal(limit="in_flight", retry_after=_IN_FLIGHT_PAUSE)
        wait = own.bucket.wait(now, priority)
        if wait:
            return CallRefusal(limit="endpoint_rate", retry_after=timedelta(seconds=wait))
        wait = self._all.wait(now, priority)
        if wait:
            return CallRefusal(limit="rate", retry_after=timedelta(seconds=wait))
        own.bucket.take()
        self._all.take()
        own.calls[call] = now + self._limits.lease.total_seconds()
        return None

    async def leave(self, call: str, endpoint: str) -> None:
        """Stop counting a call as in flight."""
        self._endpoint(endpoint).calls.pop(call, None)

    async def slow_down(self, endpoint: str | None) -> None:
        """Halve limits for a while."""
        bucket = self._all if endpoint is None else self._endpoint(endpoint).bucket
        bucket.slowdown.deepen(self._monotonic(), self._limits.slowed_for.total_seconds())

    def _endpoint(self, name: str) -> _Endpoint:
        if name not in self._endpoints:
            self._endpoints[name] = _Endpoint(_Bucket(self._limits.endpoint_rate))
        return self._endpoints[name]

    def _most_in_flight(self, own: _Endpoint, now: float, priority: Priority) -> int:
        most = max(1, int(self._limits.in_flight * own.bucket.slowdown.factor(now)))
        return max(1, most // 2) if priority == "background" else most
