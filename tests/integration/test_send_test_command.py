"""`billing events send-test` where it cannot come through."""

import pytest
from tests.integration.processes import ended, running

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


async def test_what_keeps_a_test_event_away_is_said(environment: dict[str, str]) -> None:
    """No server, a live key, a missing secret."""
    away = await ended("events", "send-test", environment=environment)
    assert (away.status, away.output) == (1, "")
    assert "does not answer" in away.errors
    assert "Start `billing serve`." in away.errors
    live = await ended("events", "send-test", environment={**environment, "STRIPE_SECRET_KEY": "sk_live_1"})
    assert (live.status, "Test mode" in live.errors or "test mode" in live.errors) == (2, True)
    unsigned = {**environment, "ENABLE_BILLING": "false", "STRIPE_WEBHOOK_SECRET": ""}
    assert "STRIPE_WEBHOOK_SECRET is not set" in (await ended("events", "send-test", environment=unsigned)).errors


async def test_a_server_with_other_secrets_or_without_a_worker_is_noticed(environment: dict[str, str]) -> None:
    """The first refuses the event, the second stores it and no message comes."""
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    async with running("serve", "--no-worker", environment=environment, ready=f"{base}/readyz"):
        other = {**environment, "STRIPE_WEBHOOK_SECRET": "whsec_of_another_server_0123456789"}
        refused = await ended("events", "send-test", environment=other)
        assert (refused.status, "it was started with other secrets" in refused.errors) == (1, True)
        waited = await ended("events", "send-test", "--within", "2s", environment=environment)
        assert (waited.status, "Is a worker running?" in waited.errors) == (1, True)
