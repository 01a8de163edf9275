"""The customer of the demo, against a server that a test plays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from billing_demo.customer import DemoCustomer, open_stripe

SECRET_KEY = "sk_test_demo"


async def visit(answers: Sequence[tuple[int, dict[str, Any]]]) -> tuple[list[str], int, list[str]]:
    """Let a customer visit a server that gives these answers, and then refuses; return what it found, and its keys."""
    left, keys = list(answers), []

    async def answer(request: web.Request) -> web.Response:
        keys.append(request.headers["Idempotency-Key"])
        status, content = left.pop(0) if left else (422, {"code": "unknown_plan"})
        return web.json_response(content, status=status)

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as session,
        open_stripe(SECRET_KEY) as stripe,
    ):
        customer = DemoCustomer(
            session=session,
            base_url=str(server.make_url("")).rstrip("/"),
            tenant_id="acme",
            token=lambda tenant_id: f"token of {tenant_id}",
            stripe=stripe,
        )
        await customer.visit()
        return await customer.differences(), customer.operations, keys


async def test_a_request_is_repeated_with_its_key_while_an_answer_may_still_come() -> None:
    """The operation is carried out once."""
    unavailable, conflict = (503, {"code": "unavailable"}), (409, {"code": "conflict", "retryable": True})
    (difference,), operations, keys = await visit([unavailable, conflict, (422, {"code": "no_seats"})])
    assert keys == ["acme-0"] * 3
    assert (operations, difference) == (0, "acme operation 1: setup-intent {'code': 'no_seats'}")


async def test_a_refusal_is_a_difference() -> None:
    """Asking again would not help. A subscription whose start was answered is known, also after a restart."""
    for status, code in ((409, "preview_outdated"), (404, "no_subscription")):
        (difference,), operations, keys = await visit([(status, {"code": code})])
        assert (operations, keys) == (0, ["acme-0"])
        assert difference == f"acme operation 1: setup-intent {{'code': '{code}'}}"
