"""Refused webhooks: a limit per client address, one log line per minute, and a count that outlives the process."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

import structlog

from billing_app.settings.server import WEBHOOK_PATH
from billing_core.errors import SignatureVerificationError, StaleSignatureError, StoreUnavailableError
from billing_core.oversight.ports import RefusalTally, RefusedWebhooks
from billing_core.state.ports import Clock

log = structlog.get_logger()

_ADDRESSES: Final = 10_000
"""Addresses kept at a time, about 2 MB; the least recently used one is dropped first."""
_SUMMARY_SECONDS: Final = 60.0
_REMEDIES: Final = {
    SignatureVerificationError.code: "Compare STRIPE_WEBHOOK_SECRET with the signing secret of the endpoint at Stripe "
    "that sends to this address; the Stripe CLI has one of its own.",
    StaleSignatureError.code: "Compare the clock of this machine with the time; STRIPE_WEBHOOK_TOLERANCE_SECONDS says "
    "how far they may differ.",
    "too_large": "Raise BILLING_BODY_LIMIT_BYTES.",
}
"""The things to compare, by the reason."""
_SHOWN: Final = 3
_LAST_WRITE_SECONDS: Final = 1.0
"""Longest time that the end of a process waits for the tally."""
_MOST_BYTES: Final = 2**63 - 1
"""The largest size that a tally can keep; a sender may announce any."""


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

    def __init__(self, endpoint: str = WEBHOOK_PATH) -> None:
        """Name the endpoint in every line: a deployment may receive webhooks at several addresses."""
        self._endpoint = endpoint
        self._reasons: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()
        self._largest: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, reason: str, address: str, size: int | None = None) -> None:
        """Add one refused webhook; `size` is the length of its body in bytes, if it is known."""
        if self._timer is None:
            log.warning(
                "webhook.refused",
                reason=reason,
                address=address,
                size=size,
                endpoint=self._endpoint,
                remedy=_REMEDIES.get(reason),
            )
            self._timer = asyncio.get_running_loop().call_later(_SUMMARY_SECONDS, self.flush)
            return
        self._reasons[reason] += 1
        if size is not None:
            self._largest[reason] = max(size, self._largest.get(reason, 0))
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
            largest=self._largest,
            addresses=len(self._addresses),
            most=dict(self._addresses.most_common(_SHOWN)),
            endpoint=self._endpoint,
            remedy=next((remedy for reason, remedy in _REMEDIES.items() if reason in self._reasons), None),
        )
        self._reasons.clear()
        self._addresses.clear()
        self._largest = {}


class RefusalCounts:
    """Refused webhooks by hour and reason, added to the tally once per minute."""

    def __init__(self, tally: RefusalTally, clock: Clock) -> None:
        self._tally = tally
        self._clock = clock
        self._counted: dict[tuple[datetime, str], RefusedWebhooks] = {}

    def add(self, reason: str, size: int) -> None:
        """Count one refused webhook; `size` is the length of its body in bytes as far as it is known."""
        hour = self._clock.now().replace(minute=0, second=0, microsecond=0)
        self._merge(RefusedWebhooks(hour=hour, reason=reason, count=1, largest=min(size, _MOST_BYTES)))

    async def run(self) -> None:
        """Write what was counted to the tally, minute by minute, until cancelled; then write the rest."""
        try:
            while True:
                await asyncio.sleep(_SUMMARY_SECONDS)
                await self._write()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WRITE_SECONDS):
                    await self._write()

    async def _write(self) -> None:
        """Write what was counted; without the store it is kept for the next time."""
        if self._counted:
            written, self._counted = self._counted, {}
            try:
                await self._tally.add(written.values())
            except StoreUnavailableError:
                for refused in written.values():
                    self._merge(refused)

    def _merge(self, refused: RefusedWebhooks) -> None:
        key = (refused.hour, refused.reason)
        known = self._counted.get(key)
        self._counted[key] = refused if known is None else known.plus(refused)
