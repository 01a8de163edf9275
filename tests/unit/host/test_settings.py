"""Settings of an application's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from billing_app import Settings, SettingsError
from billing_stripe.testing.fake_stripe import fake_stripe


def test_tests_depend_on_no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither variables nor files of the developer's own configuration reach them."""
    monkeypatch.setenv("STRIPE_SECRET_KEY", "sk_live_0123456789")
    monkeypatch.setenv("DATABASE_URL", "postgresql://billing@db.example/billing")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env.local").write_text("STRIPE_WEBHOOK_SECRET=whsec_of_the_developer\n", encoding="utf-8")
    (tmp_path / "billing.toml").write_text("[plans.pro]\n", encoding="utf-8")
    settings = Settings.for_tests()
    assert settings.in_memory
    assert settings.switches.billing
    assert settings.stripe.livemode is False
    assert not settings.stripe.fetch
    assert settings.database.url is None
    assert settings.catalog.plans == ()
    assert settings.warnings == ()


def test_tests_read_the_file_that_they_name(tmp_path: Path) -> None:
    """The plans of an application are part of what it tests."""
    path = tmp_path / "billing.toml"
    path.write_text('[plans.pro]\nmatch = { lookup_keys = ["pro_*"] }\n', encoding="utf-8")
    settings = Settings.for_tests({"BILLING_CONFIG": str(path)})
    assert [plan.plan_code for plan in settings.catalog.plans] == ["pro"]


def test_faults_are_found_as_in_a_deployment() -> None:
    """All at once."""
    with pytest.raises(SettingsError) as caught:
        Settings.for_tests({"STRIPE_FETCH": "maybe", "BILLING_DISPATCH_BATCH": "many"})
    assert {fault.variable for fault in caught.value.faults} == {"STRIPE_FETCH", "BILLING_DISPATCH_BATCH"}


async def test_a_fake_stripe_is_called_with_its_key() -> None:
    """So that operations of the application work in tests."""
    async with fake_stripe(secret_key="sk_test_of_the_fake") as fake:
        stripe = Settings.for_tests(stripe=fake).stripe
        assert (stripe.api_base, stripe.fetch) == (fake.url, True)
        assert stripe.secret_key is not None
        assert stripe.secret_key.reveal() == "sk_test_of_the_fake"
