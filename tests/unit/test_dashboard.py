"""Links to objects in Stripe's dashboard."""

import pytest

from billing_app.dashboard import dashboard_url


@pytest.mark.parametrize(
    ("object_id", "livemode", "account", "url"),
    [
        ("cus_1", False, None, "https://dashboard.stripe.com/test/customers/cus_1"),
        ("sub_1", True, None, "https://dashboard.stripe.com/subscriptions/sub_1"),
        ("in_1", True, "acct_1", "https://dashboard.stripe.com/acct_1/invoices/in_1"),
        ("evt_1", False, "acct_1", "https://dashboard.stripe.com/acct_1/test/events/evt_1"),
        ("grant_1", True, None, None),
        ("acme", True, None, None),
        ("cus_1", None, None, None),
        ("cus_1/../\x1b", True, None, None),
    ],
)
def test_a_link_names_account_mode_and_object(
    object_id: str, livemode: bool | None, account: str | None, url: str | None
) -> None:
    """There is none for what Stripe has no page for, and none of an unknown mode."""
    assert dashboard_url(object_id, livemode=livemode, account=account) == url
