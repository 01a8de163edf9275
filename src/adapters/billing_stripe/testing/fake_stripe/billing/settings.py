"""The billing settings of an account, as its dashboard has them."""

from datetime import timedelta
from typing import Literal

import attrs

from billing_stripe.testing.fake_stripe.account import Account

_NAME = "billing"


@attrs.frozen(kw_only=True)
class BillingSettings:
    """When Stripe retries, announces and gives up."""

    retry_after: tuple[timedelta, ...] = (timedelta(days=3), timedelta(days=5), timedelta(days=7))
    """Time from one failed payment of an invoice to the next attempt."""
    after_retries: Literal["cancel", "unpaid", "past_due"] = "cancel"
    """The subscription's fate when all retries failed."""
    upcoming_before: timedelta = timedelta(days=7)
    """Time before a renewal at which `invoice.upcoming` is sent."""
    trial_end_before: timedelta = timedelta(days=3)
    """Time before the end of a trial at which it is announced; at once for a shorter one."""
    finalize_after: timedelta = timedelta(hours=1)
    """Life of a draft."""
    incomplete_for: timedelta = timedelta(hours=23)
    """Time for the first payment of a subscription, and for that of a pending update."""


def settings_of(account: Account) -> BillingSettings:
    """Return the account's settings."""
    found = account.settings.get(_NAME)
    return found if isinstance(found, BillingSettings) else BillingSettings()


def change_settings(account: Account, settings: BillingSettings) -> None:
    """Set the account's settings."""
    account.settings[_NAME] = settings
