-- Actions of operators on consumers; each action is noted in the same transaction.

-- name: retry_dead
-- Args: $1 consumer, $2 a tenant or null. Returns: how many tenants are due.
WITH due AS (
    UPDATE billing_consumer_tenants
    SET dead_at = NULL, attempts = 0, due_at = now()
    WHERE consumer = $1 AND dead_at IS NOT NULL AND ($2::text IS NULL OR tenant_id = $2)
    RETURNING tenant_id
)
SELECT count(*) AS tenants FROM due;

-- name: skip_dead
-- Args: $1 consumer, $2 tenant, $3 actor, $4 reason. Returns: the number that was passed over; no row if none was dead.
WITH held AS MATERIALIZED (
    SELECT consumer, tenant_id, position + 1 AS sequence, last, attempts, error FROM billing_consumer_tenants
    WHERE consumer = $1 AND tenant_id = $2 AND dead_at IS NOT NULL
    FOR UPDATE
), gone AS (
    DELETE FROM billing_consumer_tenants AS w USING held
    WHERE w.consumer = held.consumer AND w.tenant_id = held.tenant_id AND held.sequence >= held.last
), moved AS (
    UPDATE billing_consumer_tenants AS w
    SET position = held.sequence, dead_at = NULL, error = NULL, attempts = 0, due_at = now(), fence = 0,
        waiting_since = coalesce((
            SELECT e.created_at FROM billing_events AS e
            WHERE e.tenant_id = held.tenant_id AND e.sequence = held.sequence + 1
        ), w.waiting_since)
    FROM held
    WHERE w.consumer = held.consumer AND w.tenant_id = held.tenant_id AND held.sequence < held.last
), skipped AS (
    INSERT INTO billing_consumer_skips (consumer, tenant_id, sequence, attempts, error, actor, reason)
    SELECT consumer, tenant_id, sequence, attempts, error, $3, $4 FROM held
)
SELECT sequence FROM held;

-- name: rewind_tenant
-- The tenant's row is locked, so that no message is numbered meanwhile. Claims are lost.
-- Args: $1 consumer, $2 tenant, $3 position.
WITH tenant AS MATERIALIZED (
    SELECT tenant_id, sequence FROM billing_tenants WHERE tenant_id = $2 FOR NO KEY UPDATE
), gone AS (
    DELETE FROM billing_consumer_tenants WHERE consumer = $1 AND tenant_id = $2 AND $3 >= (SELECT sequence FROM tenant)
)
INSERT INTO billing_consumer_tenants AS known (consumer, tenant_id, position, last, walk, due_at, waiting_since)
SELECT $1, t.tenant_id, $3, t.sequence, c.walk, now(), coalesce((
    SELECT e.created_at FROM billing_events AS e WHERE e.tenant_id = t.tenant_id AND e.sequence = $3 + 1
), now())
FROM tenant AS t, billing_consumers AS c
WHERE c.consumer = $1 AND t.sequence > $3
ON CONFLICT (consumer, tenant_id) DO UPDATE
SET position = excluded.position, last = excluded.last, walk = excluded.walk, fence = 0, attempts = 0,
    due_at = excluded.due_at, waiting_since = excluded.waiting_since, dead_at = NULL, error = NULL;

-- name: rewind_all
-- Begins a search for tenants, which sets their positions. Args: $1 consumer, $2 instant or null: the beginning.
UPDATE billing_consumers SET walk = walk + 1, walk_cursor = '', walk_from = $2 WHERE consumer = $1;
