-- The inbox: provider events, their bodies and how far each has been processed.

-- name: record_events
-- Stores events with their bodies and dispatch rows, all in this one statement.
-- Args: parallel arrays, ordered by key so that two flushes wait for each other in one direction only:
--   $1 event id, $2 livemode, $3 account, $4 type, $5 api version, $6 created_at, $7 received_at, $8 secret slot,
--   $9 body, $10 lease (interval; null: nobody claims it yet).
-- Returns: number and key of those that are new.
WITH seen AS MATERIALIZED (
    SELECT *
    FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[],
                $8::smallint[], $9::bytea[], $10::interval[])
        AS t (event_id, livemode, account, type, api_version, created_at, received_at, secret_slot, body, lease)
), stored AS (
    INSERT INTO stripe_events (event_id, livemode, account, type, api_version, created_at, received_at, secret_slot)
    SELECT event_id, livemode, account, type, api_version, created_at, received_at, secret_slot FROM seen
    ON CONFLICT (event_id, livemode, account) DO NOTHING
    RETURNING id, event_id, livemode, account
), bodies AS (
    INSERT INTO stripe_event_bodies (event, body)
    SELECT stored.id, seen.body FROM stored JOIN seen USING (event_id, livemode, account)
), dispatch AS (
    INSERT INTO stripe_event_dispatch (event, status, attempt, due_at)
    SELECT stored.id,
           CASE WHEN seen.lease IS NULL THEN 'due' ELSE 'leased' END,
           CASE WHEN seen.lease IS NULL THEN 0 ELSE 1 END,
           now() + coalesce(seen.lease, interval '0')
    FROM stored JOIN seen USING (event_id, livemode, account)
)
SELECT id, event_id, livemode, account FROM stored;

-- name: record_event
-- The same for an event that comes alone. Args: as for record_events, each a value instead of an array.
-- Returns: its number, if it is new.
WITH stored AS (
    INSERT INTO stripe_events (event_id, livemode, account, type, api_version, created_at, received_at, secret_slot)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (event_id, livemode, account) DO NOTHING
    RETURNING id
), bodies AS (
    INSERT INTO stripe_event_bodies (event, body) SELECT id, $9::bytea FROM stored
), dispatch AS (
    INSERT INTO stripe_event_dispatch (event, status, attempt, due_at)
    SELECT id,
           CASE WHEN $10::interval IS NULL THEN 'due' ELSE 'leased' END,
           CASE WHEN $10::interval IS NULL THEN 0 ELSE 1 END,
           now() + coalesce($10::interval, interval '0')
    FROM stored
)
SELECT id FROM stored;

-- name: claim_events
-- Claims what is due or whose lease ran out, passing over rows that somebody works on. An event whose body was pruned
-- can never be processed again: it is buried on the spot and comes back without a body.
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
    RETURNING d.event, d.attempt, d.forgiven, d.effect IS NOT NULL AS applied, due.due_at AS waited_since, b.body
)
SELECT c.event, c.attempt, c.forgiven, c.applied, c.waited_since, c.body,
       e.event_id, e.livemode, e.account, e.type, e.api_version, e.created_at, e.received_at, e.secret_slot
FROM claimed AS c JOIN stripe_events AS e ON e.id = c.event;

-- name: retry_event
-- Args: $1 event, $2 attempt (the fence), $3 wait (interval), $4 reason, $5 error. Returns: the event, if still ours.
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
-- Args: $1 event, $2 attempt (the fence), $3 reason, $4 error. Returns: the event, if it was still ours.
WITH kept AS (
    UPDATE stripe_event_dispatch
    SET status = 'dead', finished_at = now(), reason = $3, error = $4, first_error = coalesce(first_error, $4)
    WHERE event = $1 AND attempt = $2 AND status = 'leased'
    RETURNING event, attempt, reason, error
), noted AS (
    INSERT INTO stripe_event_attempts (event, attempt, reason, error) SELECT event, attempt, reason, error FROM kept
)
SELECT event FROM kept;

-- name: count_duplicates
-- Notes that stored events came again.
-- Args: parallel arrays: $1 event id, $2 livemode, $3 account, $4 how often.
UPDATE stripe_events AS e
SET duplicates = e.duplicates + t.times, last_duplicate_at = now()
FROM unnest($1::text[], $2::boolean[], $3::text[], $4::int[]) AS t (event_id, livemode, account, times)
WHERE e.event_id = t.event_id AND e.livemode = t.livemode AND e.account = t.account;

-- name: reclaim_events
-- Claims events whatever became of them, passing over those that somebody works on or whose bodies are gone.
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
    RETURNING d.event, d.attempt, d.forgiven, d.effect IS NOT NULL AS applied
)
SELECT c.event, c.attempt, c.forgiven, c.applied, b.body,
       e.event_id, e.livemode, e.account, e.type, e.api_version, e.created_at, e.received_at, e.secret_slot
FROM claimed AS c
JOIN stripe_events AS e ON e.id = c.event
JOIN stripe_event_bodies AS b ON b.event = c.event
ORDER BY e.created_at, c.event;

-- name: read_events
-- What reclaim_events would give, without claiming: the attempt is the one each event has. Args: $1 events.
SELECT d.event, d.attempt, d.forgiven, d.effect IS NOT NULL AS applied, b.body,
       e.event_id, e.livemode, e.account, e.type, e.api_version, e.created_at, e.received_at, e.secret_slot
FROM stripe_event_dispatch AS d
JOIN stripe_events AS e ON e.id = d.event
JOIN stripe_event_bodies AS b ON b.event = d.event
WHERE d.event = ANY ($1::bigint[])
ORDER BY e.created_at, d.event;

-- name: ignore_events
-- Args: $1 events, $2 reason. Returns: those that were ended.
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
-- Lets go the bodies of old events that came to a good end, a bounded number at a time.
-- Args: $1 age (interval), $2 number to go on behind, $3 most bodies. Returns: how many, and the last one.
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
)
SELECT count(*) AS bodies, max(event) AS reached FROM old;

-- name: release_events
-- Args: $1 events, $2 attempts (the fence). Returns: nothing; the attempt is not counted.
UPDATE stripe_event_dispatch AS d
SET status = 'due', due_at = now(), attempt = d.attempt - 1
FROM unnest($1::bigint[], $2::int[]) AS c (event, attempt)
WHERE d.event = c.event AND d.attempt = c.attempt AND d.status = 'leased';

-- name: known_events
-- Args: parallel arrays: $1 event id, $2 livemode, $3 account. Returns: those that are stored.
SELECT event_id, livemode, account
FROM stripe_events JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS k (event_id, livemode, account)
    USING (event_id, livemode, account);

-- name: count_backlog
-- Returns: one row. Every part of it goes by an index that holds nothing that is done.
SELECT coalesce(now() - min(due_at) FILTER (WHERE due_at <= now()), interval '0') AS oldest_due,
       count(*) FILTER (WHERE due_at <= now()) AS due,
       (SELECT count(*) FROM stripe_event_dispatch WHERE status = 'parked') AS parked
FROM stripe_event_dispatch
WHERE status IN ('due', 'leased');

-- name: count_dead
-- Returns: reason and number of the dead events.
SELECT coalesce(reason, '') AS reason, count(*) AS dead
FROM stripe_event_dispatch
WHERE status = 'dead'
GROUP BY 1;

-- name: announce_due
-- Wakes the other processes. Empty payload: equal notices merge, and the table says what is due.
NOTIFY billing_due;
