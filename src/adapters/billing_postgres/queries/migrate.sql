-- Statements of the migration runner.

-- name: try_lock_migrations
-- Args: $1 lock number. Returns: whether this session holds the lock now.
SELECT pg_try_advisory_lock($1);

-- name: find_schema_migrations
-- Returns: whether the database was ever migrated.
SELECT to_regclass('schema_migrations') IS NOT NULL;

-- name: create_schema_migrations
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    int PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    ms         bigint NOT NULL
);

-- name: list_schema_migrations
SELECT version, name, checksum FROM schema_migrations ORDER BY version;

-- name: limit_lock_waits
-- A change that waits for a busy table makes every later statement wait too.
SET LOCAL lock_timeout = '5s';

-- name: write_schema_migration
-- Args: $1 version, $2 name, $3 checksum, $4 duration in milliseconds.
INSERT INTO schema_migrations (version, name, checksum, ms) VALUES ($1, $2, $3, $4);
