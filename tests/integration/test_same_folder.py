"""The README's commands in several terminals of one folder, without configured servers."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from tests.commands import started
from tests.integration.processes import ended, environment_of, post, running, state_at, subscription_event
from tests.patience import PATIENCE
from tests.postgres import server_folder

from billing_embedded.loopback import free_port

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


@pytest.fixture
def folder() -> Iterator[Path]:
    with server_folder() as path:
        yield path


async def test_commands_beside_a_server_use_its_local_servers(folder: Path) -> None:
    """They need no `billing embedded start`, and what outlives the server keeps them running."""
    environment = {**environment_of("", ""), "BILLING_PUBLISH_POLL_SECONDS": "0.2"}
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    async with running("serve", environment=environment, ready=f"{base}/readyz", folder=folder) as server:
        async with aiohttp.ClientSession() as session:
            assert (await post(session, base, subscription_event(1)))[0] == 202
            await state_at(session, base, 1)
        listed = await ended("events", "list", "--json", environment=environment, folder=folder)
        assert (listed.status, listed.errors) == (0, "")
        assert [each["event_id"] for each in json.loads(listed.output)["events"]] == ["evt_1"]
        explained = await ended("explain", "acme", environment=environment, folder=folder)
        assert (explained.status, explained.errors) == (0, "")
        assert "acme: access full" in explained.output
        sent = await ended("events", "send-test", "--json", environment=environment, folder=folder)
        assert (sent.status, sent.errors) == (0, "")
        started, ended_ = json.loads(sent.output)["messages"]
        assert (started["sequence"] + 1, started["event_type"]) == (ended_["sequence"], "subscription.created")
        assert started["streamed_ms"] >= started["accepted_ms"] > 0
        shown = await ended("tenants", "show", "billing-test", "--json", environment=environment, folder=folder)
        assert json.loads(shown.output)["access"]["state"] == "blocked"
        replay = await ended("events", "replay", "--id", "evt_1", environment=environment, folder=folder)
        assert (replay.status, "confirmed the state" in replay.output) == (0, True)
        server.send_signal(signal.SIGTERM)
        assert await server.wait() == 0
    assert (await ended("embedded", "status", environment=environment, folder=folder)).status == 1
    again = await ended("events", "list", environment=environment, folder=folder)
    assert (again.status, "evt_1" in again.output) == (0, True)


async def test_a_server_says_what_it_does_while_it_starts(folder: Path) -> None:
    """With billing off, also that webhooks are refused, and how to switch it on."""
    port = str(free_port())
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "BILLING_PORT": port}
    process = await started("serve", environment=environment, folder=folder, captured=(2,))
    lines: list[dict[str, str]] = []
    try:
        async with asyncio.timeout(PATIENCE):
            while not lines or lines[-1]["event"] != "server.started":
                lines.append(json.loads(await process.stderr.readline()))
    finally:
        process.terminate()
        await process.communicate()
    steps = [line["doing"] for line in lines if line["event"] == "start.step"]
    assert [step.split(maxsplit=1)[0] for step in steps] == ["checks", "starts", "checks"]
    (off,) = (line for line in lines if line["event"] == "billing.disabled")
    assert "webhooks are refused" in off["reason"]
    assert "ENABLE_BILLING=true" in off["remedy"]
