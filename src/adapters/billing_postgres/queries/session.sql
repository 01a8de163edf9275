-- What is said once on every connection.

-- name: limit_transactions
-- Args: $1 milliseconds, as text.
SELECT set_config('transaction_timeout', $1, false);
