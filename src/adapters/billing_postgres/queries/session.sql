-- Run once on every new connection.

-- name: configure
-- Args: arrays of $1 names and $2 values.
SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS t (name, value);
