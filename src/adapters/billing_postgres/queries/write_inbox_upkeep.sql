-- Changes that operators make to stored events.

-- name: ignore_events
-- Args: $1 events, $2 reason. Returns: the events that were ended.
WITH wanted AS (
    SELECT d.event
    FROM stripe_event_dispatch AS d
    WHERE d.event = ANY ($1::bigint[])
      AND (d.status IN ('due', 'parked', 'dead') OR d.status = 'leased' AND d.due_at <= now())
    ORDER BY d.event
    FOR NO KEY UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM stripe_event_waits AS w USING wanted WHERE w.event = wanted.event
)
UPDATE stripe_event_dispatch AS d
SET status = 'ignored', finished_at = now(), reason = $2
FROM wanted
WHERE d.event = wanted.event
RETURNING d.event;

-- name: count_prunable
-- Args: $1 age (interval).
SELECT count(*) AS bodies
FROM stripe_event_bodies AS b
JOIN stripe_events AS e ON e.id = b.event
JOIN stripe_event_dispatch AS d ON d.event = b.event
WHERE e.received_at < now() - $1::interval AND d.status IN ('applied', 'ignored');

-- name: prune_bodies
-- Deletes the bodies of old events that were applied or ignored, a bounded number at a time.
-- Args: $1 age (interval), $2 number to continue after, $3 most bodies. Returns: how many, and the last event.
WITH old AS (
    SELECT b.event, b.body
    FROM stripe_event_bodies AS b
    JOIN stripe_events AS e ON e.id = b.event
    JOIN stripe_event_dispatch AS d ON d.event = b.event
    WHERE b.event > $2 AND e.received_at < now() - $1::interval AND d.status IN ('applied', 'ignored')
    ORDER BY b.event
    LIMIT $3
    FOR UPDATE OF b SKIP LOCKED
), hashed AS (
    UPDATE stripe_events AS e SET body_sha256 = sha256(old.body) FROM old WHERE e.id = old.event
), gone AS (
    DELETE FROM stripe_event_bodies AS b USING old WHERE b.event = old.event
), forgotten AS (
    DELETE FROM stripe_event_waits AS w USING old WHERE w.event = old.event
)
SELECT count(*) AS bodies, max(event) AS reached FROM old;
