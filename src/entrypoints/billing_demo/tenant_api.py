"""A client of the HTTP API, as a tenant's own backend would use it."""

import asyncio
import contextlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import aiohttp

from billing_demo.comparison import ActualTenant

GIVE_UP_AFTER: Final = 60.0
"""Seconds in which a server has to answer. It may have more to read than its database serves at once, or be restarting.
"""
_PAUSE: Final = 0.25
_LIMIT: Final = 500


class TenantApi:
    """Reads tenants' data, each tenant's with its own token. A server that is unavailable is asked again."""

    def __init__(self, *, session: aiohttp.ClientSession, base_url: str, token: Callable[[str], str]) -> None:
        self._session = session
        self._base_url = base_url
        self._token = token

    async def tenant(self, tenant_id: str) -> ActualTenant:
        """Read everything that the API shows of a tenant. Raises aiohttp.ClientError, TimeoutError."""
        return ActualTenant(
            state=await self._get(tenant_id, "state"),
            subscriptions=(await self._get(tenant_id, "subscriptions"))["subscriptions"],
            invoices=(await self._get(tenant_id, f"invoices?limit={_LIMIT}"))["invoices"],
            usage=(await self._get(tenant_id, f"usage?limit={_LIMIT}"))["usage"],
        )

    async def sequence(self, tenant_id: str) -> int:
        """Return the number of the tenant's last message."""
        return int((await self._get(tenant_id, "state"))["sequence"])

    async def history(self, tenant_id: str) -> list[int]:
        """Return the numbers of all messages in the history, in the order of the API."""
        numbers: list[int] = []
        after: int | None = 0
        while after is not None:
            page = await self._get(tenant_id, f"events?after={after}&limit={_LIMIT}")
            numbers += [event["sequence"] for event in page["events"]]
            after = page["next_after"]
        return numbers

    async def _get(self, tenant_id: str, resource: str) -> dict[str, Any]:
        url = f"{self._base_url}/api/v1/billing/tenants/{tenant_id}/{resource}"
        headers = {"Authorization": f"Bearer {self._token(tenant_id)}"}
        async with asyncio.timeout(GIVE_UP_AFTER):
            while True:
                with contextlib.suppress(aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                    async with self._session.get(url, headers=headers) as response:
                        if response.status != HTTPStatus.SERVICE_UNAVAILABLE:
                            response.raise_for_status()
                            found: dict[str, Any] = await response.json()
                            return found
                await asyncio.sleep(_PAUSE)
