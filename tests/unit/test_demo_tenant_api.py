"""The demo's reads of tenants' data, from a server that a test plays."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from billing_demo.tenant_api import TenantApi

CUT_OFF = 0
"""In place of a status: the connection ends without an answer."""


async def sequence(*statuses: int) -> tuple[int, int]:
    """Read a tenant's number from a server that answers with these statuses; return it, and how often it was asked."""
    left = list(statuses)

    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer token of acme"
        status = left.pop(0)
        if status == CUT_OFF:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"sequence": 7}, status=status or 200)

    app = web.Application()
    app.router.add_get("/api/v1/billing/tenants/acme/state", answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        base_url = str(server.make_url("")).rstrip("/")
        api = TenantApi(session=session, base_url=base_url, token=lambda tenant_id: f"token of {tenant_id}")
        return await api.sequence("acme"), len(statuses) - len(left)


async def test_an_unavailable_server_is_asked_again() -> None:
    """Its database may be busy: the demo reads all tenants at once before it begins."""
    assert await sequence(503, 503, 200) == (7, 3)


async def test_a_server_that_is_restarted_is_asked_again() -> None:
    """It may have ended in the middle of an answer. aiohttp itself asks once more at most."""
    assert await sequence(CUT_OFF, CUT_OFF, CUT_OFF, 503, 200) == (7, 5)


async def test_another_error_ends_the_reading() -> None:
    """It would not be another one the next time."""
    with pytest.raises(aiohttp.ClientResponseError, match="403"):
        await sequence(403)
