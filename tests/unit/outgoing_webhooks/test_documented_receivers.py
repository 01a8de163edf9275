"""The receivers of docs/billing/consumers.md, run as they are printed there."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.programs import find_program
from tests.unit.outgoing_webhooks.receiver import LOOPBACK, receiving, secret, webhook

from billing_core.outgoing.values import SigningSecret
from billing_memory.clock import SystemClock
from billing_webhooks.sender import HttpWebhookSender, SenderPolicy

PAGE = (Path(__file__).parents[3] / "docs" / "billing" / "consumers.md").read_text(encoding="utf-8")
MINE, OTHER = secret(), secret()


def printed(language: str) -> str:
    """Return the receiver that the page shows in a language."""
    (section,) = re.findall(r"^### Verify a signature$(.*?)^### ", PAGE, re.MULTILINE | re.DOTALL)
    (code,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return str(code)


async def sent_by(*secrets: SigningSecret) -> tuple[Mapping[str, str], bytes]:
    """Return the headers and the body of a webhook that was really sent."""
    async with (
        receiving() as receiver,
        HttpWebhookSender.open(SystemClock(), SenderPolicy(allowed_networks=LOOPBACK)) as sender,
    ):
        await sender.send(receiver.url(), webhook(), secrets)
    ((headers, body),) = receiver.requests
    return headers, body


@pytest.mark.parametrize(("secrets", "status"), [((MINE,), 204), ((OTHER, MINE), 204), ((OTHER,), 401)])
async def test_the_receiver_in_python(secrets: tuple[SigningSecret, ...], status: int) -> None:
    """It handles what we send, also during a rotation, and refuses what is signed otherwise."""
    handled: list[tuple[str, str, object]] = []
    names: dict[str, Any] = {"SECRET": MINE.text, "handle": lambda *given: handled.append(given)}
    exec(compile(printed("python"), "receiver.py", "exec"), names)
    receive: Callable[[web.Request], Any] = names["receive"]
    async with (
        receiving() as receiver,
        HttpWebhookSender.open(SystemClock(), SenderPolicy(allowed_networks=LOOPBACK)) as sender,
    ):
        receiver.answer = receive
        delivery = await sender.send(receiver.url(), webhook(), secrets)
    assert delivery.status == status
    expected = [("first:acme:7", "subscription.activated", {"sequence": 7})] if status == 204 else []
    assert handled == expected


@pytest.mark.parametrize(
    ("secrets", "headers", "answer"),
    [
        ((MINE,), {}, "subscription.activated"),
        ((OTHER, MINE), {}, "subscription.activated"),
        ((OTHER,), {}, "bad signature"),
        ((MINE,), {"webhook-id": "first:acme:8"}, "bad signature"),
        ((MINE,), {"webhook-signature": "v1,"}, "bad signature"),
        ((MINE,), {"webhook-timestamp": "1600000000"}, "too old, or too new"),
        ((MINE,), {"webhook-timestamp": "soon"}, "too old, or too new"),
    ],
)
async def test_the_receiver_in_node(
    tmp_path: Path, secrets: tuple[SigningSecret, ...], headers: Mapping[str, str], answer: str
) -> None:
    """It verifies what we send, also during a rotation, and refuses anything else."""
    sent, body = await sent_by(*secrets)
    program = tmp_path / "receiver.mjs"
    program.write_text(
        f"const SECRET = {json.dumps(MINE.text)};\n{printed('js')}\n"
        "const [headers, body] = JSON.parse(process.argv[2]);\n"
        "try { console.log(verify(body, headers).type); } catch (error) { console.log(error.message); }\n",
        encoding="utf-8",
    )
    process = await asyncio.create_subprocess_exec(
        *(find_program("node"), str(program), json.dumps([{**sent, **headers}, body.decode()])),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert output.decode().strip() == answer
