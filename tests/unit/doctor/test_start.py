"""A start that is refused names every fault at once; one that is not logs its configuration without secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from billing_app import cli
from billing_app.doctor import Start, check_start, log_start
from billing_app.doctor.results import warn
from billing_app.errors import StartRefusedError
from billing_app.settings import Settings
from billing_app.troubleshooting import KeyTrouble, ServerTrouble, SettingTrouble

KEY = "sk_test_51AbcdefghijklmnopqrstuvWXYZ"
COMPLETE = {
    "ENABLE_BILLING": "true",
    "STRIPE_SECRET_KEY": KEY,
    "STRIPE_WEBHOOK_SECRET": "whsec_AbcdefghijklmnopqrstuvWXYZ,whsec_SecondSecondSecondSecond",
    "STRIPE_FETCH": "false",
    "BILLING_JWT_SECRET": "0123456789abcdef0123456789abcdef",
}
NOTHING = Start(account_id=None, warnings=())


def examined(folder: Path, **environ: str):  # type: ignore[no-untyped-def] - a pair for check_start
    return Settings.examine({**COMPLETE, **environ}, folder / ".env.local")


async def test_faults_of_settings_and_of_servers_are_in_one_report(tmp_path: Path) -> None:
    """A key that cannot be used hides no server that does not answer."""
    unreachable = {
        "DATABASE_URL": "postgresql://u:hunter22@127.0.0.1:1/x",
        "REDIS_URL": "redis://:hunter22@127.0.0.1:1/0",
    }
    settings, faults = examined(tmp_path, STRIPE_SECRET_KEY="pk_test_51Abcdefghijklmnop", **unreachable)
    with pytest.raises(StartRefusedError) as refused:
        await check_start(settings, faults)
    lines = str(refused.value).splitlines()
    assert lines[0] == "refusing to start because of 3 faults:"
    for line, row in zip(
        lines[1:-1],
        (KeyTrouble.KEY_IS_PUBLISHABLE, ServerTrouble.POSTGRES_IS_UNREACHABLE, ServerTrouble.REDIS_IS_UNREACHABLE),
        strict=True,
    ):
        assert line.startswith("  - ")
        assert line.endswith(f"See {row}.")
    assert "hunter22" not in str(refused.value)
    assert refused.value.exit_code == 78


async def test_a_catalog_that_was_read_in_part_is_not_checked(tmp_path: Path) -> None:
    """A price whose id was refused is no price of a plan."""
    (tmp_path / "billing.toml").write_text('[plans.pro]\nprices = [{ id = "prod_1" }]\n', encoding="utf-8")
    settings, faults = examined(tmp_path)
    with pytest.raises(StartRefusedError, match="because of one fault"):
        await check_start(settings, faults)


async def test_without_billing_only_the_settings_are_checked(tmp_path: Path) -> None:
    """A server without Stripe starts with whatever it has, but not with settings that it would misread."""
    off = {"ENABLE_BILLING": "false", "STRIPE_SECRET_KEY": "", "REDIS_URL": "redis://127.0.0.1:1/0"}
    settings, faults = examined(tmp_path, **off)
    assert await check_start(settings, faults) == NOTHING
    settings, faults = examined(tmp_path, **off, BILLING_PORT="eighty")
    with pytest.raises(StartRefusedError, match="because of one fault"):
        await check_start(settings, faults)


async def test_a_start_without_calls_asks_nothing(tmp_path: Path) -> None:
    """STRIPE_FETCH=false, and local servers: everything is right as it is."""
    settings, faults = examined(tmp_path)
    assert await check_start(settings, faults) == NOTHING


def test_the_configuration_is_one_log_line_with_masked_secrets(tmp_path: Path) -> None:
    """Enough to recognize a key, not to use it."""
    settings, _ = examined(
        tmp_path, STRIPE_PRODUCT_PRICE_MAP="pro=price_1", BILLING_PUBLIC_URL="https://b.example.com/"
    )
    start = Start(account_id="acct_1", warnings=[warn("clock", "it is off", "Set it", ServerTrouble.PORT_IS_TAKEN)])
    with capture_logs() as lines:
        log_start(settings, start)
    config, warning = lines
    assert config == {
        "event": "stripe_config",
        "log_level": "info",
        "key": "sk_test_…WXYZ",
        "mode": "test",
        "account": "acct_1",
        "signing": ["whsec_…WXYZ", "whsec_…cond"],
        "api_version": settings.stripe.api_version,
        "calls": False,
        "address": None,
        "public_url": "https://b.example.com",
        "plans": ["pro"],
    }
    assert (warning["event"], warning["log_level"]) == ("start.warning", "warning")
    assert KEY not in json.dumps(lines)


def test_a_server_without_billing_says_so_in_one_line() -> None:
    """With what to do to switch it on, and its row."""
    with capture_logs() as lines:
        log_start(Settings(), NOTHING)
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("billing.disabled", "warning")
    assert "ENABLE_BILLING=true" in line["remedy"]
    assert line["see"] == str(ServerTrouble.BILLING_IS_OFF)


@pytest.mark.parametrize("command", [["doctor"], ["config", "check"]])
def test_faults_of_the_settings_are_json_if_that_is_asked_for(command: list[str]) -> None:
    """On standard output, with the status of a wrong configuration."""
    result = CliRunner().invoke(
        cli.cli, [*command, "--json"], env={"BILLING_PORT": "eighty", "BILLING_HOST": "127.0.0.1"}
    )
    assert result.exit_code == 2
    shown = json.loads(result.stdout)
    (fault,) = shown["findings"] if command == ["doctor"] else shown["faults"]
    assert "BILLING_PORT" in json.dumps(fault)
    assert fault["see"] == str(SettingTrouble.SETTING_IS_INVALID)
