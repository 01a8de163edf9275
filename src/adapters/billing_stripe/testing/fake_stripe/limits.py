"""Load limits: how many requests may be in flight at once, and how many may begin in a second.

Source: https://docs.stripe.com/rate-limits; a test key passes 30 requests in flight to one endpoint.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import attrs

from billing_stripe.testing.fake_stripe.errors import locked, rate_limited


@attrs.frozen(kw_only=True)
class Limits:
    """The load above which requests are shed. None for no limit."""

    in_flight: int | None = None
    """Requests to one endpoint at the same time."""
    endpoint_rate: int | None = None
    """Requests to one endpoint in a second."""
    total_rate: int | None = None
    """Requests in a second."""
    latency: timedelta = timedelta()
    """Time that each request takes; without any, hardly two are ever in flight."""


SANDBOX = Limits(in_flight=30, endpoint_rate=25, total_rate=25, latency=timedelta(milliseconds=50))
LIVE = Limits(in_flight=30, endpoint_rate=25, total_rate=100, latency=timedelta(milliseconds=50))


class Load:
    """The current load of an account."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._in_flight: Counter[str] = Counter()
        self._begun: dict[str, deque[float]] = {}
        self._locked: set[str] = set()

    @contextmanager
    def admitted(self, endpoint: str, limits: Limits) -> Iterator[None]:
        """Count a request in while it lasts. Raises StripeError above a limit; width sheds before rate."""
        if limits.in_flight is not None and self._in_flight[endpoint] >= limits.in_flight:
            raise rate_limited("endpoint-concurrency")
        if not self._begins(endpoint, limits.endpoint_rate):
            raise rate_limited("endpoint-rate")
        if not self._begins("", limits.total_rate):
            raise rate_limited("global-rate")
        self._in_flight[endpoint] += 1
        try:
            yield
        finally:
            self._in_flight[endpoint] -= 1

    @contextmanager
    def locked(self, object_id: str | None) -> Iterator[None]:
        """Hold the lock of the object that a request changes. Raises StripeError while another one holds it."""
        if object_id is None:
            yield
            return
        if object_id in self._locked:
            raise locked()
        self._locked.add(object_id)
        try:
            yield
        finally:
            self._locked.discard(object_id)

    def _begins(self, name: str, per_second: int | None) -> bool:
        """Note the beginning of a request, unless there were as many in the last second."""
        if per_second is None:
            return True
        begun = self._begun.setdefault(name, deque())
        now = self._monotonic()
        while begun and now - begun[0] >= 1:
            begun.popleft()
        if len(begun) >= per_second:
            return False
        begun.append(now)
        return True
