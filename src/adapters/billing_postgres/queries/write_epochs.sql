-- The epochs of this database.

-- name: find_place
-- Returns: a text that differs after a restore (another server or another table) and after a failover (the timeline).
SELECT concat_ws(
    '/',
    (pg_control_system()).system_identifier,
    substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
    'billing_events'::regclass::oid
);

-- name: find_epoch
-- Returns: the current epoch's number, token and place; no row before the first.
SELECT number, token, place FROM billing_epochs ORDER BY number DESC LIMIT 1;

-- name: begin_epoch
-- Args: $1 number, $2 token, $3 place, $4 reason. Of concurrent calls with the same number one succeeds.
INSERT INTO billing_epochs (number, token, place, reason) VALUES ($1, $2, $3, $4) ON CONFLICT (number) DO NOTHING;
