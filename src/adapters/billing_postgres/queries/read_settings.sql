-- Settings of the server, as this session has them.

-- name: describe_server
-- Returns: the number of connections that unprivileged roles may open, the process of this session, and the time. Postgres 16
-- has a second reserve.
SELECT current_setting('max_connections')::int
         - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true), '0')::int AS connections,
       pg_backend_pid() AS process,
       clock_timestamp() AS at,
       pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean AS refuses_writes;

-- name: find_process
-- Returns: the process of the server that runs this statement.
SELECT pg_backend_pid();

-- name: list_durability_settings
SELECT name, setting
FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')
ORDER BY name;
