-- Messages that the bus has not confirmed yet.

-- name: list_unpublished
-- Args: $1 age (interval), $2 limit. The longest waiting first, which is by number within each tenant.
SELECT now() - o.committed_at AS waited, :messages.names
FROM billing_outbox AS o
JOIN billing_events AS e USING (tenant_id, sequence)
WHERE o.committed_at <= now() - $1::interval
ORDER BY o.committed_at, o.tenant_id, o.sequence
LIMIT $2;

-- name: find_oldest_unpublished
-- Returns: one row, the age of the oldest message. The table holds unpublished messages only.
SELECT coalesce(now() - min(committed_at), interval '0') AS waited FROM billing_outbox;

-- name: delete_published
-- Args: parallel arrays: $1 tenant id (as its literal), $2 number.
DELETE FROM billing_outbox AS o
USING unnest($1::text::text[], $2::bigint[]) AS done (tenant_id, sequence)
WHERE o.tenant_id = done.tenant_id AND o.sequence = done.sequence;

-- name: list_rewrites
-- Logs of the bus that have to be replaced, once everything up to what was withdrawn is published.
SELECT r.tenant_id, r.until
FROM billing_log_rewrites AS r
WHERE NOT EXISTS (SELECT FROM billing_outbox AS o WHERE o.tenant_id = r.tenant_id AND o.sequence <= r.until)
ORDER BY r.requested_at, r.tenant_id;

-- name: finish_rewrite
-- Args: $1 tenant id, $2 number up to which messages were withdrawn.
DELETE FROM billing_log_rewrites WHERE tenant_id = $1 AND until = $2;

-- name: list_published
-- Args: $1 tenant and $2 number to continue after, $3 how many of each tenant's newest, $4 limit. Tenant by tenant, so
-- that the cost of a page depends on its size only.
SELECT e.*
FROM billing_tenants AS t
CROSS JOIN LATERAL (
    SELECT :messages.names
    FROM billing_events AS m
    WHERE m.tenant_id = t.tenant_id
        AND m.sequence > greatest(t.sequence - $3, CASE WHEN t.tenant_id = $1 THEN $2::bigint ELSE 0 END)
        AND NOT EXISTS (
            SELECT FROM billing_outbox AS o WHERE o.tenant_id = m.tenant_id AND o.sequence = m.sequence
        )
    ORDER BY m.sequence
    LIMIT $4
) AS e
WHERE t.tenant_id >= $1
ORDER BY t.tenant_id, e.sequence
LIMIT $4;
