-- Servers, workers and applications, and when each last showed that it is alive.

-- name: beat_process
-- A committed write, made durable like that of an event: a database that refuses writes refuses this one, too.
-- Args: $1 how long a silent process is kept (interval), $2 the process; then one value per column.
-- Returns: the database's time, and the migrations that the schema has.
WITH pruned AS (
    DELETE FROM billing_processes WHERE beat_at < now() - $1::interval AND process_id <> $2
), beaten AS (
    INSERT INTO billing_processes AS known (:processes.names, beat_at)
    VALUES (:processes.parameters, clock_timestamp())
    ON CONFLICT (process_id) DO UPDATE SET beat_at = excluded.beat_at, processes_events = excluded.processes_events
    RETURNING process_id
)
SELECT clock_timestamp() AS at,
       ARRAY (SELECT version FROM schema_migrations) AS migrations,
       (SELECT billing_commit_durably() FROM beaten) AS durability;

-- name: leave_process
-- Args: $1 process.
DELETE FROM billing_processes WHERE process_id = $1;

-- name: list_processes
-- Returns: the processes with the time since each was last heard of, the longest running first.
SELECT :processes.names, greatest(now() - beat_at, interval '0') AS silent_for
FROM billing_processes
ORDER BY started_at, process_id;
