-- Consumers of messages, and their positions.

-- name: update_consumer
-- Args: as `insert_consumer`, without the start, which stays. Returns: no row if it is not registered.
UPDATE billing_consumers
SET event_types = $2, patterns = $3, on_dead = $4, attempts = $5, backoff_base = $6, backoff_cap = $7, timeout = $8
WHERE consumer = $1
RETURNING *;

-- name: wait_briefly_for_locks
-- Args: $1 a time such as 500ms. Numbering waits behind a lock that is waited for, so only for as long as that.
SELECT set_config('lock_timeout', $1, true);

-- name: lock_consumers
-- Waits for every transaction that has numbered messages, see billing_await_consumers. Reading goes on.
LOCK TABLE billing_consumers IN EXCLUSIVE MODE;

-- name: insert_consumer
-- Args: one per column that a consumer declares. One that starts in the past begins a search for tenants.
INSERT INTO billing_consumers AS known (
    consumer, event_types, patterns, on_dead, attempts, backoff_base, backoff_cap, timeout, start, start_at,
    walk_cursor, walk_from
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, CASE WHEN $9 <> 'now' THEN '' END, $10)
ON CONFLICT (consumer) DO UPDATE
SET event_types = excluded.event_types, patterns = excluded.patterns, on_dead = excluded.on_dead,
    attempts = excluded.attempts, backoff_base = excluded.backoff_base, backoff_cap = excluded.backoff_cap,
    timeout = excluded.timeout
RETURNING known.*;

-- name: list_consumers
SELECT * FROM billing_consumers ORDER BY consumer;

-- name: delete_consumer
-- Args: $1 name.
DELETE FROM billing_consumers WHERE consumer = $1 RETURNING consumer;

-- name: delete_positions
-- Args: $1 name, $2 limit. Returns: how many were deleted.
WITH gone AS (
    DELETE FROM billing_consumer_tenants
    WHERE consumer = $1 AND tenant_id = ANY (ARRAY (
        SELECT tenant_id FROM billing_consumer_tenants WHERE consumer = $1 ORDER BY tenant_id LIMIT $2
    ))
    RETURNING tenant_id
)
SELECT count(*) AS deleted FROM gone;

-- name: delete_skips
-- Args: $1 name, $2 limit. Returns: how many were deleted.
WITH gone AS (
    DELETE FROM billing_consumer_skips
    WHERE skip_id = ANY (ARRAY (SELECT skip_id FROM billing_consumer_skips WHERE consumer = $1 LIMIT $2))
    RETURNING skip_id
)
SELECT count(*) AS deleted FROM gone;

-- name: disable_consumer
-- Args: $1 name, $2 reason.
UPDATE billing_consumers SET disabled_at = now(), disabled_reason = $2
WHERE consumer = $1 AND disabled_at IS NULL
RETURNING consumer;

-- name: enable_consumer
-- Args: $1 name.
UPDATE billing_consumers SET disabled_at = NULL, disabled_reason = NULL
WHERE consumer = $1 AND disabled_at IS NOT NULL
RETURNING consumer;

-- name: lock_search
-- Args: $1 names. Returns: a consumer that searches for tenants, locked; none if others are at work on it.
SELECT consumer FROM billing_consumers
WHERE consumer = ANY ($1::text[]) AND walk_cursor IS NOT NULL
ORDER BY consumer
FOR UPDATE SKIP LOCKED;

-- name: search_tenants
-- Has the next tenants wait that have messages since the start. Reading their rows waits for transactions that number
-- messages of them: a unique key that was inserted, but not committed yet, is waited for.
-- Args: $1 name, which is locked, $2 limit. Returns: one row, whether there may be more.
WITH search AS MATERIALIZED (
    SELECT * FROM billing_consumers WHERE consumer = $1
), page AS MATERIALIZED (
    SELECT t.tenant_id, billing_position_before(t.tenant_id, search.walk_from) AS position
    FROM search CROSS JOIN LATERAL (
        SELECT tenant_id FROM billing_tenants WHERE tenant_id > search.walk_cursor ORDER BY tenant_id LIMIT $2
    ) AS t
), wanted AS MATERIALIZED (
    SELECT page.tenant_id, page.position, (
        SELECT max(e.sequence) FROM billing_events AS e, search
        WHERE e.tenant_id = page.tenant_id AND e.sequence > page.position AND e.event_type LIKE ANY (search.patterns)
    ) AS last
    FROM page
), found AS (
    INSERT INTO billing_consumer_tenants AS known (consumer, tenant_id, position, last, walk, due_at, waiting_since)
    SELECT $1, w.tenant_id, w.position, w.last, search.walk, now(), coalesce((
        SELECT e.created_at FROM billing_events AS e WHERE e.tenant_id = w.tenant_id AND e.sequence = w.position + 1
    ), now())
    FROM wanted AS w, search
    WHERE w.last IS NOT NULL
    ORDER BY w.tenant_id
    ON CONFLICT (consumer, tenant_id) DO UPDATE SET
        (last, walk, position, fence, attempts, due_at, waiting_since, dead_at, error) = (
            SELECT greatest(known.last, excluded.last), excluded.walk,
                CASE WHEN earlier THEN excluded.position ELSE known.position END,
                CASE WHEN earlier THEN 0 ELSE known.fence END,
                CASE WHEN earlier THEN 0 ELSE known.attempts END,
                CASE WHEN earlier THEN excluded.due_at ELSE known.due_at END,
                CASE WHEN earlier THEN excluded.waiting_since ELSE known.waiting_since END,
                CASE WHEN earlier THEN NULL ELSE known.dead_at END,
                CASE WHEN earlier THEN NULL ELSE known.error END
            FROM (SELECT known.walk < excluded.walk) AS of_search (earlier)
        )
), passed AS (
    DELETE FROM billing_consumer_tenants AS known
    USING wanted AS w, search
    WHERE known.consumer = $1 AND known.tenant_id = w.tenant_id AND w.last IS NULL AND known.walk < search.walk
      AND known.last <= w.position
)
UPDATE billing_consumers
SET walk_cursor = CASE WHEN (SELECT count(*) FROM page) = $2 THEN (SELECT max(tenant_id) FROM page) END
WHERE consumer = $1
RETURNING walk_cursor IS NOT NULL AS more;

-- name: delete_handled
-- Deletes positions with nothing waiting that were kept while a search had not reached their tenants.
-- Args: $1 name.
DELETE FROM billing_consumer_tenants AS known
USING billing_consumers AS c
WHERE known.consumer = $1 AND known.due_at = 'infinity' AND known.dead_at IS NULL AND c.consumer = $1
  AND (c.walk_cursor IS NULL OR known.tenant_id <= c.walk_cursor);

-- name: claim_tenants
-- Args: parallel arrays: $1 consumers, $2 limits, $3 leases.
WITH free AS (
    SELECT due.consumer, due.tenant_id, due.due_at, want.lease
    FROM unnest($1::text[], $2::int[], $3::interval[]) AS want (consumer, most, lease)
    JOIN billing_consumers AS c ON c.consumer = want.consumer AND c.disabled_at IS NULL
    CROSS JOIN LATERAL (
        SELECT w.consumer, w.tenant_id, w.due_at
        FROM billing_consumer_tenants AS w
        WHERE w.consumer = want.consumer AND w.dead_at IS NULL AND w.due_at <= now()
        ORDER BY w.due_at
        LIMIT want.most
        FOR UPDATE SKIP LOCKED
    ) AS due
), claimed AS (
    UPDATE billing_consumer_tenants AS w
    SET fence = nextval('billing_consumer_fences'), attempts = w.attempts + 1, due_at = now() + free.lease
    FROM free
    WHERE w.consumer = free.consumer AND w.tenant_id = free.tenant_id
    RETURNING w.consumer, w.tenant_id, w.position, w.last, w.fence, w.attempts, free.due_at
)
SELECT * FROM claimed ORDER BY due_at, tenant_id;

-- name: list_waiting_messages
-- A statement of its own: one that claimed at the same time could see the number of a message without the message.
-- A message keeps the epoch in which it was numbered, so that its id is the same before and after a failover.
-- Args: parallel arrays: $1 consumers, $2 tenants, $3 positions, $4 last numbers; $5 limit per claim.
SELECT claim.number AS claim, :messages.names, (
    SELECT token FROM billing_epochs
    ORDER BY began_at > m.created_at, CASE WHEN began_at <= m.created_at THEN -number ELSE number END
    LIMIT 1
) AS epoch
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) WITH ORDINALITY
    AS claim (consumer, tenant, position, last, number)
JOIN billing_consumers AS c ON c.consumer = claim.consumer
CROSS JOIN LATERAL (
    SELECT :messages.names, e.created_at
    FROM billing_events AS e
    WHERE e.tenant_id = claim.tenant AND e.sequence > claim.position AND e.sequence <= claim.last
      AND e.event_type LIKE ANY (c.patterns)
    ORDER BY e.sequence
    LIMIT $5
) AS m
ORDER BY claim.number, m.sequence;

-- name: begin_handler
-- Args: parallel arrays: $1 names and $2 values of settings for this transaction, set in their order.
-- Returns: when the transaction began, which no later one on the connection shares, and where names are looked up.
SELECT now() AS began_at, current_setting('search_path') AS path, (
    SELECT count(set_config(name, value, true)) FROM unnest($1::text[], $2::text[]) AS t (name, value)
) AS settings;

-- name: end_handler
-- Has names looked up as before the handler. Args: $1 search path. Returns: when the current transaction began.
SELECT now() AS began_at, set_config('search_path', $1, true);

-- name: settle_positions
-- The row of a tenant is deleted once nothing waits: compared under its lock, which numbering takes, too. Kept while a search
-- has not reached the tenant: the search must not begin with it again. Durable, because effects outside were the reason.
-- Args: parallel arrays: $1 consumers, $2 tenants, $3 fences, $4 positions of the claims, $5 steps, $6 new positions,
-- $7 attempts, $8 pauses, $9 errors. Returns: the claims that held.
WITH step AS (
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::int[], $8::interval[], $9::text[]
    ) AS s (consumer, tenant_id, fence, claimed, step, position, attempts, pause, error)
), held AS MATERIALIZED (
    SELECT s.*, w.last, s.step = 'done' AND s.position >= w.last AS over, c.walk_cursor < w.tenant_id AS ahead,
        (SELECT billing_commit_durably()) AS durability
    FROM step AS s
    JOIN billing_consumer_tenants AS w
        ON w.consumer = s.consumer AND w.tenant_id = s.tenant_id AND w.fence = s.fence AND w.position = s.claimed
    LEFT JOIN billing_consumers AS c ON c.consumer = s.consumer
    ORDER BY w.tenant_id, w.consumer
    FOR NO KEY UPDATE OF w
), gone AS (
    DELETE FROM billing_consumer_tenants AS w
    USING held
    WHERE w.consumer = held.consumer AND w.tenant_id = held.tenant_id AND held.over AND held.ahead IS NOT TRUE
), moved AS (
    UPDATE billing_consumer_tenants AS w
    SET position = held.position,
        fence = CASE WHEN held.step IN ('continue', 'skip') THEN w.fence ELSE 0 END,
        attempts = CASE WHEN held.step IN ('continue', 'skip') THEN 1 ELSE held.attempts END,
        due_at = CASE WHEN held.over THEN 'infinity' WHEN held.step = 'done' THEN now() ELSE now() + held.pause END,
        waiting_since = CASE
            WHEN held.over THEN 'infinity'
            WHEN held.position = held.claimed THEN w.waiting_since
            ELSE coalesce((
                SELECT e.created_at FROM billing_events AS e
                WHERE e.tenant_id = held.tenant_id AND e.sequence = held.position + 1
            ), w.waiting_since)
        END,
        dead_at = CASE WHEN held.step = 'hold' THEN now() END,
        error = CASE WHEN held.step <> 'skip' THEN held.error END
    FROM held
    WHERE w.consumer = held.consumer AND w.tenant_id = held.tenant_id AND (NOT held.over OR held.ahead)
), skipped AS (
    INSERT INTO billing_consumer_skips (consumer, tenant_id, sequence, attempts, error)
    SELECT consumer, tenant_id, position, attempts, error FROM held WHERE step = 'skip'
)
SELECT consumer, tenant_id, fence FROM held;
