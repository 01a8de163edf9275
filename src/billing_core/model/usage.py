"""Billed usage: the amounts that invoices charge for metered features."""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal

import attrs

from billing_core.model.identifiers import InvoiceId, LineId, PriceId, SubscriptionId, TenantId
from billing_core.model.invoice import InvoiceLine, SubscriptionInvoice
from billing_core.model.time import Period


@attrs.frozen(kw_only=True)
class UsageRecord:
    """The billed usage of one feature: an absolute value per invoice line, so recording it twice changes nothing."""

    tenant_id: TenantId
    invoice_id: InvoiceId
    line_id: LineId
    subscription_id: SubscriptionId | None
    feature_key: str
    quantity: Decimal
    amount: int
    currency: str
    period: Period | None

    @property
    def whole_quantity(self) -> int:
        """The quantity as an integer, rounded half to even."""
        return int(self.quantity.to_integral_value(ROUND_HALF_EVEN))


def billed_usage(invoice: SubscriptionInvoice, metered_prices: Mapping[PriceId, str]) -> tuple[UsageRecord, ...]:
    """Return the usage that an invoice's metered lines bill; () for a draft, whose lines still change.

    Args:
        invoice: the invoice.
        metered_prices: metered prices of its subscription and their features, for lines that name no feature.
    """
    seen = invoice.snapshot
    if seen.status not in ("open", "paid", "uncollectible"):
        return ()
    return tuple(
        UsageRecord(
            tenant_id=invoice.tenant_id,
            invoice_id=seen.invoice_id,
            line_id=line.line_id,
            subscription_id=seen.subscription_id,
            feature_key=feature_key,
            quantity=line.exact_quantity,
            amount=line.amount,
            currency=seen.currency,
            period=line.period,
        )
        for line in seen.lines
        if not line.proration and (feature_key := _feature_key(line, metered_prices)) is not None
    )


def _feature_key(line: InvoiceLine, metered_prices: Mapping[PriceId, str]) -> str | None:
    """Return the metered feature a line bills; None for other lines, and while the feature is unknown."""
    if line.usage_type == "licensed":
        return None
    if line.feature_key is not None:
        return line.feature_key
    if line.price_id is None:
        return None
    return metered_prices.get(line.price_id, line.price_id if line.usage_type == "metered" else None)
