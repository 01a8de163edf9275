"""The answers of Stripe's command line, read into values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from typing import Any, Final

import attrs

from billing_app.secret import Secret
from billing_app.setup.stripe_cli.errors import StripeCliLoggedOutError, key_expired
from billing_app.troubleshooting import StripeCliTrouble

TEST_KEY: Final = re.compile(r"(?:sk|rk)_test_\w{8,}")
_SIGNING_SECRET: Final = re.compile(r"whsec_[\w+/=-]+")
_SECRET_KEY_LINE: Final = re.compile(r"^Secret key:\s+(\S+)$", re.MULTILINE)


@attrs.frozen(kw_only=True)
class CliSession:
    """The log-in of Stripe's command line, as `stripe whoami` reports it."""

    profile: str
    account_id: str | None
    """None when it uses the key in STRIPE_API_KEY, whose account it does not know."""
    display_name: str | None
    has_test_key: bool
    has_live_key: bool
    test_key_expires_on: date | None

    def require_usable(self, today: date) -> None:
        """Raise StripeCliKeyExpiredError or StripeCliLoggedOutError unless there is a key for test mode."""
        if not self.has_test_key:
            raise StripeCliLoggedOutError(
                "The Stripe CLI is logged in to live mode only. Run `stripe login` and choose a sandbox. "
                f"See {StripeCliTrouble.CLI_IS_LOGGED_OUT}."
            )
        if self.test_key_expires_on is not None and self.test_key_expires_on <= today:
            raise key_expired(f" on {self.test_key_expires_on}")


@attrs.frozen(kw_only=True)
class Sandbox:
    """An account for tests that `stripe sandbox create` made. `stripe sandbox claim` keeps it."""

    secret_key: Secret
    account_id: str | None
    expires_on: str | None


def read_session(output: str) -> CliSession | None:
    """Read what `stripe whoami --format json` prints; None if it is not logged in.

    Raises: ValueError, KeyError, TypeError or AttributeError if another program answered.
    """
    answer: Mapping[str, Any] = json.loads(output)
    if not answer["authenticated"]:
        return None
    test_key, live_key = answer["test_mode_key"], answer["live_mode_key"]
    expires = test_key.get("expires_at")
    return CliSession(
        profile=answer.get("profile_name") or "default",
        account_id=answer.get("account_id") or None,
        display_name=answer.get("display_name") or None,
        has_test_key=bool(test_key["available"]),
        has_live_key=bool(live_key["available"]),
        test_key_expires_on=date.fromisoformat(expires) if expires else None,
    )


def read_sandbox(output: str) -> Sandbox | None:
    """Read the keys: JSON after a new sandbox was made, lines of text if there was one."""
    start, end = output.find("{"), output.rfind("}")
    with suppress(ValueError):
        shown = json.loads(output[start : end + 1])
        if isinstance(shown, dict) and TEST_KEY.fullmatch(str(shown.get("secret_key"))):
            return Sandbox(
                secret_key=Secret(shown["secret_key"]),
                account_id=shown.get("account_id"),
                expires_on=shown.get("expires_at"),
            )
    line = _SECRET_KEY_LINE.search(output)
    if line and TEST_KEY.fullmatch(line[1]):
        return Sandbox(secret_key=Secret(line[1]), account_id=None, expires_on=None)
    return None


def read_test_key(output: str, profile: str) -> Secret | None:
    """Read the key for test mode from what `stripe config --list` prints; None if it is stored elsewhere."""
    section = re.search(rf"^\[{re.escape(profile)}\]\n(.*?)(?=^\[|\Z)", output, re.MULTILINE | re.DOTALL)
    key = section and re.search(r"^\s*test_mode_api_key\s*=\s*['\"]?([^'\"\s]*)", section[1], re.MULTILINE)
    return Secret(key[1]) if key and TEST_KEY.fullmatch(key[1]) else None


def read_signing_secret(output: str) -> Secret | None:
    """Read what `stripe listen --print-secret` prints."""
    found = _SIGNING_SECRET.search(output)
    return None if found is None else Secret(found.group())
