"""The ways in which set-up fails, in words for the person who runs it."""

from __future__ import annotations

from typing import Final

from billing_app.container.provisioning import ProvisioningError, UnsettledError
from billing_app.errors import OperatorError
from billing_app.troubleshooting import KeyTrouble, SetupTrouble, Trouble
from billing_core.errors import (
    GatewayAuthenticationError,
    GatewayError,
    GatewayPermissionError,
    GatewayRateLimitedError,
    GatewayUnavailableError,
)

_AGAIN: Final = "Run the command again: it continues where this run stopped."


class SetupError(OperatorError):
    """Set-up did not finish. What it did before is kept, and a rerun continues there."""

    exit_code = 1


def setup_error(error: GatewayError | ProvisioningError | UnsettledError) -> SetupError:
    """Return what to tell about an error of Stripe."""
    if isinstance(error, UnsettledError):
        return _error(
            f"Something else changes the same objects. {error}", _AGAIN, SetupTrouble.ACCOUNT_CHANGES_MEANWHILE
        )
    cause = error.error if isinstance(error, ProvisioningError) else error
    doing = f" {error.step.text}" if isinstance(error, ProvisioningError) else ""
    match cause:
        case GatewayAuthenticationError():
            return _error(f"Stripe refuses the key ({cause}).", "Give another one.", KeyTrouble.KEY_IS_REFUSED)
        case GatewayPermissionError():
            lacking = f" It lacks {cause.permission}." if cause.permission else ""
            return _error(
                f"The key may not do this.{doing}{lacking} ({cause})", _AGAIN, SetupTrouble.SETUP_LACKS_A_PERMISSION
            )
        case GatewayUnavailableError() | GatewayRateLimitedError():
            return _error(f"Stripe does not answer ({cause}).{doing}", _AGAIN, KeyTrouble.STRIPE_IS_UNREACHABLE)
    return _error(f"Stripe refused this step.{doing} ({cause})", _AGAIN, SetupTrouble.STEP_IS_REFUSED)


def _error(problem: str, remedy: str, row: Trouble) -> SetupError:
    return SetupError(f"{problem} {remedy} See {row}.")
