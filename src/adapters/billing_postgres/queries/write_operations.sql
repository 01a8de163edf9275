-- Decisions that were sent to the provider.

-- name: lock_last_try
-- Args: $1 tenant, $2 operation, $3 request id. Returns: the last try of the request, locked until the end.
SELECT :operations.names, billing_now() AS read_at
FROM gateway_operations
WHERE tenant_id = $1 AND operation = $2 AND request_id = $3
ORDER BY number DESC
LIMIT 1
FOR UPDATE;

-- name: insert_operation
-- Waits for another insert of the same try or about the same subject.
-- Args: $1 tenant, $2 operation, $3 request id, $4 number, $5 key, $6 subject, $7 arguments' hash, $8 actor, $9 lease.
-- Returns: the operation; no row if the try exists, or its subject has an unresolved one.
INSERT INTO gateway_operations (
    tenant_id, operation, request_id, number, key, subject, arguments_hash, actor,
    status, attempts, begun_at, leased_until, due_at
)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, 'begun', 1, clock.now, clock.now + $9::interval, clock.now + $9::interval
FROM (SELECT billing_now() AS now) AS clock
ON CONFLICT DO NOTHING
RETURNING :operations.names, begun_at AS read_at;

-- name: lock_unresolved
-- Args: $1 subject. Returns: its unresolved operation, locked until the end.
SELECT :operations.names, billing_now() AS read_at
FROM gateway_operations
WHERE subject = $1 AND status = 'begun'
FOR UPDATE;

-- name: lease_operation
-- Args: $1 id, $2 lease. Returns: the operation.
UPDATE gateway_operations
SET attempts = attempts + 1, leased_until = clock.now + $2::interval, due_at = clock.now + $2::interval
FROM (SELECT billing_now() AS now) AS clock
WHERE operation_id = $1
RETURNING :operations.names, clock.now AS read_at;

-- name: plan_operation
-- The provider is called after this commit, which takes all earlier ones to disk with it.
-- Args: $1 id, $2 attempts, $3 command, $4 lease. Returns: the operation; no row if the lease was lost.
UPDATE gateway_operations
SET command = $3::json, planned_at = clock.now, leased_until = clock.now + $4::interval,
    due_at = clock.now + $4::interval
FROM (SELECT billing_now() AS now) AS clock
WHERE operation_id = $1 AND attempts = $2 AND status = 'begun' AND command IS NULL
RETURNING :operations.names, clock.now AS read_at, (SELECT billing_commit_durably()) AS durability;

-- name: resolve_operation
-- Args: $1 id, $2 attempts, $3 status, $4 result, $5 failure, $6 the provider's request id, $7 the command, if it changes.
-- Returns: the id; no row if the lease was lost.
UPDATE gateway_operations
SET status = $3, result = $4::json, failure = $5::json, provider_request_id = $6, command = coalesce($7::json, command),
    resolved_at = billing_now()
WHERE operation_id = $1 AND attempts = $2 AND status = 'begun'
RETURNING operation_id;

-- name: withdraw_operation
-- Args: $1 id, $2 attempts.
DELETE FROM gateway_operations
WHERE operation_id = $1 AND attempts = $2 AND status = 'begun' AND command IS NULL;

-- name: release_operation
-- Args: $1 id, $2 attempts, $3 until it is due, $4 error.
UPDATE gateway_operations
SET leased_until = clock.now, due_at = clock.now + $3::interval, last_error = $4
FROM (SELECT billing_now() AS now) AS clock
WHERE operation_id = $1 AND attempts = $2 AND status = 'begun';

-- name: claim_due_operations
-- Args: $1 lease, $2 limit. Returns: the claimed operations, the longest due first.
WITH clock AS MATERIALIZED (
    SELECT billing_now() AS read_at
), due AS (
    SELECT operation_id AS due_id, due_at AS was_due
    FROM gateway_operations
    WHERE status = 'begun'
        AND due_at <= (SELECT read_at FROM clock)
        AND leased_until <= (SELECT read_at FROM clock)
    ORDER BY due_at, operation_id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE gateway_operations
    SET attempts = attempts + 1, leased_until = clock.read_at + $1::interval, due_at = clock.read_at + $1::interval
    FROM due, clock
    WHERE operation_id = due_id
    RETURNING :operations.names, read_at, was_due
)
SELECT :operations.names, read_at FROM claimed ORDER BY was_due, operation_id;

-- name: give_up_operation
-- Args: $1 id, $2 attempts, $3 who, $4 why, $5 failure, $6 the command, if it changes.
-- Returns: the id; no row if it is leased, or was leased or resolved since it was read.
UPDATE gateway_operations
SET status = 'given_up', given_up_by = $3, given_up_reason = $4, failure = $5::json,
    command = coalesce($6::json, command), resolved_at = billing_now()
WHERE operation_id = $1 AND attempts = $2 AND status = 'begun' AND leased_until <= billing_now()
RETURNING operation_id;

-- name: prune_operations
-- Deletes old operations with an outcome, and notes of the events of old operations, which come with the lowest numbers.
-- Args: $1 age (interval), $2 most rows of each. Returns: how many of each.
WITH clock AS MATERIALIZED (
    SELECT billing_now() - $1::interval AS latest
), gone AS (
    DELETE FROM gateway_operations
    WHERE operation_id IN (
        SELECT operation_id
        FROM gateway_operations
        WHERE status <> 'begun' AND resolved_at < (SELECT latest FROM clock)
        ORDER BY resolved_at
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
    RETURNING operation_id
), forgotten AS (
    DELETE FROM operation_echoes AS o
    USING (SELECT event FROM operation_echoes ORDER BY event LIMIT $2) AS first, stripe_events AS e
    WHERE o.event = first.event AND e.id = o.event AND e.received_at < (SELECT latest FROM clock)
    RETURNING o.event
)
SELECT (SELECT count(*) FROM gone) AS operations, (SELECT count(*) FROM forgotten) AS echoes;
