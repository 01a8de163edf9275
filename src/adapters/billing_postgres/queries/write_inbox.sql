-- The inbox: provider events, their bodies and how far each has been processed.

-- name: record_events
-- Stores events with their bodies and dispatch rows, all in this one statement.
-- Args: $1 bodies, $2 leases (interval; null: not claimed yet); then one array per column. Ordered by key, so that two
-- flushes wait for each other in one direction only. Returns: number and key of the new events.
WITH seen AS MATERIALIZED (
    SELECT * FROM unnest($1::bytea[], $2::interval[], :events.arrays) AS t (body, lease, :events.names)
), stored AS (
    INSERT INTO stripe_events (:events.names)
    SELECT :events.names FROM seen
    ON CONFLICT (:keys.names) DO NOTHING
    RETURNING id, :keys.names
), bodies AS (
    INSERT INTO stripe_event_bodies (event, body)
    SELECT stored.id, seen.body FROM stored JOIN seen USING (:keys.names)
), dispatch AS (
    INSERT INTO stripe_event_dispatch (event, status, attempt, due_at)
    SELECT stored.id,
           CASE WHEN seen.lease IS NULL THEN 'due' ELSE 'leased' END,
           CASE WHEN seen.lease IS NULL THEN 0 ELSE 1 END,
           now() + coalesce(seen.lease, interval '0')
    FROM stored JOIN seen USING (:keys.names)
)
SELECT id, :keys.names, (SELECT billing_commit_durably()) AS durability FROM stored;

-- name: record_event
-- The same for an event that comes alone: a statement that takes values is quicker than one that takes arrays.
-- Args: $1 body, $2 lease; then one value per column. Returns: its number, if it is new.
WITH stored AS (
    INSERT INTO stripe_events (:events.names)
    VALUES (:events.parameters)
    ON CONFLICT (:keys.names) DO NOTHING
    RETURNING id
), bodies AS (
    INSERT INTO stripe_event_bodies (event, body) SELECT id, $1::bytea FROM stored
), dispatch AS (
    INSERT INTO stripe_event_dispatch (event, status, attempt, due_at)
    SELECT id,
           CASE WHEN $2::interval IS NULL THEN 'due' ELSE 'leased' END,
           CASE WHEN $2::interval IS NULL THEN 0 ELSE 1 END,
           now() + coalesce($2::interval, interval '0')
    FROM stored
)
SELECT id, (SELECT billing_commit_durably()) AS durability FROM stored;

-- name: claim_events
-- Claims what is due or whose lease ran out, passing over rows that are being processed. An event whose body was pruned
-- can never be processed again: it is buried at once and returned without a body. Bodies are joined last: what a CTE returns
-- is stored until it is read, and the bodies of a batch do not fit into `work_mem`.
-- Args: $1 limit, $2 lease (interval).
-- Returns: the claimed events; `waited_since` gives their order.
WITH due AS (
    SELECT event, due_at
    FROM stripe_event_dispatch
    WHERE status IN ('due', 'leased') AND due_at <= now()
    ORDER BY due_at
    LIMIT $1
    FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
    UPDATE stripe_event_dispatch AS d
    SET status = CASE WHEN b.event IS NULL THEN 'dead' ELSE 'leased' END,
        reason = CASE WHEN b.event IS NULL THEN 'permanent' ELSE d.reason END,
        error = CASE WHEN b.event IS NULL THEN 'Its body was pruned before it was processed.' ELSE d.error END,
        finished_at = CASE WHEN b.event IS NULL THEN now() END,
        due_at = now() + $2::interval,
        attempt = d.attempt + 1
    FROM due LEFT JOIN stripe_event_bodies AS b ON b.event = due.event
    WHERE d.event = due.event
    RETURNING d.event, d.attempt, d.forgiven, d.effect IS NOT NULL AS applied, d.parked_on IS NOT NULL AS parked,
              due.due_at AS waited_since
)
SELECT c.event, c.attempt, c.forgiven, c.applied, c.parked, c.waited_since, b.body, :events.names
FROM claimed AS c
JOIN stripe_events AS e ON e.id = c.event
LEFT JOIN stripe_event_bodies AS b ON b.event = c.event;

-- name: retry_event
-- Args: $1 event, $2 attempt (the fence), $3 wait (interval), $4 reason, $5 error.
-- Returns: the event, if the claim still holds.
WITH kept AS (
    UPDATE stripe_event_dispatch
    SET status = 'due', due_at = now() + $3::interval, reason = $4, error = $5, first_error = coalesce(first_error, $5)
    WHERE event = $1 AND attempt = $2 AND status = 'leased'
    RETURNING event, attempt, reason, error
), noted AS (
    INSERT INTO stripe_event_attempts (event, attempt, reason, error) SELECT event, attempt, reason, error FROM kept
)
SELECT event FROM kept;

-- name: bury_event
-- The row keeps the customer and that customer's tenant; without a customer, the one tenant of the objects it is about.
-- Args: $1 event, $2 attempt (the fence), $3 reason, $4 error, $5 customer (null: unknown), $6 ids of objects.
-- Returns: the event, if the claim still holds.
WITH kept AS (
    UPDATE stripe_event_dispatch
    SET status = 'dead', finished_at = now(), reason = $3, error = $4, first_error = coalesce(first_error, $4),
        customer_id = coalesce($5, customer_id),
        tenant_id = coalesce(
            (SELECT c.tenant_id FROM billing_customers AS c WHERE c.customer_id = $5),
            (SELECT min(o.tenant_id) FROM billing_objects AS o
             WHERE $5 IS NULL AND o.object_id = ANY ($6::text[])
             HAVING count(DISTINCT o.tenant_id) = 1),
            tenant_id
        )
    WHERE event = $1 AND attempt = $2 AND status = 'leased'
    RETURNING event, attempt, reason, error
), noted AS (
    INSERT INTO stripe_event_attempts (event, attempt, reason, error) SELECT event, attempt, reason, error FROM kept
)
SELECT event FROM kept;

-- name: restore_event
-- Args: $1 event, $2 attempt (the fence), $3 reason, $4 error. Returns: the event, if the claim of the replay still holds.
WITH kept AS (
    UPDATE stripe_event_dispatch
    SET status = 'applied', reason = NULL, error = NULL, finished_at = coalesce(finished_at, now())
    WHERE event = $1 AND attempt = $2 AND status = 'leased' AND effect IS NOT NULL
    RETURNING event, attempt
), noted AS (
    INSERT INTO stripe_event_attempts (event, attempt, reason, error) SELECT event, attempt, $3, $4 FROM kept
)
SELECT event FROM kept;

-- name: release_events
-- Args: one array per column of a claim. The attempt is not counted.
UPDATE stripe_event_dispatch AS d
SET status = 'due', due_at = now(), attempt = d.attempt - 1
FROM unnest(:claims.arrays) AS c (:claims.names)
WHERE d.event = c.event AND d.attempt = c.attempt AND d.status = 'leased';

-- name: reclaim_events
-- Claims events whatever their status, passing over those that are being processed or whose bodies are gone.
-- Args: $1 events, $2 lease (interval).
WITH wanted AS (
    SELECT d.event
    FROM stripe_event_dispatch AS d
    WHERE d.event = ANY ($1::bigint[]) AND (d.status <> 'leased' OR d.due_at <= now())
      AND EXISTS (SELECT FROM stripe_event_bodies AS b WHERE b.event = d.event)
    ORDER BY d.event
    FOR NO KEY UPDATE OF d SKIP LOCKED
), claimed AS (
    UPDATE stripe_event_dispatch AS d
    SET status = 'leased', due_at = now() + $2::interval, attempt = d.attempt + 1, forgiven = d.attempt
    FROM wanted
    WHERE d.event = wanted.event
    RETURNING d.event, d.attempt, d.forgiven, d.effect IS NOT NULL AS applied, d.parked_on IS NOT NULL AS parked
)
SELECT c.event, c.attempt, c.forgiven, c.applied, c.parked, b.body, :events.names
FROM claimed AS c
JOIN stripe_events AS e ON e.id = c.event
JOIN stripe_event_bodies AS b ON b.event = c.event
ORDER BY e.created_at, c.event;

-- name: count_duplicates
-- Counts deliveries of events that were stored before.
-- Args: $1 numbers of deliveries; then one array per column of the key.
UPDATE stripe_events AS e
SET duplicates = e.duplicates + t.times, last_duplicate_at = now()
FROM unnest($1::int[], :keys.arrays) AS t (times, :keys.names)
WHERE e.event_id = t.event_id AND e.livemode = t.livemode AND e.account = t.account;

-- name: unpark_events
-- Finds events that were parked while another transaction saved what they wait for. One look-up per parked event
-- (LATERAL with a limit keeps the planner from reading whole tables instead); rows that are locked are passed over.
-- Returns: the events that are due.
WITH linked AS (
    SELECT d.event
    FROM stripe_event_dispatch AS d,
         LATERAL (SELECT FROM billing_customers AS c
                  WHERE c.customer_id = d.parked_on AND c.tenant_id IS NOT NULL LIMIT 1) AS customer
    WHERE d.status = 'parked'
), found AS (
    SELECT w.event
    FROM stripe_event_waits AS w,
         LATERAL (SELECT FROM billing_objects AS o WHERE o.object_id = w.object_id LIMIT 1) AS object
    WHERE NOT w.lapsed
), ready AS (
    SELECT d.event
    FROM stripe_event_dispatch AS d
    WHERE d.status = 'parked' AND d.event IN (SELECT event FROM linked UNION SELECT event FROM found)
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT unnest(billing_unpark(array_agg(event))) AS event FROM ready;

-- name: lapse_events
-- Ends events that have been parked for too long. What they wait for stays noted.
-- Args: $1 time (interval), $2 limit. Returns: the events that were ended.
WITH old AS (
    SELECT event
    FROM stripe_event_dispatch
    WHERE status = 'parked' AND parked_on IS NOT NULL AND due_at <= now() - $1::interval
    ORDER BY due_at
    LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
), noted AS (
    UPDATE stripe_event_waits AS w SET lapsed = true FROM old WHERE w.event = old.event
)
UPDATE stripe_event_dispatch AS d
SET status = 'ignored', reason = 'no_tenant', finished_at = now()
FROM old
WHERE d.event = old.event
RETURNING d.event;

-- name: notify_due
-- Wakes the other processes. Empty payload: equal notices merge, and the table shows what is due.
NOTIFY billing_due;
