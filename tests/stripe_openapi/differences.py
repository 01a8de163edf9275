"""Known differences between Stripe, or one of its API versions, and its OpenAPI specification of 2026-05-27.dahlia.

Last checked on 2026-11-29. `tests/referee` fails when an entry is no longer needed: delete it then.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

import attrs
from tests.stripe_openapi.schemas import Finding, Problem

CHECKED_SINCE: Final = "2025-03-31.basil"
"""Older versions have fields in other places, which `billing_stripe.testing.fields` and unit tests describe."""

_ANYWHERE: Final = ("",)
_CHANGELOG: Final = "https://docs.stripe.com/changelog"
_SDK: Final = "https://github.com/stripe/stripe-python/blob/v16.1.0/stripe"
_REFERENCE: Final = "https://docs.stripe.com/api"
_LEGACY: Final = "sent for old integrations, no longer described"
_NEWER: Final = "added after the specification was written"


@attrs.frozen(kw_only=True)
class Difference:
    """Fields of one object that may differ from the specification, in the API versions `[since, until)`."""

    subject: str
    """The `object` value, or an operation; `*` stands for any text."""
    fields: tuple[str, ...] = _ANYWHERE
    problem: Problem
    since: str = ""
    until: str = "9999"
    reason: str
    source: str

    def covers(self, finding: Finding, api_version: str) -> bool:
        """Return whether a finding is one of these."""
        return (
            self.since <= api_version < self.until
            and finding.problem == self.problem
            and finding.field in self.fields
            and fnmatchcase(finding.subject, self.subject)
        )

    def only(self, field: str) -> "Difference":
        """Return the part about one of the fields."""
        return attrs.evolve(self, fields=(field,))


def unexplained(found: Iterable[Finding], api_version: str) -> list[Finding]:
    """Return the findings that no known difference covers."""
    return [finding for finding in found if not any(known.covers(finding, api_version) for known in DIFFERENCES)]


DIFFERENCES: Final = (
    # --- sent by Stripe, but not described ----------------------------------------------------------------------------
    Difference(
        subject="subscription",
        fields=("plan", "quantity"),
        problem=Problem.UNKNOWN,
        reason=_LEGACY,
        source=f"{_REFERENCE}/subscriptions/object",
    ),
    Difference(
        subject="subscription_item",
        fields=("plan",),
        problem=Problem.UNKNOWN,
        reason=_LEGACY,
        source=f"{_SDK}/_subscription_item.py",
    ),
    Difference(
        subject="price",
        fields=("recurring.trial_period_days",),
        problem=Problem.UNKNOWN,
        reason=_LEGACY,
        source=f"{_SDK}/_price.py",
    ),
    Difference(
        subject="product",
        fields=("type",),
        problem=Problem.UNKNOWN,
        reason=_LEGACY,
        source=f"{_SDK}/_product.py",
    ),
    Difference(
        subject="subscription",
        fields=("items.total_count",),
        problem=Problem.UNKNOWN,
        reason="included lists say how many members they have",
        source=f"{_REFERENCE}/subscriptions/object",
    ),
    Difference(
        subject="invoice",
        fields=("lines.total_count",),
        problem=Problem.UNKNOWN,
        reason="included lists say how many members they have",
        source=f"{_REFERENCE}/invoices/object",
    ),
    Difference(
        subject="invoice",
        fields=("id",),
        problem=Problem.MISSING,
        reason="the invoice of `invoice.upcoming` does not exist yet",
        source=f"{_REFERENCE}/events/types#event_types-invoice.upcoming",
    ),
    Difference(
        subject="billing.alert_triggered",
        problem=Problem.UNKNOWN,
        reason="occurs in events only",
        source=f"{_SDK}/billing/_alert_triggered.py",
    ),
    Difference(
        subject="entitlements.active_entitlement_summary",
        problem=Problem.UNKNOWN,
        reason="occurs in events only",
        source=f"{_SDK}/entitlements/_active_entitlement_summary.py",
    ),
    Difference(
        subject="POST /v1/stripecli/sessions",
        problem=Problem.UNKNOWN,
        reason="between Stripe and its own command line",
        source="https://github.com/stripe/stripe-cli/blob/master/pkg/stripeauth/client.go",
    ),
    Difference(
        subject="* /v1/payment_pages/*",
        problem=Problem.UNKNOWN,
        reason="by which Stripe's own command line completes Checkout sessions",
        source="https://github.com/stripe/stripe-cli/blob/master/pkg/fixtures/triggers/checkout.session.completed.json",
    ),
    # --- newer than the specification ---------------------------------------------------------------------------------
    Difference(
        subject="POST /v1/subscriptions/*/pause",
        problem=Problem.UNKNOWN,
        since="2026-09-30",
        reason=_NEWER,
        source=f"{_SDK}/_subscription_service.py",
    ),
    Difference(
        subject="POST /v1/webhook_endpoints",
        fields=("api_version", "enabled_events"),
        problem=Problem.VALUE,
        since="2026-09-30",
        reason=_NEWER,
        source=f"{_SDK}/params/_webhook_endpoint_create_params.py",
    ),
    Difference(
        subject="POST /v1/webhook_endpoints/*",
        fields=("enabled_events",),
        problem=Problem.VALUE,
        since="2026-09-30",
        reason=_NEWER,
        source=f"{_SDK}/params/_webhook_endpoint_update_params.py",
    ),
    Difference(
        subject="v2.core.event",
        fields=("snapshot_event",),
        problem=Problem.UNKNOWN,
        reason=_NEWER,
        source=f"{_SDK}/v2/core/_event.py",
    ),
    Difference(
        subject="refund",
        fields=("customer", "customer_account", "payment_method"),
        problem=Problem.UNKNOWN,
        since="2026-07-29",
        reason=_NEWER,
        source=f"{_SDK}/_refund.py",
    ),
    Difference(
        subject="invoice",
        fields=("status_details",),
        problem=Problem.UNKNOWN,
        since="2026-09-30",
        reason=_NEWER,
        source=f"{_SDK}/_invoice.py",
    ),
    Difference(
        subject="subscription",
        fields=("status_details",),
        problem=Problem.UNKNOWN,
        since="2026-09-30",
        reason=_NEWER,
        source=f"{_SDK}/_subscription.py",
    ),
    Difference(
        subject="subscription_item",
        fields=("current_trial",),
        problem=Problem.UNKNOWN,
        since="2026-09-30",
        reason=_NEWER,
        source=f"{_SDK}/_subscription_item.py",
    ),
    Difference(
        subject="subscription_schedule",
        fields=("pause_schedules",),
        problem=Problem.UNKNOWN,
        since="2026-09-30",
        reason=_NEWER,
        source=f"{_SDK}/_subscription_schedule.py",
    ),
    Difference(
        subject="POST /v1/subscriptions/*/pause",
        problem=Problem.UNKNOWN,
        since="2026-09-30",
        reason=_NEWER,
        source=f"{_SDK}/params/_subscription_pause_params.py",
    ),
    Difference(
        subject="POST /v1/subscriptions/*/resume",
        fields=("billing_cycle_anchor",),
        problem=Problem.VALUE,
        since="2026-09-30",
        reason="an object instead of a word",
        source=f"{_SDK}/params/_subscription_resume_params.py",
    ),
    Difference(
        subject="POST /v1/subscriptions/*/resume",
        fields=("payment_behavior",),
        problem=Problem.UNKNOWN,
        since="2026-09-30",
        reason=_NEWER,
        source=f"{_SDK}/params/_subscription_resume_params.py",
    ),
    # --- older than the specification ---------------------------------------------------------------------------------
    Difference(
        subject="subscription*",
        fields=("billing_mode",),
        problem=Problem.MISSING,
        until="2025-06-30",
        reason="subscriptions and schedules had no billing mode",
        source=f"{_CHANGELOG}/basil/2025-06-30/billing-mode",
    ),
    Difference(
        subject="POST /v1/subscription_schedules*",
        fields=("phases.iterations",),
        problem=Problem.UNKNOWN,
        until="2025-09-30",
        reason="replaced by `duration` in 2025-09-30.clover",
        source=f"{_CHANGELOG}/clover",
    ),
    Difference(
        subject="line_item",
        fields=("subtotal",),
        problem=Problem.MISSING,
        until="2025-12-15",
        reason="added in 2025-12-15.clover",
        source=f"{_CHANGELOG}/clover",
    ),
    Difference(
        subject="checkout.session",
        fields=("ui_mode",),
        problem=Problem.VALUE,
        until="2026-03-25",
        reason="`hosted` was renamed to `hosted_page` in 2026-03-25.dahlia",
        source=f"{_CHANGELOG}/dahlia",
    ),
    Difference(
        subject="subscription",
        fields=("billing_schedules",),
        problem=Problem.MISSING,
        until="2026-05-27",
        reason="added in 2026-05-27.dahlia",
        source=f"{_CHANGELOG}/dahlia",
    ),
    Difference(
        subject="invoice",
        fields=("amount_paid_off_stripe",),
        problem=Problem.MISSING,
        until="2026-05-27",
        reason="added in 2026-05-27.dahlia",
        source=f"{_CHANGELOG}/dahlia",
    ),
)
