"""The end of a finite run: wait until nothing moves any more, and hold everything against the truth."""

import asyncio
from typing import Final

import aiohttp

from billing_demo.comparison import differences
from billing_demo.listener import Audience
from billing_demo.reader import Reader
from billing_demo.truth import Truth

PATIENCE: Final = 20.0
"""How long nothing may change before what is wrong counts as wrong for good: longer than any lease and backoff here."""
_PAUSE: Final = 0.25
_READERS: Final = 8


class Judge:
    """Compares the truth with the read API, the history and what the stream's clients saw."""

    def __init__(self, *, truth: Truth, reader: Reader, audience: Audience, patience: float = PATIENCE) -> None:
        self._truth = truth
        self._reader = reader
        self._audience = audience
        self._patience = patience
        self._turns = asyncio.Semaphore(_READERS)

    async def wait_for_verdict(self) -> list[str]:
        """All differences; returns as soon as there are none, or when nothing has changed for a while."""
        loop = asyncio.get_running_loop()
        before: tuple[list[str], int] | None = None
        unchanged_since = loop.time()
        while found := await self.compare():
            now = (found, self._audience.messages)
            if now != before:
                before, unchanged_since = now, loop.time()
            elif loop.time() - unchanged_since > self._patience:
                break
            await asyncio.sleep(_PAUSE)
        return found

    async def compare(self) -> list[str]:
        """The differences at this moment."""
        per_tenant = await asyncio.gather(*(self._compare_tenant(tenant_id) for tenant_id in self._truth.tenants))
        return [*self._audience.violations, *(line for lines in per_tenant for line in lines)]

    async def _compare_tenant(self, tenant_id: str) -> list[str]:
        async with self._turns:
            try:
                seen = await self._reader.observe(tenant_id)
                history = await self._reader.history(tenant_id)
            except (aiohttp.ClientError, TimeoutError) as exc:
                return [f"{tenant_id} cannot be read: {exc}"]
        found = differences(tenant_id, self._truth.expect(tenant_id), seen)
        sequence = seen.state["sequence"]
        if history != list(range(1, sequence + 1)):
            found.append(f"{tenant_id} history has {len(history)} messages, not 1 to {sequence} without a gap")
        heard = self._audience.listeners[tenant_id].last
        if heard != sequence:
            found.append(f"{tenant_id} stream client has seen {heard} of {sequence} messages")
        return found
