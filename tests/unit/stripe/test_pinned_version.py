"""One API version everywhere: in our calls, in the endpoint that we tell people to create, and in our fixtures."""

from pathlib import Path

import pytest
import stripe

from billing_app.settings import StripeSettings
from billing_stripe.testing import API_VERSIONS

pytestmark = pytest.mark.stripe

ROOT = Path(__file__).parents[3]


def test_the_pinned_version_is_that_of_the_endpoint() -> None:
    """An update of the SDK must not change what objects look like: then this test names both versions."""
    pinned = StripeSettings().api_version
    assert pinned == API_VERSIONS[-1] == stripe.api_version
    for page in (".env.example", "docs/billing/configuration.md"):
        assert f"STRIPE_API_VERSION={pinned}" in (text := (ROOT / page).read_text()) or f"`{pinned}`" in text
