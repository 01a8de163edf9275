-- Run once on every new connection.

-- name: limit_transactions
-- Args: $1 milliseconds, as text.
SELECT set_config('transaction_timeout', $1, false);
