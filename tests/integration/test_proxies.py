"""The stream behind proxies that compress: nginx with gzip, and node with `compression` as in express and Next.js."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import aiohttp
import attrs
import pytest
from tests.integration.deployment import SETTINGS, Deployment, serving
from tests.integration.processes import answers, bearer
from tests.patience import PATIENCE
from tests.programs import find_program, missing

from billing_app.container import Container, memory_adapters
from billing_app.http.tokens import issue_token
from billing_app.settings import StreamSettings
from billing_app.shutdown import ShutdownDeadline
from billing_app.worker import publishing
from billing_core.testing.builders import ACME
from billing_embedded.loopback import free_port

pytestmark = pytest.mark.stripe

FOLDER: Final = Path(__file__).parent / "proxies"
PROMPTLY: Final = 10.0
"""Seconds until which a frame must have arrived. A proxy that holds frames back does so for minutes."""


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with proxy.js and the packages that it needs, or skip the test."""
    folder = tmp_path_factory.mktemp("node")
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        subprocess.run(install, cwd=folder, check=True, capture_output=True)
    except (OSError, subprocess.SubprocessError) as exc:
        missing(f"npm could not install the packages of {FOLDER.name}/package.json: {exc}")
    return folder


@pytest.fixture
async def deployment() -> AsyncIterator[Deployment]:
    """A server whose streams stay silent between messages, so that nothing but a message can push a message on."""
    never = timedelta(hours=1)
    settings = attrs.evolve(SETTINGS, stream=StreamSettings(keepalive=never, max_life=never))
    container = Container(**memory_adapters(settings), settings=settings)
    running = Deployment(container)
    async with publishing(running.publisher, ShutdownDeadline(timedelta(seconds=10))), serving(container) as url:
        running.urls.append(url)
        yield running


@pytest.fixture(params=["nginx", "nginx behind nginx", "node"])
async def proxy(request: pytest.FixtureRequest, deployment: Deployment, tmp_path: Path) -> AsyncIterator[str]:
    """Start a proxy in front of the server and return its URL."""
    port, outer_port, (upstream,) = free_port(), free_port(), deployment.urls
    if request.param == "node":
        command = ["node", str(request.getfixturevalue("node_folder") / "proxy.js"), str(port), upstream]
    else:
        values = {"FOLDER": tmp_path, "OUTER_PORT": outer_port, "INNER_PORT": port, "UPSTREAM": upstream}
        text = (FOLDER / "nginx.conf").read_text(encoding="utf-8")
        for name, value in values.items():
            text = text.replace(name, str(value))
        (tmp_path / "nginx.conf").write_text(text, encoding="utf-8")
        command = [find_program("nginx"), "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]
        port = outer_port if request.param == "nginx behind nginx" else port
    async with listening(command, f"http://127.0.0.1:{port}") as url:
        yield url


@asynccontextmanager
async def listening(
    command: Sequence[str], url: str, *, connector: aiohttp.BaseConnector | None = None
) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(*command)
    try:
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.timeout(PATIENCE):
            while not await answers(session, f"{url}/healthz"):
                assert process.returncode is None, "the proxy ended instead of starting"
                await asyncio.sleep(0.05)
        yield url
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that accepts compressed answers, as browsers do."""
    token = issue_token(
        secret=SETTINGS.tokens.secrets[0],
        policy=SETTINGS.tokens,
        tenant_id=ACME,
        role="viewer",
        now=datetime.now(UTC),
        ttl=timedelta(hours=1),
    )
    headers = bearer(token) | {"Accept-Encoding": "gzip"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


async def test_each_message_arrives_before_the_next_is_written(
    proxy: str, deployment: Deployment, http: aiohttp.ClientSession
) -> None:
    """The headers, the opening frame and every message pass at once, although the proxy compresses other answers."""
    async with http.get(f"{proxy}/api/v1/billing/tenants/{ACME}/events") as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
    async with asyncio.timeout(PROMPTLY):
        stream = await http.get(f"{proxy}/api/v1/billing/stream")
    async with stream:
        assert await next_id(stream) == "0"
        for number in range(1, 6):
            await deployment.write(ACME, 1)
            assert await next_id(stream) == str(number)


@pytest.mark.parametrize("proxy", ["node"], indirect=True)
async def test_a_proxy_that_heeds_no_transform_does_not_compress(proxy: str, http: aiohttp.ClientSession) -> None:
    """It would hold messages back until its window is full; nginx compresses all the same, but message by message."""
    async with asyncio.timeout(PROMPTLY), http.get(f"{proxy}/api/v1/billing/stream") as stream:
        assert "Content-Encoding" not in stream.headers


async def next_id(stream: aiohttp.ClientResponse) -> str:
    """Return the id of the next frame."""
    async with asyncio.timeout(PROMPTLY):
        frame = await stream.content.readuntil(b"\n\n")
    return frame.decode().partition("id: ")[2].partition("\n")[0]
