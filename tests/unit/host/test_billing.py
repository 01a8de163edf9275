"""`open_billing`: the whole loop inside an application, here in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.host.conftest import PLANS, signed, subscription_event

from billing_app import Billing, BillingDisabledError, NotOpenError, Settings, open_billing
from billing_app.errors import StartRefusedError
from billing_core.errors import ConfigurationError, SignatureVerificationError, WebhookBodyTooLargeError
from billing_core.events import ReceiptStatus
from billing_core.model import AccessState


async def test_a_webhook_becomes_state_access_and_a_message(billing: Billing) -> None:
    """The story of an application: a webhook arrives, and everything that it asks afterwards knows it."""
    receipt = await billing.receive(*signed(subscription_event(1)))
    assert receipt.status is ReceiptStatus.ACCEPTED
    assert await billing.process_due() == 1
    state = await billing.state("acme")
    assert [(one.status, one.plan_code, one.seat_count) for one in state.subscriptions] == [("active", "pro", 1)]
    assert (await billing.access("acme")).state is AccessState.FULL
    assert (await billing.access("globex")).state is AccessState.BLOCKED
    messages = billing.stream("acme", after="0")
    assert (await anext(messages)).sequence == 1
    await messages.aclose()


async def test_features_are_those_of_the_plan(tmp_path: Path) -> None:
    """A tenant without one may not use them; the verdict is true or false by itself."""
    rules = tmp_path / "billing.toml"
    rules.write_text(
        '[plans.pro]\nmatch = { lookup_keys = ["pro"] }\nfeatures = { exports = true, projects = 50 }\n',
        encoding="utf-8",
    )
    async with open_billing(Settings.for_tests({"BILLING_CONFIG": str(rules)})) as billing:
        assert not await billing.allows("acme", "exports")
        await billing.receive(*signed(subscription_event(1)))
        await billing.process_due()
        verdict = await billing.allows("acme", "exports")
        assert verdict
        assert verdict.access.state is AccessState.FULL
        assert await billing.remaining("acme", "projects", used=48) == 2
        assert not await billing.allows("acme", "projects", 3, used=48)
        assert (await billing.entitlements("acme")).sequence == 1


async def test_a_worker_processes_what_arrives(billing: Billing) -> None:
    """Beside the application, without a call, until the end of the block."""
    messages = billing.stream("acme", after="0")
    async with billing.working():
        await billing.receive(*signed(subscription_event(1)))
        assert (await anext(messages)).sequence == 1
    await billing.receive(*signed(subscription_event(2)))
    await asyncio.sleep(0.05)
    assert (await billing.state("acme")).sequence == 1
    assert await billing.process_due() == 1
    assert (await anext(messages)).sequence == 2


async def test_a_worker_can_run_again(billing: Billing) -> None:
    """Its loops end for good, so everything is opened again; a stream that is open continues."""
    messages = billing.stream("acme", after="0")
    for number in (1, 2, 3):
        async with billing.working():
            await billing.receive(*signed(subscription_event(number)))
            assert (await anext(messages)).sequence == number


async def test_two_workers_at_a_time_are_a_mistake(billing: Billing) -> None:
    """One process needs one; `concurrency` is its size."""
    async with billing.working():
        with pytest.raises(RuntimeError, match="runs already"):
            async with billing.working():
                pass


async def test_a_worker_runs_until_billing_closes() -> None:
    """As a task of an application."""
    async with open_billing(Settings.for_tests(PLANS)) as billing:
        worker = asyncio.create_task(billing.run_worker())
        messages = billing.stream("acme", after="0")
        await billing.receive(*signed(subscription_event(1)))
        assert (await anext(messages)).sequence == 1
    await worker


async def test_a_worker_that_is_canceled_ends(billing: Billing) -> None:
    """And billing stays open."""
    worker = asyncio.create_task(billing.run_worker())
    await asyncio.sleep(0.01)
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker
    assert (await billing.state("acme")).sequence == 0


# --- webhooks -------------------------------------------------------------------------------------------------------


async def test_answers_are_those_of_the_server(billing: Billing) -> None:
    """202 for what is stored, now or before; the parts are in the order in which frameworks take them."""
    for status in ("accepted", "duplicate"):
        body, code, headers = await billing.answer_webhook(*signed(subscription_event(1)))
        assert (code, json.loads(body)) == (202, {"status": status, "event_id": "evt_acme_1"})
        assert headers["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("signature", [None, "", "t=1,v1=00"])
async def test_a_bad_signature_is_answered_400(billing: Billing, signature: str | None) -> None:
    """Also where the header is missing; the answer says nothing more."""
    answer = await billing.answer_webhook(subscription_event(1), signature, address="192.0.2.1")
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (400, "bad_webhook")
    with pytest.raises(SignatureVerificationError):
        await billing.receive(subscription_event(1), signature or "")
    assert await billing.process_due() == 0


async def test_a_body_is_read_up_to_the_limit() -> None:
    """However long it is, and whether it comes at once or in pieces: 413, and the rest is not read."""
    settings = Settings.for_tests({"BILLING_BODY_LIMIT_BYTES": "1024"})
    read = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 512

    async with open_billing(settings) as billing:
        for body in (pieces(), b"x" * 1025):
            answer = await billing.answer_webhook(body, "t=1,v1=00")
            assert (answer.status, json.loads(answer.body)["error"]["code"]) == (413, "too_large")
        with pytest.raises(WebhookBodyTooLargeError):
            await billing.receive(b"x" * 1025, "t=1,v1=00")
    assert read == 3


async def test_a_body_in_pieces_is_put_together(billing: Billing) -> None:
    """As frameworks hand out the stream of a request."""
    body, signature = signed(subscription_event(1))

    async def pieces() -> AsyncIterator[bytes]:
        yield body[:10]
        yield body[10:]

    assert (await billing.answer_webhook(pieces(), signature)).status == 202


async def test_a_body_that_does_not_end_is_answered_408() -> None:
    """After the time that the settings give it."""
    settings = Settings.for_tests({"BILLING_READ_TIMEOUT_SECONDS": "0.05"})

    async def pieces() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    async with open_billing(settings) as billing:
        assert (await billing.answer_webhook(pieces(), "t=1,v1=00")).status == 408


async def test_refused_webhooks_are_counted(billing: Billing) -> None:
    """By reason, among the metrics of the process."""
    await billing.answer_webhook(b"{}", None)
    text, content_type = billing.metrics()
    assert b'stripe_webhook_events_total{event_type="unknown",result="bad_signature"} 1.0' in text
    assert content_type.startswith("text/plain")


# --- opening and closing --------------------------------------------------------------------------------------------


async def test_nothing_can_be_asked_before_it_is_open() -> None:
    """The error says where to open it."""
    billing = open_billing(Settings.for_tests())
    for ask in (billing.state("acme"), billing.answer_webhook(b"", None), billing.process_due()):
        with pytest.raises(NotOpenError, match="async with"):
            await ask


async def test_it_can_be_opened_again() -> None:
    """One module holds it, and each test of an application opens it; in memory each time empty."""
    billing = open_billing(Settings.for_tests(PLANS))
    for _ in range(2):
        async with billing:
            await billing.receive(*signed(subscription_event(1)))
            assert await billing.process_due() == 1
        with pytest.raises(NotOpenError):
            await billing.state("acme")
    async with billing:
        with pytest.raises(RuntimeError, match="open already"):
            await billing.__aenter__()


async def test_an_opening_that_fails_lists_every_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the section of the documentation for each: the start-up of an application fails by it."""
    for name in ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "BILLING_JWT_SECRET", "BILLING_JWT_JWKS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ENABLE_BILLING", "true")
    billing = open_billing()
    with pytest.raises(StartRefusedError) as caught:
        async with billing:
            pytest.fail("it opened")
    text = str(caught.value)
    assert "because of 3 faults" in text
    for name in ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "BILLING_JWT_SECRET"):
        (line,) = (line for line in text.splitlines() if line.startswith(f"  - {name} "))
        assert "docs/billing/stripe-setup.md#" in line


async def test_switched_off_it_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application starts without any setting or server: webhooks are answered 404, all else says why not."""
    monkeypatch.setenv("ENABLE_BILLING", "false")
    async with open_billing() as billing, billing.working():
        assert not billing.enabled
        assert (await billing.answer_webhook(b"{}", None)).status == 404
        assert (await billing.ready()).ready
        with pytest.raises(BillingDisabledError, match="ENABLE_BILLING=true"):
            await billing.state("acme")
        with pytest.raises(ConfigurationError, match="nothing to process"):
            await billing.run_worker()


async def test_it_is_ready_when_its_database_answers(billing: Billing) -> None:
    """As the readiness route of the server."""
    assert (await billing.ready()).checks == {"database": "ok", "schema": "ok"}


async def test_operations_say_when_stripe_cannot_be_called(billing: Billing) -> None:
    """With the settings to change."""
    with pytest.raises(ConfigurationError, match="STRIPE_FETCH"):
        _ = billing.operations
