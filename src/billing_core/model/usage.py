"""Usage as billed: what an invoice charged for a metered feature."""

from collections.abc import Mapping

import attrs

from billing_core.model.identifiers import InvoiceId, ItemId, LineId, SubscriptionId, TenantId
from billing_core.model.invoice import SubscriptionInvoice
from billing_core.model.time import Period


@attrs.frozen(kw_only=True)
class UsageRecord:
    """The billed usage of one feature: an absolute value per invoice line, so recording it twice changes nothing."""

    tenant_id: TenantId
    invoice_id: InvoiceId
    line_id: LineId
    subscription_id: SubscriptionId | None
    feature_key: str
    quantity: int
    amount: int
    currency: str
    period: Period | None


def billed_usage(invoice: SubscriptionInvoice, features: Mapping[ItemId, str]) -> tuple[UsageRecord, ...]:
    """Usage records of an invoice's metered lines; () while it is a draft, whose lines still change.

    Args:
        invoice: the invoice.
        features: metered subscription items and their feature keys, for lines that do not say what they bill.
    """
    seen = invoice.snapshot
    if seen.status not in ("open", "paid", "uncollectible"):
        return ()
    records = []
    for line in seen.lines:
        feature = line.feature_key if line.usage_type == "metered" else None
        if feature is None and line.usage_type != "licensed" and line.subscription_item_id is not None:
            feature = features.get(line.subscription_item_id)
        if feature is None and line.usage_type == "metered":
            feature = line.price_id
        if feature is None or line.proration:
            continue
        records.append(
            UsageRecord(
                tenant_id=invoice.tenant_id,
                invoice_id=seen.invoice_id,
                line_id=line.line_id,
                subscription_id=seen.subscription_id,
                feature_key=feature,
                quantity=line.quantity or 0,
                amount=line.amount,
                currency=seen.currency,
                period=line.period,
            )
        )
    return tuple(records)
