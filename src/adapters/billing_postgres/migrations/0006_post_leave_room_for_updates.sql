-- Rows that nearly every event writes anew. With room left on its page a row's next version needs no new index entries.
ALTER TABLE billing_tenants SET (fillfactor = 70);
ALTER TABLE tenant_subscriptions SET (fillfactor = 70);
ALTER TABLE subscription_items SET (fillfactor = 70);
ALTER TABLE subscription_invoices SET (fillfactor = 80);
