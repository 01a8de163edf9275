"""The fixture `fake_stripe`, for tests of any kind.

pytest_plugins = ["billing_stripe.testing.fake_stripe.pytest_plugin"]
"""

from collections.abc import Iterator

import pytest

from billing_stripe.testing.fake_stripe.threaded import ThreadedFakeStripe, fake_stripe_in_thread


@pytest.fixture
def fake_stripe() -> Iterator[ThreadedFakeStripe]:
    """A fake Stripe without any objects, in a thread of its own."""
    with fake_stripe_in_thread() as running:
        yield running
