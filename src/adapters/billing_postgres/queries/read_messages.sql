-- The numbered messages of tenants.

-- name: get_sequence
-- Args: $1 tenant id.
SELECT sequence FROM billing_tenants WHERE tenant_id = $1;

-- name: get_sequences
-- Args: $1 tenant ids.
SELECT tenant_id, sequence FROM billing_tenants WHERE tenant_id = ANY ($1::text[]);

-- name: get_erased_until
-- Args: $1 tenant id.
SELECT erased_until FROM billing_tenants WHERE tenant_id = $1;

-- name: list_messages
-- Args: $1 tenant id, $2 number to start after, $3 limit.
SELECT :messages.names
FROM billing_events
WHERE tenant_id = $1 AND sequence > $2
ORDER BY sequence
LIMIT $3;

-- name: find_outdated_logs
-- Args: $1 tenant ids. Nearly always an empty table.
SELECT tenant_id FROM billing_log_rewrites WHERE tenant_id = ANY ($1::text[]);
