"""Records of every kind, with nothing and with everything filled in."""

from datetime import timedelta

import attrs

from billing_core.model import (
    ChargeSnapshot,
    ClockSnapshot,
    CreditNoteSnapshot,
    CustomerId,
    DisputeSnapshot,
    EntitlementsSnapshot,
    InvoiceId,
    PaymentMethodSnapshot,
    PaymentSnapshot,
    Phase,
    PlannedItem,
    PriceId,
    PriceSnapshot,
    ProductSnapshot,
    RecordSnapshot,
    RefundSnapshot,
    ScheduleSnapshot,
    SubscriptionId,
    TenantId,
    TenantRecord,
)
from billing_core.testing.builders import ACME, AT, provenance

HOSTILE = 'Zoë’s "text" \'); DROP TABLE billing_records; -- \\ \t\n {a,b} NULL \u2028 日本 💶'
LARGEST = 2**63 - 1

PAYMENT = PaymentSnapshot(
    payment_id="pi_1", invoice_id=InvoiceId("in_1"), amount_paid=LARGEST, currency="usd", status="paid"
)
CHARGE = ChargeSnapshot(
    charge_id="ch_1",
    payment_id="pi_1",
    invoice_id=InvoiceId("in_1"),
    amount=LARGEST,
    amount_refunded=1,
    currency="jpy",
    disputed=True,
)
OF_TENANTS = (
    PAYMENT,
    attrs.evolve(PAYMENT, payment_id="ch_1"),
    CHARGE,
    ChargeSnapshot(charge_id="ch_2", amount=0, amount_refunded=0, currency="usd"),
    RefundSnapshot(
        refund_id="re_1", payment_id="pi_1", charge_id="ch_1", amount=1, currency="usd", status="new", reason=HOSTILE
    ),
    RefundSnapshot(refund_id="re_2", amount=1, currency="usd", status="pending"),
    DisputeSnapshot(
        dispute_id="dp_1", payment_id="pi_1", charge_id="ch_1", amount=-LARGEST, currency="usd", status="won"
    ),
    CreditNoteSnapshot(
        credit_note_id="cn_1", invoice_id=InvoiceId("in_1"), amount=5, currency="usd", status="void", reason=HOSTILE
    ),
    EntitlementsSnapshot(customer_id=CustomerId("cus_1"), features=("api", HOSTILE), complete=False),
    EntitlementsSnapshot(customer_id=CustomerId("cus_2"), features=()),
    ScheduleSnapshot(schedule_id="sub_sched_1", subscription_id=SubscriptionId("sub_1"), status="active"),
    ScheduleSnapshot(
        schedule_id="sub_sched_3",
        status="not_started",
        phases=(
            Phase(starts_at=AT, items=(PlannedItem(price_id=PriceId("price_1"), quantity=LARGEST),), plan_code=HOSTILE),
            Phase(starts_at=AT + timedelta(microseconds=1)),
        ),
    ),
    ScheduleSnapshot(schedule_id="sub_sched_2", status="canceled"),
    PaymentMethodSnapshot(payment_method_id="pm_1"),
    PaymentMethodSnapshot(
        payment_method_id="pm_2",
        type="card",
        brand=HOSTILE,
        last4="4242",
        exp_month=12,
        exp_year=LARGEST,
        detached=True,
    ),
)
"""A payment and a charge may share an id."""
OF_THE_CATALOG = (
    PriceSnapshot(price_id=PriceId("gold")),
    PriceSnapshot(
        price_id=PriceId("price_1"),
        product_id="prod_1",
        lookup_key=HOSTILE,
        metadata=((HOSTILE, HOSTILE),),
        usage_type="metered",
        meter_id="mtr_1",
        currency="usd",
        unit_amount=None,
        unit_amount_decimal="0.000000000001",
        active=False,
        deleted=True,
    ),
    ProductSnapshot(product_id="gold", name=HOSTILE, active=False, deleted=True),
)
"""A price and a product may share an id."""
CLOCK = ClockSnapshot(clock_id="clock_1", frozen_at=AT + timedelta(days=900))
UNOWNED = (*OF_THE_CATALOG, CLOCK)
"""Records without a tenant."""


def record(snapshot: RecordSnapshot, tenant_id: TenantId | None = ACME, *, at: int = 0) -> TenantRecord:
    """Return a record that was observed `at` seconds after the beginning."""
    basis = provenance("evt_2", "evt_1", observed_at=AT + timedelta(seconds=at), ambiguous=True)
    return TenantRecord(tenant_id=tenant_id, snapshot=snapshot, provenance=basis)
