"""The ways in which Stripe's command line fails, each with its remedy."""

from __future__ import annotations

from typing import ClassVar

from billing_app.errors import OperatorError
from billing_app.troubleshooting import StripeCliTrouble


class StripeCliError(OperatorError):
    """Stripe's command line could not do its part. The message never holds a secret."""

    code: ClassVar[str] = "stripe_cli_failed"
    exit_code = 1


class StripeCliMissingError(StripeCliError):
    """There is no program `stripe`, or the one that a setting names cannot be run."""

    code = "stripe_cli_missing"
    exit_code = 2


class StripeCliUnsuitableError(StripeCliError):
    """The program is not Stripe's command line, or too old."""

    code = "stripe_cli_unsuitable"
    exit_code = 2


class StripeCliLoggedOutError(StripeCliError):
    """It has no API key."""

    code = "stripe_cli_logged_out"


class StripeCliKeyExpiredError(StripeCliError):
    """Its API key has expired; a log-in lasts 90 days."""

    code = "stripe_cli_key_expired"


class StripeCliTimeoutError(StripeCliError):
    """It did not end in time."""

    code = "stripe_cli_timeout"


def logged_out() -> StripeCliLoggedOutError:
    """Return the error of a command line without a key."""
    return StripeCliLoggedOutError(
        "The Stripe CLI is not logged in. Run `stripe login`, or give a key: billing stripe setup asks for one. "
        f"See {StripeCliTrouble.CLI_IS_LOGGED_OUT}."
    )


def key_expired(when: str = "") -> StripeCliKeyExpiredError:
    """Return the error of an expired key, with ` on` and the date if it is known."""
    return StripeCliKeyExpiredError(
        f"The key of the Stripe CLI expired{when}; a log-in lasts 90 days. "
        f"Run `stripe login`, then repeat this command. See {StripeCliTrouble.CLI_KEY_IS_EXPIRED}."
    )
