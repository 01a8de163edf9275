-- Facts that events show beside what rows had so far. Rows without them read as before; the next event fills them in.
ALTER TABLE tenant_subscriptions
    ADD COLUMN cancellation_reason   text,
    ADD COLUMN cancellation_feedback text;

ALTER TABLE subscription_items
    ADD COLUMN interval            text,
    ADD COLUMN interval_count      bigint,
    ADD COLUMN unit_amount         bigint,
    ADD COLUMN unit_amount_decimal numeric;

-- created_at is when the row was written.
ALTER TABLE subscription_invoices
    ADD COLUMN subtotal           bigint,
    ADD COLUMN invoice_pdf        text,
    ADD COLUMN invoice_created_at timestamptz,
    ADD COLUMN finalized_at       timestamptz;
