-- Keys and values that the merchant attached to an item's price: they may name its plan. Empty for rows of before.
ALTER TABLE subscription_items ADD COLUMN price_metadata jsonb NOT NULL DEFAULT '{}';
