-- The test clock that a subscription lives by. Rows of before show theirs with their next event.
ALTER TABLE tenant_subscriptions ADD COLUMN test_clock text COLLATE "C";
CREATE INDEX tenant_subscriptions_test_clock ON tenant_subscriptions (test_clock) WHERE test_clock IS NOT NULL;

-- Test clocks are records without a tenant, like prices and products: no event waits for one.
CREATE OR REPLACE VIEW billing_objects (object_id, tenant_id) AS
SELECT subscription_id, tenant_id FROM tenant_subscriptions
UNION ALL
SELECT invoice_id, tenant_id FROM subscription_invoices
UNION ALL
SELECT object_id, tenant_id FROM billing_records WHERE kind NOT IN ('payment', 'price', 'product', 'test_clock')
UNION ALL
SELECT payment_id, tenant_id FROM billing_records WHERE kind = 'payment';
