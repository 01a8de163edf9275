"""The places of fields in each API version.

Source: https://docs.stripe.com/changelog and the resource classes of the SDK releases that pin each version.
"""

import attrs

from billing_stripe.versions import BASIL


@attrs.frozen
class Shape:
    """The places that one API version has.

    `transitional` renders an older version as Stripe has done since March 2025: with the new places beside the old
    ones, holding the same values.
    """

    api_version: str
    transitional: bool = False

    @property
    def before_basil(self) -> bool:
        """Whether the places from before 2025-03-31 are filled."""
        return self._date < _date(BASIL)

    @property
    def basil(self) -> bool:
        """Whether the places that 2025-03-31 introduced are filled."""
        return self.transitional or not self.before_basil

    @property
    def subscription_currency(self) -> bool:
        """`subscription.currency`."""
        return self._has("2022-08-01")

    @property
    def cancellation_details(self) -> bool:
        """`subscription.cancellation_details`, `trial_settings` and the list `discounts`."""
        return self._has("2022-11-15")

    @property
    def invoice_subscription_metadata(self) -> bool:
        """`invoice.subscription_details.metadata`, in versions without `parent`."""
        return self.before_basil and self._has("2023-06-29")

    @property
    def charge_refunds(self) -> bool:
        """`charge.refunds`, which later versions include only on request."""
        return self._date < "2022-11-15"

    @property
    def dispute_eligibility(self) -> bool:
        """`dispute.enhanced_eligibility_types` and `payment_method_details`."""
        return self._has("2024-11-20")

    @property
    def meters(self) -> bool:
        """`price.recurring.meter`."""
        return self._has("2024-04-10")

    @property
    def billing_mode(self) -> bool:
        """`subscription.billing_mode`."""
        return self._has("2025-06-30")

    @property
    def flexible_by_default(self) -> bool:
        """Whether new subscriptions are in flexible billing mode."""
        return self._date >= "2025-09-30"

    @property
    def phase_durations(self) -> bool:
        """`duration` instead of `iterations` in requests about the phases of a schedule."""
        return self._date >= "2025-09-30"

    @property
    def discount_source(self) -> bool:
        """`discount.source.coupon` instead of `discount.coupon`."""
        return self._date >= "2025-09-30"

    @property
    def customer_account(self) -> bool:
        """`customer_account` beside `customer`, and `subtotal` on invoice lines."""
        return self._has("2025-12-15")

    @property
    def dahlia(self) -> bool:
        """`quantity_decimal` on invoice lines, `hosted_page` as Checkout's mode."""
        return self._date >= "2026-03-25"

    @property
    def billing_schedules(self) -> bool:
        """`subscription.billing_schedules`, `invoice.amount_paid_off_stripe`."""
        return self._date >= "2026-05-27"

    @property
    def refund_customer(self) -> bool:
        """`refund.customer`, `customer_account` and `payment_method`."""
        return self._has("2026-07-29")

    @property
    def endive(self) -> bool:
        """`status_details` on subscriptions and invoices, `current_trial` on items."""
        return self._date >= "2026-09-30"

    @property
    def _date(self) -> str:
        return _date(self.api_version)

    def _has(self, since: str) -> bool:
        """Return whether an additive field is present: additions appear in all versions from then on."""
        return self.transitional or self._date >= since


def _date(api_version: str) -> str:
    """The date of a version, such as `2025-03-31` of `2025-03-31.basil`; as text it sorts by time."""
    return api_version[:10]
