"""Entitlements over HTTP: for hosts in other languages, and for the Activity page."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
import pytest
from jsonschema import Draft202012Validator

from billing_app import payload_schema
from billing_app.settings import CatalogSettings
from billing_core.errors import StoreUnavailableError
from billing_core.model import InvoiceId, Period, Plan, PlanFeature, TenantId, TenantState
from billing_core.state.ports import Changes
from billing_core.testing.builders import ACME, GLOBEX, invoice, item, subscription, usage
from billing_memory.state.repository import MemoryRepository

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.unit.http.conftest import MakeWorld, World

BASE = "/api/v1/billing/tenants"
FEATURES = (
    PlanFeature(key="exports"),
    PlanFeature(key="projects", limit=5),
    PlanFeature(key="api_calls", metered=True, included=1000),
)
PLANS = (attrs.evolve(Plan.of_prices("pro", base=["price_pro"]), features=FEATURES),)


@pytest.fixture
async def shop(make_world: MakeWorld) -> AsyncIterator[World]:
    """A server with a catalog, and a tenant with a subscription."""
    async with make_world(catalog=CatalogSettings(plans=PLANS)).serving() as world:
        running = Period(start=world.clock.now() - timedelta(days=1), end=world.clock.now() + timedelta(days=29))
        async with world.repository.transaction() as transaction:
            await transaction.lock_tenants([ACME])
            await transaction.save(
                Changes(
                    subscriptions=[subscription(items=(item(period=running),))],
                    invoices=[invoice()],
                    usage={InvoiceId("in_1"): [usage(quantity="250.5", period=running)]},
                )
            )
        yield world


async def ask(world: World, http: aiohttp.ClientSession, path: str = "", **query: str) -> dict[str, Any]:
    url = f"{world.url}{BASE}/acme/entitlements{path}"
    async with http.get(url, headers=world.bearer(), params=query) as response:
        assert response.status == 200, await response.text()
        found: dict[str, Any] = await response.json()
    name = "EntitlementPayload" if path else "EntitlementsPayload"
    Draft202012Validator({**payload_schema.schema(), "$ref": f"#/$defs/{name}"}).validate(found)
    return found


async def test_all_features_of_a_tenant(shop: World, http: aiohttp.ClientSession) -> None:
    """With the access and the position that they are as of."""
    found = await ask(shop, http)
    state = await shop.container.tenant_reader().state(ACME)
    assert (found["tenant_id"], found["sequence"]) == ("acme", state.sequence)
    assert found["access"] == {"state": "full", "reason": "active", "until": None}
    assert found["freshness"] in ("live", "polled")
    shown = {each["feature"]: (each["allowed"], each["limit"], each["remaining"]) for each in found["features"]}
    assert shown == {"exports": (True, None, None), "projects": (True, 5, 5), "api_calls": (True, 1000, 749)}
    assert (found["features"][0]["used"], found["features"][0]["used_decimal"]) == (251, "250.5")


@pytest.mark.parametrize(
    ("path", "query", "allowed", "reason"),
    [
        ("/exports", {}, True, "included"),
        ("/projects", {"used": "4"}, True, "included"),
        ("/projects", {"used": "5"}, False, "limit_reached"),
        ("/projects", {"quantity": "6"}, False, "limit_reached"),
        ("/projects", {"used": "9", "quantity": "0"}, True, "included"),
        ("/sso", {}, False, "unknown_feature"),
        ("/a%2Fb%00", {}, False, "unknown_feature"),
    ],
)
async def test_one_feature(
    shop: World, http: aiohttp.ClientSession, path: str, query: dict[str, str], allowed: bool, reason: str
) -> None:
    """With the amount that is asked for, and the caller's own count; a feature that does not exist is refused."""
    found = (await ask(shop, http, path, **query))["entitlement"]
    assert (found["allowed"], found["reason"]) == (allowed, reason)


@pytest.mark.parametrize("query", [{"quantity": "-1"}, {"quantity": "1.5"}, {"used": "many"}, {"used": ""}])
async def test_an_amount_that_is_no_whole_number_is_refused(
    shop: World, http: aiohttp.ClientSession, query: dict[str, str]
) -> None:
    """The message names the parameter."""
    url = f"{shop.url}{BASE}/acme/entitlements/projects"
    async with http.get(url, headers=shop.bearer(), params=query) as response:
        assert response.status == 400
        assert (await response.json())["error"]["code"] == "bad_parameter"


@pytest.mark.parametrize("path", ["", "/exports"])
async def test_a_tenant_sees_only_its_own(shop: World, http: aiohttp.ClientSession, path: str) -> None:
    """Another tenant's token is refused, and so is no token."""
    url = f"{shop.url}{BASE}/acme/entitlements{path}"
    async with http.get(url, headers=shop.bearer(GLOBEX)) as response:
        assert response.status == 403
    async with http.get(url) as response:
        assert response.status == 401


class Unavailable(MemoryRepository):
    """A repository whose state cannot be read."""

    async def state(self, tenant_id: TenantId) -> TenantState:
        raise StoreUnavailableError("state")


async def test_an_unknown_tenant_without_a_database_is_unavailable(
    make_world: MakeWorld, http: aiohttp.ClientSession
) -> None:
    """Nothing is known that could answer."""
    world = make_world()
    world.replace(tenant_reader=Unavailable(world.database, world.clock))
    async with world.serving(), http.get(f"{world.url}{BASE}/acme/entitlements", headers=world.bearer()) as response:
        assert response.status == 503
        assert response.headers["Retry-After"]
