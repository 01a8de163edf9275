-- What is looked for now and then is found without reading everything: rows in doubt, customers without a tenant, and
-- tenants with several live subscriptions of one plan.
CREATE INDEX tenant_subscriptions_doubtful ON tenant_subscriptions (subscription_id) WHERE ambiguous;
CREATE INDEX subscription_invoices_doubtful ON subscription_invoices (invoice_id) WHERE ambiguous OR NOT lines_complete;
CREATE INDEX billing_customers_doubtful ON billing_customers (customer_id) WHERE ambiguous;
CREATE INDEX billing_customers_unlinked ON billing_customers (customer_id) WHERE tenant_id IS NULL;
CREATE INDEX tenant_subscriptions_live ON tenant_subscriptions (tenant_id, plan_code, subscription_id)
    WHERE NOT ended AND status <> 'incomplete' AND plan_code IS NOT NULL;
