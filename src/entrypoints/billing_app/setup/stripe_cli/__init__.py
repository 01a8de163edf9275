"""Stripe's own command line as a helper: its session, its signing secret, its triggers, its forwarding of events."""

from billing_app.setup.stripe_cli.answers import CliSession, Sandbox
from billing_app.setup.stripe_cli.cli import StripeCli
from billing_app.setup.stripe_cli.errors import (
    StripeCliError,
    StripeCliKeyExpiredError,
    StripeCliLoggedOutError,
    StripeCliMissingError,
    StripeCliTimeoutError,
    StripeCliUnsuitableError,
)

__all__ = [
    "CliSession",
    "Sandbox",
    "StripeCli",
    "StripeCliError",
    "StripeCliKeyExpiredError",
    "StripeCliLoggedOutError",
    "StripeCliMissingError",
    "StripeCliTimeoutError",
    "StripeCliUnsuitableError",
]
