-- Decisions that were sent to the provider.

-- name: find_operation
-- Args: $1 key.
SELECT :operations.names, billing_now() AS read_at FROM gateway_operations WHERE key = $1;

-- name: list_unresolved_operations
-- Args: $1 limit.
SELECT :operations.names, billing_now() AS read_at
FROM gateway_operations
WHERE status = 'begun'
ORDER BY begun_at, operation_id
LIMIT $1;

-- name: count_unresolved_operations
SELECT count(*) AS count, billing_now() - min(begun_at) AS oldest FROM gateway_operations WHERE status = 'begun';
