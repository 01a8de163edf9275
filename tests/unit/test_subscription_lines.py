"""Previews as the command line shows them."""

from datetime import UTC, datetime

from billing_app.cli.subscriptions.rendering import preview_lines
from billing_core.model import SubscriptionId
from billing_core.operations.previews import ChangePreview
from billing_core.operations.results import InvoicePreview, PreviewLine


def test_a_preview_adds_up() -> None:
    """Lines, discount, tax and credit lead to the amount that is due."""
    now = InvoicePreview(
        currency="usd",
        lines=(PreviewLine(description="Pro", amount=4900), PreviewLine(amount=-900, proration=True)),
        subtotal=4000,
        discount=400,
        discounts=("di_1",),
        tax=684,
        total=4284,
        credit_applied=4000,
        credit_left=250,
        amount_due=284,
    )
    next_one = InvoicePreview(
        currency="usd",
        subtotal=4900,
        total=4900,
        credit_applied=-100,
        amount_due=5000,
        due_at=datetime(2026, 4, 1, tzinfo=UTC),
    )
    preview = ChangePreview(
        preview_id="pv_1", subscription_id=SubscriptionId("sub_1"), plan_code="pro", now=now, upcoming=next_one
    )
    assert list(preview_lines(preview)) == [
        "sub_1 changes now to pro.",
        "  due now: 2.84 USD",
        "    49.00 USD  Pro",
        "    -9.00 USD",
        "    -4.00 USD  discount",
        "    6.84 USD  tax",
        "    -40.00 USD  credit",
        "    2.50 USD of credit are left",
        "  next invoice, 2026-04-01 00:00:00Z: 50.00 USD",
        "    1.00 USD  earlier debt",
    ]
