"""Disputes, as banks open them."""

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account


def open_dispute(account: Account, charge: objects.Charge, status: str) -> objects.Dispute:
    """Dispute a charge. An inquiry (`warning_needs_response`) takes no money; a dispute takes it at once."""
    account.update(attrs.evolve(charge, disputed=True))
    dispute = account.create(
        objects.Dispute(
            dispute_id=account.new_id("dp"),
            payment_id=charge.payment_id,
            charge_id=charge.charge_id,
            created_at=account.now,
            amount=charge.amount,
            currency=charge.currency,
            status=status,
        )
    )
    if status == "needs_response":
        account.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute
