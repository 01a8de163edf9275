-- Bodies are compressed, which also makes them cheaper to write: as they are, one or two of them fill a page. The bytes that
-- are read are the same. Bodies of before stay as they are, and so do all where the server was built without lz4: Postgres'
-- own method takes longer than writing them uncompressed.
DO $$
BEGIN
    IF (SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression') THEN
        ALTER TABLE stripe_event_bodies
            ALTER COLUMN body SET STORAGE MAIN,
            ALTER COLUMN body SET COMPRESSION lz4,
            RESET (toast_tuple_target);
    END IF;
END $$;
