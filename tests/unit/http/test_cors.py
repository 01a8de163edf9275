"""Pages of other origins: listed ones may read, all others get no CORS headers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from billing_app.settings import ServerSettings, Settings, SettingsError

if TYPE_CHECKING:
    from tests.unit.http.conftest import MakeWorld, World

APP = "https://app.example.com"
STATE = "/api/v1/billing/tenants/acme/state"
STREAM = "/api/v1/billing/stream"


@pytest.fixture
async def open_world(make_world: MakeWorld) -> AsyncIterator[World]:
    """A server that allows pages of one origin."""
    async with make_world(server=ServerSettings(cors_origins=(APP,))).serving() as running:
        yield running


@pytest.mark.parametrize("path", [STATE, STREAM])
async def test_a_listed_origin_is_named(open_world: World, http: aiohttp.ClientSession, path: str) -> None:
    """By its own name, never `*`, and without cookies; caches keep the responses per origin."""
    headers = {**open_world.bearer(), "Origin": APP}
    async with http.get(open_world.url + path, headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == APP
        assert answer.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_a_page_can_read_why_it_was_refused(open_world: World, http: aiohttp.ClientSession) -> None:
    """A 401 that the browser hides looks like a network failure."""
    async with http.get(open_world.url + STATE, headers={"Origin": APP}) as answer:
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (401, APP)


async def test_a_preflight_is_answered(open_world: World, http: aiohttp.ClientSession) -> None:
    """It allows the headers that billing-stream.js sends."""
    headers = {"Origin": APP, "Access-Control-Request-Method": "GET"}
    async with http.options(open_world.url + STREAM, headers=headers) as answer:
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, APP)
        allowed = answer.headers["Access-Control-Allow-Headers"]
        assert {"Authorization", "Last-Event-ID"} <= {name.strip() for name in allowed.split(",")}


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "https://app.example.com.evil.example", "null", "http://app.example.com", "*"]
)
async def test_other_origins_get_no_cors_headers(open_world: World, http: aiohttp.ClientSession, origin: str) -> None:
    """Neither in a response nor in a preflight."""
    async with http.get(open_world.url + STATE, headers={**open_world.bearer(), "Origin": origin}) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers
    preflight = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    async with http.options(open_world.url + STATE, headers=preflight) as answer:
        assert answer.status == 405
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_without_a_list_no_origin_is_named(world: World, http: aiohttp.ClientSession) -> None:
    """CORS headers are sent only if origins are configured."""
    async with http.get(world.url + STATE, headers={**world.bearer(), "Origin": APP}) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_only_the_api_is_open_to_other_origins(open_world: World, http: aiohttp.ClientSession) -> None:
    """Metrics, for example, are not."""
    async with http.get(open_world.url + "/metrics", headers={"Origin": APP}) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("origins", ["*", "app.example.com", "https://app.example.com/", "https://a.b, *"])
def test_an_invalid_origin_is_refused_at_startup(tmp_path: Path, origins: str) -> None:
    """A wildcard would let any page read with a stolen token."""
    with pytest.raises(SettingsError, match="BILLING_CORS_ORIGINS"):
        Settings.load({"BILLING_CORS_ORIGINS": origins}, tmp_path / "none")
