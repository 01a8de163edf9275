"""Refused webhooks: a limit per client address, and one log line per minute."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger()

_ADDRESSES: Final = 10_000
"""Addresses kept at a time, about 2 MB; the least recently used one is dropped first."""
_SUMMARY_SECONDS: Final = 60.0
_SHOWN: Final = 3


class RefusalBudget:
    """A token bucket per client address, spent by refused webhooks only.

    A client without tokens is refused before its body is read, unless its signature header could be genuine. So abuse
    stays cheap, and a correctly signed webhook is accepted whatever else comes from its address.
    """

    def __init__(self, *, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow `per_minute` refusals at once, and then evenly spread over each minute; 0 disables the limit."""
        self._size = float(per_minute)
        self._per_second = per_minute / 60
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Tokens and the time they were counted, least recently used first."""

    @property
    def untouched(self) -> bool:
        """Whether no address has spent a token: then there is nothing to look up."""
        return not self._buckets

    def exhausted(self, address: str) -> bool:
        """Return whether an address has no token left."""
        return self._size > 0 and self._tokens(address) < 1

    def spend(self, address: str) -> None:
        """Take a token for a webhook that was refused."""
        if self._size == 0:
            return
        self._buckets[address] = (max(self._tokens(address) - 1, 0.0), self._clock())
        self._buckets.move_to_end(address)
        if len(self._buckets) > _ADDRESSES:
            self._buckets.popitem(last=False)

    def _tokens(self, address: str) -> float:
        known = self._buckets.get(address)
        if known is None:
            return self._size
        tokens, at = known
        return min(self._size, tokens + (self._clock() - at) * self._per_second)


class RefusalLog:
    """A log that writes the first refused webhook at once, and one summary of the others per minute."""

    def __init__(self) -> None:
        self._reasons: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, reason: str, address: str, size: int | None = None) -> None:
        """Add one refused webhook; `size` is the announced length of its body in bytes."""
        if self._timer is None:
            log.warning("webhook.refused", reason=reason, address=address, size=size)
            self._timer = asyncio.get_running_loop().call_later(_SUMMARY_SECONDS, self.flush)
            return
        self._reasons[reason] += 1
        if address in self._addresses or len(self._addresses) < _ADDRESSES:
            self._addresses[address] += 1

    def flush(self) -> None:
        """Write the summary of what was added since the last one, if anything."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._reasons:
            return
        log.warning(
            "webhook.refused_summary",
            count=self._reasons.total(),
            reasons=dict(self._reasons),
            addresses=len(self._addresses),
            most=dict(self._addresses.most_common(_SHOWN)),
        )
        self._reasons.clear()
        self._addresses.clear()
