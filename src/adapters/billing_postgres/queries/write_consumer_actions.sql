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
-- A position with nothing waiting is kept where a search has not reached the tenant, as by settle_positions.
-- Args: $1 consumer, $2 tenant, $3 actor, $4 reason, $5 number. Returns: the number; no row if it is not the dead one.
WITH held AS MATERIALIZED (
    SELECT w.consumer, w.tenant_id, w.position + 1 AS sequence, w.attempts, w.error,
        w.position + 1 >= w.last AS over, c.walk_cursor < w.tenant_id AS ahead
    FROM billing_consumer_tenants AS w
    LEFT JOIN billing_consumers AS c ON c.consumer = w.consumer
    WHERE w.consumer = $1 AND w.tenant_id = $2 AND w.dead_at IS NOT NULL AND w.position + 1 = $5
    FOR UPDATE OF w
), gone AS (
    DELETE FROM billing_consumer_tenants AS w USING held
    WHERE w.consumer = held.consumer AND w.tenant_id = held.tenant_id AND held.over AND held.ahead IS NOT TRUE
), moved AS (
    UPDATE billing_consumer_tenants AS w
    SET position = held.sequence, dead_at = NULL, error = NULL, attempts = 0, fence = 0,
        due_at = CASE WHEN held.over THEN 'infinity' ELSE now() END,
        waiting_since = CASE WHEN held.over THEN 'infinity' ELSE coalesce((
            SELECT e.created_at FROM billing_events AS e
            WHERE e.tenant_id = held.tenant_id AND e.sequence = held.sequence + 1
        ), w.waiting_since) END
    FROM held
    WHERE w.consumer = held.consumer AND w.tenant_id = held.tenant_id AND (NOT held.over OR held.ahead)
), skipped AS (
    INSERT INTO billing_consumer_skips (consumer, tenant_id, sequence, attempts, error, actor, reason)
    SELECT consumer, tenant_id, sequence, attempts, error, $3, $4 FROM held
)
SELECT sequence FROM held;

-- name: find_rewind
-- Locks the consumer: what follows sees where its search is, and that one goes no further until the end of the transaction.
-- Args: $1 consumer, $2 tenant or null, $3 instant or null: the beginning. Returns: one row if there is anything to set.
SELECT t.sequence, CASE WHEN t.tenant_id IS NOT NULL THEN billing_position_before(t.tenant_id, $3) END AS position
FROM billing_consumers AS c
LEFT JOIN billing_tenants AS t ON t.tenant_id = $2
WHERE c.consumer = $1 AND ($2::text IS NULL OR t.tenant_id IS NOT NULL)
FOR NO KEY UPDATE OF c;

-- name: rewind_tenant
-- The tenant's row is locked, so that no message is numbered meanwhile. Claims are lost. A position with nothing waiting is
-- kept where a search has not reached the tenant, as by settle_positions.
-- Args: $1 consumer, $2 tenant, $3 position.
WITH tenant AS MATERIALIZED (
    SELECT tenant_id, sequence FROM billing_tenants WHERE tenant_id = $2 FOR NO KEY UPDATE
), place AS MATERIALIZED (
    SELECT t.tenant_id, least($3, t.sequence) AS position, t.sequence AS last, c.walk, $3 >= t.sequence AS over,
        c.walk_cursor < t.tenant_id COLLATE "C" AS ahead
    FROM tenant AS t, billing_consumers AS c
    WHERE c.consumer = $1
), gone AS (
    DELETE FROM billing_consumer_tenants AS w
    USING place
    WHERE w.consumer = $1 AND w.tenant_id = place.tenant_id AND place.over AND place.ahead IS NOT TRUE
)
INSERT INTO billing_consumer_tenants AS known (consumer, tenant_id, position, last, walk, due_at, waiting_since)
SELECT $1, p.tenant_id, p.position, p.last, p.walk,
    CASE WHEN p.over THEN 'infinity' ELSE now() END,
    CASE WHEN p.over THEN 'infinity' ELSE coalesce((
        SELECT e.created_at FROM billing_events AS e WHERE e.tenant_id = p.tenant_id AND e.sequence = p.position + 1
    ), now()) END
FROM place AS p
WHERE p.ahead OR NOT p.over
ON CONFLICT (consumer, tenant_id) DO UPDATE
SET position = excluded.position, last = excluded.last, walk = excluded.walk, fence = 0, attempts = 0,
    due_at = excluded.due_at, waiting_since = excluded.waiting_since, dead_at = NULL, error = NULL;

-- name: rewind_all
-- Begins a search for tenants, which sets their positions. Args: $1 consumer, $2 instant or null: the beginning.
UPDATE billing_consumers SET walk = walk + 1, walk_cursor = '', walk_from = $2 WHERE consumer = $1;

-- name: end_search
-- Ends the search of a consumer, if there is one, and makes its positions those of an earlier one. Args: $1 consumer.
UPDATE billing_consumers SET walk = walk + 1, walk_cursor = NULL, walk_from = NULL WHERE consumer = $1;

-- name: delete_earlier_positions
-- Deletes positions from before the last rewind. One for which a message is numbered in the meantime is renewed by it, and kept.
-- Args: $1 consumer, $2 limit. Returns: how many were deleted.
WITH gone AS (
    DELETE FROM billing_consumer_tenants AS w
    USING billing_consumers AS c
    WHERE w.consumer = $1 AND c.consumer = $1 AND w.walk < c.walk AND w.tenant_id = ANY (ARRAY (
        SELECT e.tenant_id FROM billing_consumer_tenants AS e
        JOIN billing_consumers AS of_all ON of_all.consumer = e.consumer
        WHERE e.consumer = $1 AND e.walk < of_all.walk
        ORDER BY e.tenant_id
        LIMIT $2
    ))
    RETURNING w.tenant_id
)
SELECT count(*) AS deleted FROM gone;
