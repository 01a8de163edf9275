"""The operator's page in a real browser, on a deployment of its own: operators see all tenants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
import pytest
from playwright.async_api import Browser
from tests.databases import Databases
from tests.e2e.conftest import JWT_SECRET, WATCH_POLICY, Site, Visit, browser_context, deployed

from billing_app.http.tokens import issue_operator_token
from billing_app.settings import TokenSettings

API: Final = "/api/v1/billing/operator"
OPERATOR: Final = "jonas@ops.test"


def operators_token(*, role: str = "operator", ttl: timedelta = timedelta(hours=1)) -> str:
    """Return a token that signs in to the operator's page."""
    return issue_operator_token(
        secret=JWT_SECRET, policy=TokenSettings(), subject=OPERATOR, role=role, now=datetime.now(UTC), ttl=ttl
    )


@pytest.fixture(scope="session")
async def operated(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A deployment whose operators are known; each test has tenants of its own."""
    folder = tmp_path_factory.mktemp("operated")
    async with deployed(databases, folder, BILLING_JWT_OPERATOR_ROLES="operator") as running:
        yield running


class Api:
    """The operator's API, to wait for what a page will show."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    async def get(self, path: str, **query: str) -> Any:
        headers = {"Authorization": f"Bearer {operators_token()}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{self._base_url}{API}{path}", params=query) as response,
        ):
            assert response.status == 200, await response.text()
            return await response.json()

    async def post(self, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {operators_token()}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{self._base_url}{API}{path}", json=body) as response,
        ):
            assert response.status in (200, 201, 202), await response.text()
            return await response.json()

    async def event(self, event_id: str, *, status: str) -> Any:
        """Return an event once it has this status."""
        async with asyncio.timeout(60):
            while True:
                (found,) = (await self.get("/events", id=event_id))["events"]
                if found["status"] == status:
                    return found
                await asyncio.sleep(0.05)


@pytest.fixture(scope="session")
def api(operated: Site) -> Api:
    return Api(operated.base_url)


Operating = Callable[..., Awaitable[Visit]]


@pytest.fixture
async def operate(browser: Browser, operated: Site) -> AsyncIterator[Operating]:
    """A function that opens a view of the page, signed in; a fault in a page fails the test at its end."""
    visits: list[Visit] = []
    async with AsyncExitStack() as stack:

        async def open_view(path: str = "/ops", *, signed_in: bool = True, **options: Any) -> Visit:
            context = await stack.enter_async_context(browser_context(browser, locale="en-GB", **options))
            await context.add_init_script(WATCH_POLICY)
            if signed_in:
                token = operators_token()
                await context.add_init_script(f'sessionStorage.setItem("billing-operator-token", "{token}")')
            opened = Visit(context, await context.new_page())
            visits.append(opened)
            await opened.page.goto(f"{operated.base_url}{path}")
            if signed_in:
                await opened.page.locator("#connection[data-tone=good]").wait_for(timeout=30_000)
            return opened

        yield open_view
        for each in visits:
            each.check()
