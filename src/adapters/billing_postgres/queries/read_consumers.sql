-- Consumers as operators see them.

-- name: list_lags
-- One row per consumer, each found at the ends of two small indexes.
SELECT c.consumer, coalesce(now() - oldest.waiting_since, interval '0') AS oldest, (
    SELECT count(*) FROM billing_consumer_tenants AS w WHERE w.consumer = c.consumer AND w.dead_at IS NOT NULL
) AS held
FROM billing_consumers AS c
LEFT JOIN LATERAL (
    SELECT w.waiting_since FROM billing_consumer_tenants AS w
    WHERE w.consumer = c.consumer AND w.waiting_since < 'infinity'
    ORDER BY w.waiting_since
    LIMIT 1
) AS oldest ON true;

-- name: count_waiting
-- Returns: one row per consumer.
SELECT c.consumer, (
    SELECT count(*) FROM billing_consumer_tenants AS w WHERE w.consumer = c.consumer AND w.position < w.last
) AS waiting, (
    SELECT count(*) FROM billing_consumer_skips AS s WHERE s.consumer = c.consumer
) AS skipped
FROM billing_consumers AS c;

-- name: list_waiting
-- Args: $1 consumer, $2 whether held ones only, $3 a tenant or null, $4 limit.
SELECT consumer, tenant_id, position, last, attempts, due_at, waiting_since, dead_at, error
FROM billing_consumer_tenants
WHERE consumer = $1 AND (NOT $2 OR dead_at IS NOT NULL) AND ($3::text IS NULL OR tenant_id = $3)
  AND waiting_since < 'infinity'
ORDER BY waiting_since, tenant_id
LIMIT $4;

-- name: list_skipped
-- Args: $1 consumer, $2 limit.
SELECT consumer, tenant_id, sequence, skipped_at, attempts, error, actor, reason
FROM billing_consumer_skips
WHERE consumer = $1
ORDER BY skip_id DESC
LIMIT $2;
