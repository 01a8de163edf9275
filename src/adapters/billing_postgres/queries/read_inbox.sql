-- Events of the inbox, read without claiming them.

-- name: read_events
-- The rows that reclaim_events would return, without claiming: each event has its present attempt. Args: $1 events.
SELECT d.event, d.attempt, d.forgiven, d.effect IS NOT NULL AS applied, d.parked_on IS NOT NULL AS parked, b.body,
       :events.names
FROM stripe_event_dispatch AS d
JOIN stripe_events AS e ON e.id = d.event
JOIN stripe_event_bodies AS b ON b.event = d.event
WHERE d.event = ANY ($1::bigint[])
ORDER BY e.created_at, d.event;

-- name: known_events
-- Args: one array per column of the key. Returns: the keys that are stored.
SELECT :keys.names FROM stripe_events JOIN unnest(:keys.arrays) AS k (:keys.names) USING (:keys.names);

-- name: count_backlog
-- Returns: one row. Every part of it uses an index that holds no finished events.
SELECT coalesce(now() - min(due_at) FILTER (WHERE due_at <= now()), interval '0') AS oldest_due,
       count(*) FILTER (WHERE due_at <= now()) AS due,
       (SELECT count(*) FROM stripe_event_dispatch WHERE status = 'parked') AS parked,
       (SELECT coalesce(now() - min(due_at), interval '0') FROM stripe_event_dispatch WHERE status = 'parked') AS oldest_parked
FROM stripe_event_dispatch
WHERE status IN ('due', 'leased');

-- name: count_dead
-- Returns: the number of dead events by reason, and how long the oldest of them has been dead.
SELECT coalesce(reason, '') AS reason, count(*) AS dead, coalesce(now() - min(finished_at), interval '0') AS oldest
FROM stripe_event_dispatch
WHERE status = 'dead'
GROUP BY 1;
