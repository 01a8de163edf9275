-- Subscriptions of which items are missing are uncertain, too, and are found without reading all.
ALTER TABLE tenant_subscriptions ADD COLUMN items_complete boolean NOT NULL DEFAULT true;
CREATE INDEX tenant_subscriptions_uncertain ON tenant_subscriptions (subscription_id)
    WHERE ambiguous OR (NOT items_complete AND NOT ended);
