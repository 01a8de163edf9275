-- The deletion of a customer is published to every tenant that it pays for.
CREATE INDEX tenant_subscriptions_customer ON tenant_subscriptions (customer_id);
