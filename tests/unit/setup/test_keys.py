"""The ways in which the API key is found. It is never an argument, and never shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.unit.setup.directory import KEY, Directory

from billing_app.errors import OperatorError
from billing_app.setup.stripe_cli import StripeCliKeyExpiredError
from billing_app.troubleshooting import KeyTrouble, SetupTrouble, StripeCliTrouble
from billing_stripe.testing.fake_stripe import fake_stripe

LIVE = KEY.replace("_test_", "_live_")


@pytest.fixture
def keyless(directory: Directory) -> Directory:
    """The directory without a key in the environment."""
    del directory.environ["STRIPE_SECRET_KEY"]
    return directory


def install_cli(
    directory: Directory, *, key: str | None = KEY, expires: str = "2999-01-01", sandbox: str = KEY
) -> None:
    """Install a stand-in for the Stripe CLI: logged in unless its key is None."""
    program = directory.path / "stripe"
    config = "" if key is None else f"[default]\ntest_mode_api_key = '{key}'\n"
    program.write_text(
        f"""#!{sys.executable}
import json, pathlib, sys
logged_in = pathlib.Path({str(directory.path / "logged-in")!r})
if sys.argv[1] == "whoami":
    known = {key is not None} or logged_in.exists()
    print(json.dumps({{
        "authenticated": known, "profile_name": "default", "account_id": "acct_1", "display_name": "Acme",
        "test_mode_key": {{"available": known, "expires_at": {expires!r}}}, "live_mode_key": {{"available": False}},
    }}))
    sys.exit(0 if known else 1)
if sys.argv[1] == "config":
    print({config!r} or "[default]\\ntest_mode_api_key = '{KEY}'\\n")
if sys.argv[1] == "login":
    logged_in.touch()
if sys.argv[1] == "sandbox":
    print(json.dumps({{"secret_key": {KEY!r}, "account_id": "acct_2", "expires_at": "2027-01-31"}}))
if sys.argv[1] == "listen":
    print("whsec_ofTheStripeCli")
""",
        encoding="utf-8",
    )
    program.chmod(0o755)
    directory.environ["STRIPE_CLI_PATH"] = str(program)


def recorded(directory: Directory) -> str | None:
    """Return the key that .env.local holds."""
    lines = directory.env_file.read_text(encoding="utf-8").splitlines()
    return next((line.split("=", 1)[1] for line in lines if line.startswith("STRIPE_SECRET_KEY=")), None)


async def test_a_key_from_standard_input_is_recorded(keyless: Directory) -> None:
    """For the servers, and for the next run."""
    await keyless.run(key=f"{KEY}\n")
    assert recorded(keyless) == KEY
    report = await keyless.run()
    assert report.key.source == ".env.local"


async def test_a_key_from_the_environment_is_not_copied(directory: Directory) -> None:
    """Secrets that are managed elsewhere are not wanted in a file as well."""
    report = await directory.run()
    assert report.key.source == "the environment"
    assert recorded(directory) is None


async def test_the_key_of_the_stripe_cli_is_used(keyless: Directory) -> None:
    """It expires, which is said; and the CLI's secret makes local webhooks work."""
    install_cli(keyless)
    report = await keyless.run(webhook_url=None)
    assert report.key.source == "the Stripe CLI"
    assert recorded(keyless) == KEY
    assert "expires on 2999-01-01" in keyless.person.text
    assert [secret.reveal() for secret in keyless.settings.stripe.webhook_secrets] == ["whsec_ofTheStripeCli"]
    assert report.proof is not None
    assert any(step.endswith("stripe listen") for step in report.next_steps)


async def test_the_stripe_cli_is_not_asked_in_a_dry_run_nor_for_a_live_key(keyless: Directory) -> None:
    """It would open a session at Stripe; and live events are not forwarded to a development machine."""
    install_cli(keyless)
    report = await keyless.run(webhook_url=None, dry_run=True)
    assert not any("STRIPE_WEBHOOK_SECRET" in line for line in report.file_changes)
    async with fake_stripe(secret_key=LIVE) as fake:
        keyless.environ["STRIPE_API_BASE"] = fake.url
        report = await keyless.run(key=LIVE, live=True, webhook_url=None)
    assert "give --webhook-url" in keyless.person.text
    assert not report.complete


async def test_an_expired_key_of_the_stripe_cli_is_an_error_without_a_person(keyless: Directory) -> None:
    """The remedy is to log in again."""
    install_cli(keyless, expires="2020-01-01")
    with pytest.raises(StripeCliKeyExpiredError) as failed:
        await keyless.run()
    assert str(StripeCliTrouble.CLI_KEY_IS_EXPIRED) in str(failed.value)


async def test_a_person_may_log_in_type_a_key_or_make_a_sandbox(
    keyless: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing happens that was not chosen."""
    install_cli(keyless, key=None)
    keyless.person.interactive = True

    keyless.person.answers = [0, KEY, False]
    assert (await keyless.run(dry_run=True)).key.source == "the prompt"

    keyless.person.answers = [2, "ada@example.com", False]
    assert (await keyless.run(dry_run=True)).key.source == "the new sandbox"
    assert "Sandbox acct_2 is deleted on 2027-01-31 unless it is claimed" in keyless.person.text

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    keyless.person.answers = [1, False]
    assert (await keyless.run(dry_run=True)).key.source == "the Stripe CLI"


async def test_without_a_stripe_cli_a_person_types_the_key(keyless: Directory) -> None:
    """It is not shown, and how to get the CLI is."""
    keyless.person.interactive = True
    keyless.person.answers = [KEY]
    await keyless.run(dry_run=True)
    assert "npm install --save-dev @stripe/cli" in keyless.person.text
    assert KEY not in keyless.person.text


async def test_without_a_person_a_missing_key_is_an_error(keyless: Directory) -> None:
    """It names every way to give one."""
    with pytest.raises(OperatorError) as failed:
        await keyless.run()
    assert str(SetupTrouble.NO_KEY_IS_GIVEN) in str(failed.value)
    for way in ("--key-stdin", "STRIPE_SECRET_KEY", "stripe login"):
        assert way in str(failed.value)


async def test_a_live_key_has_to_be_allowed(directory: Directory) -> None:
    """Set-up makes things that customers can buy."""
    with pytest.raises(OperatorError) as failed:
        await directory.run(key=LIVE)
    assert str(SetupTrouble.KEY_IS_LIVE) in str(failed.value)
    assert LIVE not in str(failed.value)
    async with fake_stripe(secret_key=LIVE) as fake:
        directory.environ["STRIPE_API_BASE"] = fake.url
        await directory.run(key=LIVE, live=True, dry_run=True)
    assert "LIVE MODE" in directory.person.text


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("pk_test_51AbcdefghijklmnopqrstuvWXYZ", KeyTrouble.KEY_IS_PUBLISHABLE),
        ("whsec_AbcdefghijklmnopqrstuvWXYZ", KeyTrouble.KEY_IS_A_WEBHOOK_SECRET),
        ("sk_test_…", KeyTrouble.KEY_IS_MALFORMED),
        ("", KeyTrouble.KEY_IS_MALFORMED),
    ],
)
async def test_what_is_no_key_is_named_as_what_it_is(directory: Directory, text: str, row: KeyTrouble) -> None:
    """Before anything is sent."""
    with pytest.raises(OperatorError) as failed:
        await directory.run(key=text)
    assert str(row) in str(failed.value)
    assert directory.fake.requests == []


async def test_local_servers_are_left_to_the_commands_that_use_them(directory: Directory, tmp_path: Path) -> None:
    """Set-up says so, and starts none before it needs one."""
    await directory.run()
    assert "DATABASE_URL is not set, so that commands start a local one" in directory.person.text
    assert list((tmp_path / ".billing").rglob("PG_VERSION")) == []


async def test_a_database_that_does_not_answer_is_named(directory: Directory) -> None:
    """The account is set up all the same."""
    directory.environ["DATABASE_URL"] = "postgresql://user:word@127.0.0.1:1/billing"
    report = await directory.run()
    assert "Postgres does not answer" in directory.person.text
    assert report.done
