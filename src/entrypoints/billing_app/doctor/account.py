"""Checks of the API key and of the account that it opens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

from billing_app.container import HeldAccount, find_conflict
from billing_app.doctor.results import CheckResult, fail, ok, warn
from billing_app.settings import Settings
from billing_app.troubleshooting import KeyTrouble
from billing_core.errors import GatewayAuthenticationError, GatewayError

_EXPIRED: Final = "api_key_expired"
_RENEW_WITHIN: Final = timedelta(days=14)


def check_answer(error: GatewayError | None) -> CheckResult:
    """Check the outcome of one reading call: an unreachable Stripe stops nothing, because it may be back any moment."""
    if error is None:
        return ok("stripe", "reachable, and it accepts the key")
    if not isinstance(error, GatewayAuthenticationError):
        return warn(
            "stripe",
            f"Stripe does not answer ({error})",
            "Look at https://status.stripe.com and at the network. Servers and workers whose circuit is open "
            "(`stripe_gateway_circuit`) send no calls, and try again by themselves.",
            KeyTrouble.STRIPE_IS_UNREACHABLE,
        )
    restart = "and restart servers and workers: they have stopped calling Stripe."
    if error.provider_code == _EXPIRED:
        return fail(
            "stripe",
            "STRIPE_SECRET_KEY has expired",
            f"Replace STRIPE_SECRET_KEY by a new key, for example with `billing stripe setup`, {restart}",
            KeyTrouble.KEY_HAS_EXPIRED,
        )
    return fail(
        "stripe",
        f"Stripe refuses the key ({error})",
        f"Replace STRIPE_SECRET_KEY, for example with a new restricted key (rk_test_…), {restart}",
        KeyTrouble.KEY_IS_REFUSED,
    )


def check_account(settings: Settings, account_id: str | None, held: HeldAccount | None) -> CheckResult:
    """Compare the account of the key with `STRIPE_ACCOUNT_ID`, and with the one that the database belongs to.

    Args:
        settings: the configuration.
        account_id: the account of the key; None if it is not known.
        held: the account that the database belongs to; None before the first start.
    """
    stripe = settings.stripe
    conflict = find_conflict(held, stripe, account_id)
    if conflict is not None:
        return fail("account", conflict.detail, conflict.remedy, conflict.trouble)
    mode = "live" if stripe.livemode else "test"
    if account_id is not None and stripe.account_id not in (None, account_id):
        return warn(
            "account",
            f"STRIPE_ACCOUNT_ID is {stripe.account_id}, and the key belongs to {account_id}",
            f"This is right for a connected account only. Otherwise set STRIPE_ACCOUNT_ID={account_id}.",
            KeyTrouble.ACCOUNT_ID_OF_ANOTHER,
        )
    return ok("account", f"{account_id or 'not known'}, {mode} mode")


def check_permissions(missing: Mapping[str, str | None]) -> CheckResult:
    """Check that the key may read everything that is read."""
    if not missing:
        return ok("permissions", "the key may read everything that is read; writes show when they are made")
    named = ", ".join(f"{name} ({own})" if own else name for name, own in missing.items())
    return fail(
        "permissions",
        f"STRIPE_SECRET_KEY lacks the permission to read {named}",
        "Edit the restricted key in the Stripe dashboard and allow them, with Write for those that operations change.",
        KeyTrouble.KEY_LACKS_PERMISSIONS,
    )


def check_expiry(expires_on: date | None, today: date) -> CheckResult:
    """Check the date on which the key of the Stripe CLI expires; None if it is not known."""
    if expires_on is None:
        return ok("cli key", "the Stripe CLI names no date on which its key expires")
    if expires_on <= today:
        detail = f"the key of the Stripe CLI expired on {expires_on}"
    elif expires_on - today <= _RENEW_WITHIN:
        detail = f"the key of the Stripe CLI expires on {expires_on}"
    else:
        return ok("cli key", f"the key of the Stripe CLI is valid until {expires_on}")
    remedy = "Run `stripe login`, then `billing stripe setup`. Servers should have a restricted key of their own."
    return warn("cli key", detail, remedy, KeyTrouble.CLI_KEY_EXPIRES)
