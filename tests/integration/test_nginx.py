"""`ops/nginx/billing.conf` in front of servers, as Debian's nginx includes it: with compression on."""

from __future__ import annotations

import asyncio
import io
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import aiohttp
import attrs
import pytest
from tests.integration.deployment import SETTINGS, Deployment, serving
from tests.integration.processes import bearer, subscription_event
from tests.integration.test_proxies import PROMPTLY, listening, next_id
from tests.programs import find_program
from tests.tls import Authority

from billing_app.container import Container, memory_adapters
from billing_app.http.tokens import issue_token
from billing_app.settings import StreamSettings
from billing_app.shutdown import ShutdownDeadline
from billing_app.worker import publishing
from billing_core.testing.builders import ACME
from billing_embedded.loopback import free_port
from billing_stripe.testing import sign

pytestmark = pytest.mark.stripe

CONFIGURATION: Final = Path(__file__).parents[2] / "ops/nginx/billing.conf"
AROUND: Final = """
daemon off;
master_process off;
pid FOLDER/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    gzip on;
    gzip_types *;
    include FOLDER/billing.conf;
}
"""


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


@pytest.fixture
async def site(deployment: Deployment, tmp_path: Path) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """Start nginx in front of a server and of one that is not there; return its URL and a client that trusts it."""
    authority = Authority(tmp_path, "authority")
    chain = authority.certificate("billing.example.com")
    port, away = free_port(), free_port()
    text = CONFIGURATION.read_text(encoding="utf-8")
    for written, here in (
        ("server 127.0.0.1:8080", f"server 127.0.0.1:{away} weight=100"),  # asked first
        ("# server 127.0.0.1:8081", f"server {deployment.urls[0].removeprefix('http://')}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/billing.pem", str(chain)),
        ("/var/log/nginx/billing.log", str(tmp_path / "access.log")),
        ("allow 127.0.0.1;", "allow 127.0.0.2;"),
        ("/etc/ssl/private/billing.key", str(chain)),
    ):
        assert text.count(written) == 1
        text = text.replace(written, here)
    (tmp_path / "billing.conf").write_text(text, encoding="utf-8")
    (tmp_path / "nginx.conf").write_text(AROUND.replace("FOLDER", str(tmp_path)), encoding="utf-8")
    command = [find_program("nginx"), "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]
    trust = ssl.create_default_context(cafile=str(authority.file))
    trust.check_hostname = False  # the client connects to an address
    token = issue_token(
        secret=SETTINGS.tokens.secrets[0],
        policy=SETTINGS.tokens,
        tenant_id=ACME,
        role="viewer",
        now=datetime.now(UTC),
        ttl=timedelta(hours=1),
    )
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                headers=bearer(token) | {"Accept-Encoding": "gzip", "Host": "billing.example.com"},
                connector=aiohttp.TCPConnector(ssl=trust),
                timeout=aiohttp.ClientTimeout(total=60),
            )
        )
        address, connector = f"https://127.0.0.1:{port}", aiohttp.TCPConnector(ssl=trust)
        yield await stack.enter_async_context(listening(command, address, connector=connector)), session


async def test_a_message_arrives_before_the_next_is_written(
    site: tuple[str, aiohttp.ClientSession], deployment: Deployment
) -> None:
    """Nothing between server and client holds frames back, although other answers are compressed."""
    url, session = site
    async with session.get(f"{url}/api/v1/billing/tenants/{ACME}/events") as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
    async with asyncio.timeout(PROMPTLY):
        stream = await session.get(f"{url}/api/v1/billing/stream")
    async with stream:
        assert "Content-Encoding" not in stream.headers
        assert await next_id(stream) == "0"
        for number in range(1, 4):
            await deployment.write(ACME, 1)
            assert await next_id(stream) == str(number)


async def test_webhooks_reach_a_server_that_is_there(site: tuple[str, aiohttp.ClientSession]) -> None:
    """One server is away: every webhook is passed on to the other, with the bytes that were signed."""
    url, session = site
    for number in range(1, 6):
        body = subscription_event(number)
        headers = {"Stripe-Signature": sign(body, SETTINGS.stripe.webhook_secrets[0].reveal(), datetime.now(UTC))}
        async with session.post(f"{url}/webhooks/stripe", data=body, headers=headers) as answer:
            assert (answer.status, await answer.json()) == (202, {"status": "accepted", "event_id": f"evt_{number}"})


async def test_a_body_above_the_limit_is_refused(site: tuple[str, aiohttp.ClientSession]) -> None:
    """By nginx, at the limit that the server has by default."""
    url, session = site
    limit = SETTINGS.webhooks.body_limit
    assert re.search(r"client_max_body_size 2m;", CONFIGURATION.read_text(encoding="utf-8"))
    assert limit == 2 * 1024 * 1024
    async with session.post(f"{url}/webhooks/stripe", data=io.BytesIO(bytes(limit + 1))) as answer:
        assert (answer.status, answer.headers["Server"].partition("/")[0]) == (413, "nginx")


@pytest.mark.parametrize("path", ["/ops", "/ops/events/1", "/api/v1/billing/operator/live"])
async def test_operators_are_served_in_their_networks_only(site: tuple[str, aiohttp.ClientSession], path: str) -> None:
    """The only one of this test is 127.0.0.2."""
    url, session = site
    async with session.get(url + path) as answer:
        assert (answer.status, answer.headers["Server"].partition("/")[0]) == (403, "nginx")
    operators = aiohttp.TCPConnector(ssl=False, local_addr=("127.0.0.2", 0))
    async with aiohttp.ClientSession(connector=operators) as inside, inside.get(url + path) as answer:
        assert answer.status != 403


async def test_the_log_leaves_out_queries(site: tuple[str, aiohttp.ClientSession], tmp_path: Path) -> None:
    """One may hold a ticket."""
    url, session = site
    async with session.get(f"{url}/healthz?ticket=secret") as answer:
        assert answer.status == 200
    logged = tmp_path / "access.log"
    async with asyncio.timeout(PROMPTLY):
        while "/healthz" not in (text := logged.read_text(encoding="utf-8")):  # noqa: ASYNC110 - nginx does not say when
            await asyncio.sleep(0.05)
    assert "secret" not in text


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
async def test_paths_of_the_operators_are_not_there(site: tuple[str, aiohttp.ClientSession], path: str) -> None:
    """Metrics and the state of databases are for the orchestrator."""
    url, session = site
    async with session.get(url + path) as answer:
        assert answer.status == 404
