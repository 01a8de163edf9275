"""Stripe's own command line as a client of the fake: it forwards events, and triggers them by calls of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.integration.processes import environment_of, running, state_at
from tests.stripe_cli import StripeCli, create_subscription
from tests.stripe_openapi.checker import stripe_checker
from tests.stripe_openapi.differences import unexplained

from billing_core.events import Translation
from billing_stripe.signature import StripeWebhookVerifier
from billing_stripe.testing import encode, sign
from billing_stripe.testing.fake_stripe import Attempt, FakeStripe, fake_stripe
from billing_stripe.translate import EVENT_TYPES, StripeTranslator, reasons

SECRET_KEY = "sk_test_fake0123456789"
SECRET = "whsec_triggered"
NOT_OFFERED = frozenset(
    {
        "billing.alert.triggered",
        "billing.credit_grant.created",
        "billing.credit_grant.updated",
        "charge.dispute.funds_reinstated",
        "charge.dispute.funds_withdrawn",
        "customer.subscription.pending_update_applied",
        "customer.subscription.pending_update_expired",
        "customer.subscription.resumed",
        "entitlements.active_entitlement_summary.updated",
        "invoice.finalization_failed",
        "invoice.overdue",
        "invoice.overpaid",
        "invoice.payment_attempt_required",
        "invoice.upcoming",
        "invoice.will_be_due",
        "invoice_payment.paid",
        "payment_method.automatically_updated",
        "price.deleted",
        "refund.created",
        "refund.failed",
        "refund.updated",
        "test_helpers.test_clock.internal_failure",
    }
)
"""Event types of ours that `stripe trigger` does not make."""
NOT_TO_THE_FAKE = frozenset({"v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found"})
"""Event types whose triggers call Stripe's own host, whatever `--api-base` says."""
TRIGGERED = sorted({*EVENT_TYPES} - NOT_OFFERED - NOT_TO_THE_FAKE)
BEFORE_DURATIONS = "2025-08-27.basil"
"""The triggers of schedules have phases with `iterations`, which later versions refuse."""
NOT_CAUSED = frozenset(
    {"subscription_schedule.aborted", "subscription_schedule.completed", "subscription_schedule.expiring"}
)
"""Event types that do not follow from what their triggers do, by Stripe's documentation.

A schedule is aborted because of unpaid invoices, and expires seven days before its end, where the trigger stops nine
days before. The trigger of a completed one has no payment method: its subscription ends after two weeks of retries.
"""
LATER = timedelta(minutes=10)
"""Until then Stripe has done what it does by itself, such as confirming a bank debit."""


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    """A Stripe without objects."""
    async with fake_stripe(secret_key=SECRET_KEY) as running_fake:
        yield running_fake


@pytest.fixture
def cli(stripe_program: Path, fake: FakeStripe, tmp_path: Path) -> StripeCli:
    """The command line, with a key of the fake."""
    return StripeCli(stripe_program, home=tmp_path, api_base=fake.url, secret_key=SECRET_KEY)


async def attempts_of(fake: FakeStripe, count: int) -> list[Attempt]:
    """Wait for so many deliveries."""
    async with asyncio.timeout(20):
        while True:
            if len(fake.webhooks.attempts) >= count:
                return fake.webhooks.attempts
            await asyncio.sleep(0.02)


async def test_the_signing_secret_is_the_same_in_all_sessions_of_a_device(fake: FakeStripe, cli: StripeCli) -> None:
    """`stripe listen --print-secret` prints the secret that the next `stripe listen` signs with."""
    printed = (await cli.run("listen", "--print-secret")).strip()
    async with cli.listening(f"{fake.url}/nowhere") as secret:
        assert secret == printed


@pytest.mark.postgres
@pytest.mark.redis
async def test_listen_brings_events_to_the_server(
    fake: FakeStripe, cli: StripeCli, database_url: str, redis_url: str
) -> None:
    """Events of the fake reach the server through Stripe's own program: they are signed, accepted and applied."""
    secret = (await cli.run("listen", "--print-secret")).strip()
    environment = environment_of(database_url, redis_url) | {"STRIPE_WEBHOOK_SECRET": secret}
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    async with (
        running("serve", environment=environment, ready=f"{base}/readyz"),
        cli.listening(f"{base}/webhooks/stripe"),
        aiohttp.ClientSession() as session,
    ):
        create_subscription(fake)
        attempts = await attempts_of(fake, 2)
        state = await state_at(session, base, 2)
    assert {(each.event_type, each.status) for each in attempts} == {
        ("customer.created", 202),
        ("customer.subscription.created", 202),
    }
    assert [each["subscription_id"] for each in state["subscriptions"]] == ["sub_1"]


async def test_all_triggers_of_ours_are_run(cli: StripeCli) -> None:
    """An event type of ours that the command line can make by calls to the fake is run below, and no other."""
    offered = set(re.findall(r"^  ([a-z0-9_.]+)$", await cli.run("trigger", "--help"), re.MULTILINE))
    assert offered & {*EVENT_TYPES} == {*TRIGGERED, *NOT_TO_THE_FAKE}


@pytest.mark.parametrize("type_", TRIGGERED)
async def test_triggers_make_events_that_we_read(type_: str, fake: FakeStripe, cli: StripeCli) -> None:
    """The fake answers the calls of a trigger as Stripe does, and makes its event and others that we can read."""
    version = ["--api-version", BEFORE_DURATIONS] if type_.startswith("subscription_schedule.") else []
    await cli.run("trigger", type_, *version)
    fake.advance(LATER)
    events = [entry.render(fake.account.api_version) for entry in fake.account.journal.entries]
    assert type_ in {event["type"] for event in events} | NOT_CAUSED
    for event in events:
        assert unexplained(stripe_checker().check_event(event), event["api_version"]) == []
        assert translation_of(event).ignored not in (reasons.UNEXPECTED_OBJECT, reasons.UNREADABLE_OBJECT), event[
            "type"
        ]


def translation_of(event: dict[str, Any]) -> Translation:
    """Read an event as the server does."""

    class RealTime:
        def now(self) -> datetime:
            return datetime.now(UTC)

    verifier = StripeWebhookVerifier((SECRET,), tolerance=timedelta(minutes=5), clock=RealTime())
    body = encode(event)
    return StripeTranslator().translate(verifier.verify(body, sign(body, SECRET, datetime.now(UTC))))
