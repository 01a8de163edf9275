"""The helper around Stripe's command line: what it reads, and what it says when the program is missing or hangs."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path

import pytest

from billing_app.secret import Secret
from billing_app.setup.stripe_cli import (
    StripeCli,
    StripeCliError,
    StripeCliKeyExpiredError,
    StripeCliLoggedOutError,
    StripeCliMissingError,
    StripeCliTimeoutError,
    StripeCliUnsuitableError,
)
from billing_app.setup.stripe_cli.answers import read_sandbox, read_session, read_test_key
from billing_app.setup.stripe_cli.process import run
from billing_app.setup.stripe_cli.program import find_program
from billing_app.troubleshooting import StripeCliTrouble

KEY = "rk_test_51" + "a" * 20 + "WXYZ"
LOGGED_IN = {
    "authenticated": True,
    "profile_name": "default",
    "display_name": "Acme",
    "account_id": "acct_1",
    "test_mode_key": {"available": True, "expires_at": "2027-01-20"},
    "live_mode_key": {"available": False, "expires_at": None},
}


def stand_in(folder: Path, script: str) -> Path:
    """Write a program in place of Stripe's."""
    program = folder / "stripe"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def cli_that(folder: Path, script: str) -> StripeCli:
    """Return the helper of a program that does this."""
    return StripeCli(stand_in(folder, script), environ={"PATH": os.environ["PATH"]})


# --- finding the program -------------------------------------------------------------------------------------------


def test_the_configured_program_alone_is_looked_at(tmp_path: Path) -> None:
    """A setting that names no program is a mistake, not a wish for another one."""
    program = stand_in(tmp_path, "exit 0")
    assert find_program(program, "", tmp_path) == program
    assert find_program(tmp_path / "other", str(tmp_path), tmp_path) is None


def test_the_program_of_the_path_comes_before_that_of_the_project(tmp_path: Path) -> None:
    """A person who installed the program is logged in with it."""
    program = stand_in(tmp_path, "exit 0")
    assert find_program(None, str(tmp_path), tmp_path / "project") == program


def test_the_program_that_npm_installed_is_found_from_a_folder_below(tmp_path: Path) -> None:
    """npm's own script is passed over, because it does not pass on signals."""
    folder = tmp_path / "node_modules/@stripe/cli-linux-x64/bin"
    folder.mkdir(parents=True)
    program = stand_in(folder, "exit 0")
    (tmp_path / "node_modules/.bin").mkdir()
    stand_in(tmp_path / "node_modules/.bin", "exit 0")
    (tmp_path / "app").mkdir()
    assert find_program(None, "", tmp_path / "app") == program


def test_a_missing_program_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed by itself."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StripeCliMissingError, match="npm install --save-dev @stripe/cli"):
        StripeCli.find()
    with pytest.raises(StripeCliMissingError, match="There is no program"):
        StripeCli.find(tmp_path / "stripe")


async def test_a_file_that_is_no_program_is_named(tmp_path: Path) -> None:
    """The setting that names it is in the message."""
    program = tmp_path / "stripe"
    program.write_bytes(b"\x00\x01")
    program.chmod(0o755)
    with pytest.raises(StripeCliMissingError, match="STRIPE_CLI_PATH"):
        await StripeCli(program).whoami()


# --- what it answers -----------------------------------------------------------------------------------------------


def test_a_session_has_an_account_and_an_expiry() -> None:
    """A log-in lasts until the day that it names."""
    session = read_session(json.dumps(LOGGED_IN))
    assert session is not None
    assert (session.account_id, session.display_name) == ("acct_1", "Acme")
    session.require_usable(date(2027, 1, 19))
    with pytest.raises(StripeCliKeyExpiredError, match="expired on 2027-01-20"):
        session.require_usable(date(2027, 1, 20))


def test_a_session_in_live_mode_only_is_not_used() -> None:
    """Set-up is for tests unless it is told otherwise."""
    session = read_session(json.dumps(LOGGED_IN | {"test_mode_key": {"available": False, "expires_at": None}}))
    assert session is not None
    with pytest.raises(StripeCliLoggedOutError, match="live mode only"):
        session.require_usable(date(2027, 1, 19))


@pytest.mark.parametrize("output", ["", "usage: stripe", "[]", "{}", '{"authenticated": true}'])
async def test_another_program_of_the_name_is_told_apart(tmp_path: Path, output: str) -> None:
    """There are other programs called stripe, and old versions without `whoami`."""
    with pytest.raises(StripeCliUnsuitableError, match="STRIPE_CLI_PATH"):
        await cli_that(tmp_path, f"echo '{output}'").whoami()


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        (f"color = ''\n\n[default]\naccount_id = 'acct_1'\ntest_mode_api_key = '{KEY}'\n", True),
        (f"[default]\nlive_mode_api_key = 'rk_live_***'\n[other]\ntest_mode_api_key = '{KEY}'\n", False),
        ("[default]\ntest_mode_api_key = 'rk_test_****************WXYZ'\n", False),
        ("", False),
    ],
    ids=["in the file", "of another profile", "masked", "nothing"],
)
def test_a_key_is_read_only_if_it_is_a_whole_one(listed: str, found: bool) -> None:
    """A key that is stored in a keyring is not guessed from what is shown of it."""
    assert read_test_key(listed, "default") == (Secret(KEY) if found else None)


@pytest.mark.parametrize(
    "output",
    [
        f'Setting up your sandbox... done.\n{{"secret_key": "{KEY}", "account_id": "acct_1"}}\nUse the keys above.',
        f"You already have an active sandbox.\n\nSecret key:      {KEY}\nAccount ID:      acct_1\n",
    ],
    ids=["new", "there is one"],
)
def test_the_key_of_a_sandbox_is_read_from_what_is_printed(output: str) -> None:
    """A new sandbox prints JSON, an active one lines."""
    sandbox = read_sandbox(output)
    assert sandbox is not None
    assert sandbox.secret_key.reveal() == KEY
    assert KEY not in repr(sandbox)


async def test_a_log_in_in_place_of_a_sandbox_is_an_error(tmp_path: Path) -> None:
    """Stripe offers a log-in when it cannot make a sandbox."""
    with pytest.raises(StripeCliError, match="stripe login"):
        await cli_that(tmp_path, """echo '{"browser_url": "https://example.com"}'""").create_sandbox("a@example.com")


# --- when it fails -------------------------------------------------------------------------------------------------


async def test_a_program_that_hangs_is_stopped_with_its_children(tmp_path: Path) -> None:
    """The error says so, and no process stays behind, though it ignores SIGTERM to itself."""
    script = f"sleep 600 & echo $! > {tmp_path}/child; wait"
    program = stand_in(tmp_path, script)
    with pytest.raises(StripeCliTimeoutError, match=StripeCliTrouble.CLI_HANGS.anchor):
        await run(program, "whoami", environment={"PATH": os.environ["PATH"]}, wait=1)
    child = int((tmp_path / "child").read_text())
    assert _is_gone(child)


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("You have not configured API keys yet.", StripeCliLoggedOutError),
        ("The API key for the default profile has expired. Run `stripe login`.", StripeCliKeyExpiredError),
        (f"Invalid API Key provided: {KEY}", StripeCliError),
    ],
)
async def test_a_failure_is_an_error_with_a_remedy_and_without_a_secret(
    tmp_path: Path, said: str, error: type[StripeCliError]
) -> None:
    """Known failures are told apart; another one is repeated with its keys masked."""
    with pytest.raises(error) as caught:
        await cli_that(tmp_path, f"echo '{said}' >&2; exit 1").trigger("customer.created")
    assert type(caught.value) is error
    assert KEY not in str(caught.value)


async def test_a_key_is_never_an_argument(tmp_path: Path) -> None:
    """Arguments can be listed by every user; the environment cannot. Our own secrets are not passed on at all."""
    script = f'echo "$@" > {tmp_path}/arguments; env > {tmp_path}/environment; echo whsec_1234567890'
    program = stand_in(tmp_path, script)
    environ = {"PATH": os.environ["PATH"], "STRIPE_SECRET_KEY": "sk_live_ours", "DATABASE_URL": "postgresql://a:b@c/d"}
    cli = StripeCli(program, "http://localhost:12111", environ)
    assert await cli.webhook_secret(Secret(KEY)) == Secret("whsec_1234567890")
    arguments, environment = (tmp_path / "arguments").read_text(), (tmp_path / "environment").read_text()
    assert arguments == "listen --print-secret --skip-update --api-base http://127.0.0.1:12111\n"
    assert f"STRIPE_API_KEY={KEY}" in environment
    assert "sk_live_ours" not in environment
    assert "postgresql://" not in environment


async def test_printed_lines_are_masked(tmp_path: Path) -> None:
    """`stripe listen` shows its signing secret in the line that says that it is ready."""
    cli = cli_that(tmp_path, "echo; echo 'Ready! Your secret is whsec_0123456789abcdef0123456789 (^C to quit)'; echo")
    async with cli.listening("http://127.0.0.1:8080/webhooks/stripe", ["customer.created"]) as lines:
        assert [line async for line in lines] == ["Ready! Your secret is whsec_…6789 (^C to quit)"]


async def test_a_log_in_needs_a_terminal(tmp_path: Path) -> None:
    """Without one the command says what to run, and does not wait."""
    with pytest.raises(StripeCliLoggedOutError, match="Run `stripe login`"):
        await cli_that(tmp_path, "sleep 600").login()
