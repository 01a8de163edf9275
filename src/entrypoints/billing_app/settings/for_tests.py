"""The variables of a process in tests: they name no server, and open no account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

TEST_WEBHOOK_SECRET: Final = "whsec_for_tests"  # noqa: S105 - signs nothing that counts
"""The signing secret of `Settings.for_tests`."""


class RunningStripe(Protocol):
    """A Stripe to call in tests, such as a FakeStripe."""

    @property
    def url(self) -> str:
        """Its address."""
        ...

    @property
    def secret_key(self) -> str:
        """A key that it accepts."""
        ...


def variables_for_tests(stripe: RunningStripe | None) -> Mapping[str, str]:
    """Return variables for test mode; Stripe is called only if one is given."""
    return {
        "ENABLE_BILLING": "true",
        "STRIPE_SECRET_KEY": "sk_test_for_tests" if stripe is None else stripe.secret_key,
        "STRIPE_WEBHOOK_SECRET": TEST_WEBHOOK_SECRET,
        "STRIPE_FETCH": "false" if stripe is None else "true",
        "STRIPE_API_BASE": "" if stripe is None else stripe.url,
        "BILLING_JWT_SECRET": "for-tests-only-0123456789abcdef012345",
    }
