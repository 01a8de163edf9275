"""The end of a finite run: wait until actual and expected state agree, and report what still differs."""

import asyncio
from typing import Final

import aiohttp

from billing_demo.comparison import differences
from billing_demo.expected_state import ExpectedState
from billing_demo.stream_followers import StreamFollowers
from billing_demo.tenant_api import TenantApi

GIVE_UP_AFTER: Final = 60.0
"""Seconds without any change after which differences are final: longer than every lease and backoff of the demo,
and than a busy machine lets a process wait."""
_PAUSE: Final = 0.25
_CONCURRENT_TENANTS: Final = 8


class ConvergenceCheck:
    """Compares the expected state with the HTTP API, the history and the messages that stream clients received."""

    def __init__(
        self, *, expected: ExpectedState, api: TenantApi, streams: StreamFollowers, give_up_after: float = GIVE_UP_AFTER
    ) -> None:
        self._expected = expected
        self._api = api
        self._streams = streams
        self._give_up_after = give_up_after
        self._limit = asyncio.Semaphore(_CONCURRENT_TENANTS)

    async def wait(self) -> list[str]:
        """Compare until there are no differences or nothing changes any more; return the remaining differences."""
        loop = asyncio.get_running_loop()
        before: tuple[list[str], int] | None = None
        unchanged_since = loop.time()
        while found := await self.compare():
            now = (found, self._streams.messages)
            if now != before:
                before, unchanged_since = now, loop.time()
            elif loop.time() - unchanged_since > self._give_up_after:
                break
            await asyncio.sleep(_PAUSE)
        return found

    async def compare(self) -> list[str]:
        """Return the current differences of all tenants."""
        per_tenant = await asyncio.gather(*(self._compare_tenant(tenant_id) for tenant_id in self._expected.tenants))
        return [*self._streams.violations, *(line for lines in per_tenant for line in lines)]

    async def _compare_tenant(self, tenant_id: str) -> list[str]:
        async with self._limit:
            try:
                actual = await self._api.tenant(tenant_id)
                history = await self._api.history(tenant_id)
            except (aiohttp.ClientError, TimeoutError) as exc:
                return [f"{tenant_id} cannot be read: {exc}"]
        found = differences(tenant_id, self._expected.tenant(tenant_id), actual)
        sequence = actual.state["sequence"]
        if history != list(range(1, sequence + 1)):
            found.append(f"{tenant_id} history has {len(history)} messages, expected 1 to {sequence} without a gap")
        received = self._streams.followers[tenant_id].last
        if received != sequence:
            found.append(f"{tenant_id} stream client has received {received} of {sequence} messages")
        return found
