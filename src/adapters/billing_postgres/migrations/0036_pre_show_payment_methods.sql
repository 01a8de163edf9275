-- The subscription's own default payment method, and what is known of it.
ALTER TABLE tenant_subscriptions
    ADD COLUMN payment_method_id text COLLATE "C",
    ADD COLUMN payment_method    jsonb NOT NULL DEFAULT 'null';
