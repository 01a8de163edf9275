-- Makes the running transaction wait until its commit is on disk, whatever the role or the database sets. A statement that
-- something outside follows from calls it: a 202 and a published message must not rest on a commit that a crash can undo.
-- Stricter settings, such as remote_apply, stay. Part of a statement, it costs no round trip and holds behind pgbouncer.
CREATE FUNCTION billing_commit_durably() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT set_config('synchronous_commit', 'on', true)
    WHERE current_setting('synchronous_commit') IN ('off', 'local')
$$;
