-- Run once on every new connection, or at the start of every transaction behind a pooler in transaction mode.

-- name: configure
-- Args: arrays of $1 names and $2 values of settings; $3 whether they end with the transaction.
SELECT set_config(name, value, $3) FROM unnest($1::text[], $2::text[]) AS t (name, value);
