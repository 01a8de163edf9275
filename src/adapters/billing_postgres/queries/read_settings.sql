-- Settings of the server, as this session has them.

-- name: list_durability_settings
SELECT name, setting
FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')
ORDER BY name;
