-- The provider's account whose data this database holds.

-- name: find_provider_account
-- Returns: mode, account id (null if unknown), and whether there is any data of it; no row before the first start.
SELECT livemode, account_id, EXISTS (SELECT FROM stripe_events) OR EXISTS (SELECT FROM billing_customers) AS holds_data
FROM billing_provider_account;

-- name: keep_provider_account
-- Args: $1 mode, $2 account id, or null if it is unknown.
INSERT INTO billing_provider_account (livemode, account_id) VALUES ($1, $2)
ON CONFLICT (one) DO UPDATE SET livemode = excluded.livemode, account_id = excluded.account_id;
