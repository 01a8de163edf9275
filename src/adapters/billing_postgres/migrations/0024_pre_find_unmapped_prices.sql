-- Live subscriptions on prices of no plan: few, and counted every minute.
CREATE INDEX tenant_subscriptions_unmapped ON tenant_subscriptions (price_id)
    WHERE plan_code IS NULL AND price_id IS NOT NULL AND NOT ended;
