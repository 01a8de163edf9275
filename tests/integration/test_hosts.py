"""The applications of examples/, run from the built wheel in an environment of their own, on real servers.

What they do is what docs/embedding.md says: the page is made from them. And an adapter of one's own, as docs/ports.md
shows it, in another environment with the same wheel.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from tests.documented import blocks
from tests.hosts import (
    HostEnvironment,
    RunningHost,
    alone,
    build_host_environment,
    first_event,
    make_environment,
    running_host,
)
from tests.integration.processes import WEBHOOK_SECRET, subscription_event
from tests.newcomer import NOTHING_MATCHED, follow
from tests.patience import PATIENCE

from billing_embedded.loopback import free_port
from billing_stripe.testing import sign

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.timeout(900)]  # the first one builds and installs

T = TypeVar("T")
ACME = {"X-Tenant": "acme"}
UVICORN = ("-m", "uvicorn", "--timeout-graceful-shutdown", "2", "--port")
HOSTS = {
    "fastapi": (*UVICORN, "{port}", "fastapi_host:app"),
    "django": (*UVICORN, "{port}", "django_host:application"),
    "aiohttp": ("aiohttp_host.py", "{port}"),
}
PLANS = """
[plans.pro]
match = { lookup_keys = ["pro"] }
features = { exports = true }
"""
RECEIVE = """
import sys
from billing_app import open_billing_sync

with open_billing_sync() as billing:
    print(billing.answer_webhook(sys.argv[1].encode(), sys.argv[2]).status)
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> HostEnvironment:
    """Build the wheel and its environment, once."""
    return build_host_environment(tmp_path_factory.mktemp("hosts"))


@pytest.fixture
def settings(environment: dict[str, str], tmp_path: Path) -> Mapping[str, str]:
    """Settings of an application that sells a plan with exports."""
    rules = tmp_path / "billing.toml"
    rules.write_text(PLANS, encoding="utf-8")
    patient = {"BILLING_DB_ACQUIRE_TIMEOUT_SECONDS": "60"}  # on a busy machine, Postgres may take seconds to connect
    return environment | {"BILLING_CONFIG": str(rules)} | patient


@pytest.fixture
def signature() -> str:
    """The signature of the event that the tests send."""
    return sign(subscription_event(1), WEBHOOK_SECRET, datetime.now(UTC))


@pytest.fixture
def url() -> str:
    """An address that is free."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.mark.parametrize("name", HOSTS)
async def test_an_application_with_billing(
    built: HostEnvironment, settings: Mapping[str, str], url: str, signature: str, name: str
) -> None:
    """A webhook opens a feature, runs the hook and reaches a stream; at SIGTERM everything ends in order."""
    command = [each.format(port=url.rpartition(":")[2]) for each in HOSTS[name]]
    async with (
        running_host(built, *command, environment=settings, url=url, ready="/exports") as host,
        aiohttp.ClientSession() as session,
    ):
        assert await exports(session, url) is None
        assert await post(session, url, b"{}", "t=1,v1=00") == (400, "bad_webhook")
        body = subscription_event(1)
        assert await post(session, url, body, signature) == (202, "accepted")
        assert await post(session, url, body, signature) == (202, "duplicate")
        event = await first_event(session, f"{url}/billing/stream", ACME | {"Last-Event-ID": "0"})
        assert (event["id"], json.loads(event["data"])["tenant_id"]) == ("1", "acme")
        assert await until(exports, session, url) == 200
        async with session.get(f"{url}/billing/stream", headers=ACME | {"Last-Event-ID": "one"}) as response:
            assert response.status == 400
        await host.written("mail to acme: ")
        await end(host, session, url)


async def test_the_readme_runs_from_the_wheel(
    built: HostEnvironment, settings: Mapping[str, str], tmp_path: Path
) -> None:
    """With servers of one's own in place of the local ones."""
    environment = alone(settings) | {"BILLING_PORT": str(free_port()), "STRIPE_FETCH": "false"}
    statuses = {**NOTHING_MATCHED, "doctor": 1}  # the Postgres of the tests writes without fsync
    program = str(built.python)
    shown = await follow(
        "Run it", environment=environment, folder=tmp_path, columns=80, program=program, statuses=statuses
    )
    assert any("message 1 on the stream of billing-test" in each for each in shown)


async def end(host: RunningHost, session: aiohttp.ClientSession, url: str) -> None:
    """End an application while a stream is open."""
    async with session.get(f"{url}/billing/stream", headers=ACME) as response:
        await response.content.readline()
        await host.stop()
    log = "\n".join(host.lines)
    assert "Application shutdown complete" in log or host.process.returncode == 0, log


async def exports(session: aiohttp.ClientSession, url: str) -> int | None:
    """Return 200 once the tenant may export."""
    async with session.get(f"{url}/exports", headers=ACME) as response:
        return 200 if response.status == 200 else None


async def applied(built: HostEnvironment, settings: Mapping[str, str]) -> str | None:
    """Return what the script says once the tenant has its plan."""
    said = await asyncio.to_thread(built.ask, "celery_style.py", settings, "acme")
    return said if "pro (active)" in said else None


async def until(look: Callable[..., Awaitable[T | None]], *arguments: Any) -> T:
    """Look again until there is something."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await look(*arguments)
            if found is not None:
                return found
            await asyncio.sleep(0.05)


async def post(session: aiohttp.ClientSession, url: str, body: bytes, signature: str) -> tuple[int, str]:
    """Send a webhook, and return status and result or code of the answer."""
    headers = {"Stripe-Signature": signature}
    async with session.post(f"{url}/webhooks/stripe", data=body, headers=headers) as response:
        answer = await response.json()
        return response.status, answer["error"]["code"] if "error" in answer else answer["status"]


async def test_synchronous_code_with_billing(
    built: HostEnvironment, settings: Mapping[str, str], signature: str
) -> None:
    """A script asks without an event loop, before and after a worker has processed what another process received."""
    before = await asyncio.to_thread(built.ask, "celery_style.py", settings, "acme")
    assert before.splitlines() == ["acme: no plan, access blocked, 0 messages", "not exported: access_blocked"]
    received = await asyncio.to_thread(built.run, RECEIVE, settings, subscription_event(1).decode(), signature)
    assert received.strip() == "202"
    async with running_host(built, "celery_style.py", "worker", environment=settings) as worker:
        await worker.written("book for acme: ")
        await until(applied, built, settings)
        await worker.stop()
        assert worker.process.returncode == 0, worker.lines
    after = await asyncio.to_thread(built.ask, "celery_style.py", settings, "acme")
    assert after.splitlines() == ["acme: pro (active), access full, 1 messages", "exported acme"]


async def test_an_application_does_not_start_with_faulty_settings(
    built: HostEnvironment, settings: Mapping[str, str], url: str
) -> None:
    """ENABLE_BILLING=true without Stripe's settings: all faults are listed, each with its part of the documentation."""
    command = [each.format(port=url.rpartition(":")[2]) for each in HOSTS["fastapi"]]
    missing = ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "BILLING_JWT_SECRET")
    without = {key: value for key, value in settings.items() if key not in missing}
    async with running_host(built, *command, environment=without) as host, asyncio.timeout(PATIENCE):
        await host.process.wait()
    log = "\n".join(host.lines)
    assert host.process.returncode != 0
    for variable in missing:
        assert f"{variable} is required when ENABLE_BILLING is true" in log
    assert log.count("See docs/billing/stripe-setup.md#") >= len(missing)


async def test_an_application_starts_with_billing_switched_off(
    built: HostEnvironment, url: str, tmp_path: Path
) -> None:
    """It needs no setting and no server, and answers webhooks 404."""
    command = [each.format(port=url.rpartition(":")[2]) for each in HOSTS["fastapi"]]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    async with (
        running_host(built, *command, environment=environment, url=url, ready="/docs"),
        aiohttp.ClientSession() as session,
    ):
        assert await post(session, url, b"{}", "t=1,v1=00") == (404, "billing_disabled")


def test_an_adapter_of_ones_own_is_tested_by_the_contract(built: HostEnvironment, tmp_path: Path) -> None:
    """As docs/ports.md shows it: with the extra `testing` alone, and without any settings of pytest."""
    (test,) = [each.text for each in blocks() if each.page == "docs/ports.md" and each.language == "python"]
    python = make_environment(tmp_path / "venv", f"{built.wheel}[testing]")
    folder = tmp_path / "project"
    folder.mkdir()

    def run(text: str) -> tuple[str, bool]:
        """Return what pytest prints, and whether every test passed."""
        (folder / "test_usage_table.py").write_text(text, encoding="utf-8")
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(command, cwd=folder, env=alone(os.environ), capture_output=True, text=True, check=False)
        return done.stdout + done.stderr, done.returncode == 0

    printed, passed = run(test)
    assert passed, printed
    assert "4 passed" in printed
    assert "skipped" not in printed
    assert not run(test.replace("and at in window", ""))[1]
