-- Messages may follow from the clock, a grant or a refetch: no Stripe event stands behind them.

ALTER TABLE billing_events ALTER COLUMN event_id DROP NOT NULL;
