"""Another history of the database, and a worker that fails: billing opens again by itself."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.patience import PATIENCE
from tests.unit.host.conftest import PLANS, signed, subscription_event

from billing_app import Billing, Settings, StreamResetError, open_billing
from billing_app.host.lifetime import Lifetime
from billing_core.errors import StoreUnavailableError
from billing_core.inbox.dispatch import Dispatcher


@pytest.fixture
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing_app.beside._EPOCH_EVERY", timedelta(milliseconds=5))


def lifetime_of(billing: Billing) -> Lifetime:
    """Return the part of billing that opens and closes."""
    lifetime = billing._lifetime
    assert lifetime is not None
    return lifetime


@pytest.mark.usefixtures("_look_often")
async def test_another_history_opens_everything_again() -> None:
    """Positions of the previous one ask for the state; a worker that runs goes on."""
    async with open_billing(Settings.for_tests(PLANS)) as billing, billing.working():
        messages = billing.stream("acme", after="0")
        await billing.receive(*signed(subscription_event(1)))
        assert (await anext(messages)).sequence == 1
        await lifetime_of(billing).opened.container.epochs().begin("restored from a backup")
        with pytest.raises(StreamResetError) as caught:
            await anext(messages)
        assert caught.value.position.startswith("1-")
        position = (await billing.state("acme")).position
        async with aclosing(billing.stream("acme", after=position)) as messages:
            await billing.receive(*signed(subscription_event(2)))
            assert (await anext(messages)).sequence == 2


async def test_while_it_opens_again_callers_may_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A webhook is answered 503, so that Stripe sends it again."""
    async with open_billing(Settings.for_tests(PLANS)) as billing:
        monkeypatch.setattr(lifetime_of(billing), "_opened", None)
        with pytest.raises(StoreUnavailableError, match="opened again"):
            await billing.state("acme")
        answer = await billing.answer_webhook(*signed(subscription_event(1)))
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")


async def test_a_worker_that_fails_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log says why; nothing that was received is lost."""
    run, failures = Dispatcher.run, iter([ValueError("a bug")])

    async def fail_once(self: Dispatcher, **options: Any) -> None:
        for failure in failures:
            raise failure
        await run(self, **options)

    monkeypatch.setattr(Dispatcher, "run", fail_once)
    with capture_logs() as logs:
        async with open_billing(Settings.for_tests(PLANS)) as billing:
            await billing.receive(*signed(subscription_event(1)))
            async with billing.working(), aclosing(billing.stream("acme", after="0")) as messages:
                assert (await anext(messages)).sequence == 1
    (line,) = [line for line in logs if line["event"] == "billing.failed"]
    assert line["log_level"] == "error"


async def test_an_opening_that_is_canceled_leaves_nothing_open() -> None:
    """The same object can be opened afterwards."""
    billing = open_billing(Settings.for_tests())
    opening = asyncio.create_task(billing.__aenter__())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with billing:
        assert (await billing.state("acme")).sequence == 0


async def test_an_application_is_on_the_list_of_processes() -> None:
    """With what it does at present: it processes events while it works."""
    async with open_billing(Settings.for_tests(PLANS)) as billing:
        container = lifetime_of(billing).opened.container

        async def processing() -> bool:
            await container.heartbeat().beat()
            (seen,) = await container.process_register().current()
            assert seen.process.kind == "application"
            return seen.process.processes_events

        assert not await processing()
        async with asyncio.timeout(PATIENCE), billing.working():
            while not await processing():  # noqa: ASYNC110 - the list has to be written again, too
                await asyncio.sleep(0)
        assert not await processing()
