-- The time by which access is decided, in every statement that does: one clock, whatever process asks.
CREATE FUNCTION billing_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$ SELECT clock_timestamp() $$;

-- What becomes of invoices while collection is paused. Null where collection is not paused, and for what was saved before.
ALTER TABLE tenant_subscriptions ADD COLUMN pause_behavior text;

-- The invoices that a tenant owes decide on its access each time it is read.
CREATE INDEX subscription_invoices_owed ON subscription_invoices (tenant_id)
    WHERE amount_remaining > 0 AND status NOT IN ('draft', 'paid', 'void', 'deleted');
