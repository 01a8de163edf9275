-- Receivers of outgoing webhooks, and the secrets that sign for them.

-- name: list_receivers
-- Returns: every receiver with one row per secret that has not expired, the latest first.
SELECT r.consumer, r.url, r.failing_since, r.failure, s.secret, s.created_at, s.expires_at
FROM billing_receivers r JOIN billing_receiver_secrets s USING (consumer)
WHERE s.expires_at IS NULL OR s.expires_at > clock_timestamp()
ORDER BY r.consumer, s.created_at DESC, s.expires_at NULLS FIRST, s.secret;

-- name: change_receiver
-- Failures of another URL no longer count. Args: $1 consumer, $2 URL. Returns: a row if the receiver is known.
UPDATE billing_receivers SET
    url = $2,
    failing_since = CASE WHEN url = $2 THEN failing_since END,
    failed_at = CASE WHEN url = $2 THEN failed_at END,
    failure = CASE WHEN url = $2 THEN failure END
WHERE consumer = $1 RETURNING consumer;

-- name: put_receiver
-- Args: $1 consumer, $2 URL, $3 secret, $4 when it was made. All other secrets are deleted.
WITH receiver AS (
    INSERT INTO billing_receivers (consumer, url) VALUES ($1, $2)
    ON CONFLICT (consumer) DO UPDATE SET url = excluded.url, failing_since = NULL, failed_at = NULL, failure = NULL
    RETURNING consumer
), others AS (
    DELETE FROM billing_receiver_secrets WHERE consumer = $1 AND secret <> $3
)
INSERT INTO billing_receiver_secrets (consumer, secret, created_at) SELECT consumer, $3, $4 FROM receiver
ON CONFLICT (consumer, secret) DO UPDATE SET created_at = excluded.created_at, expires_at = NULL;

-- name: rotate_secret
-- Args: $1 consumer, $2 secret, $3 when it was made, $4 until when the others sign. Returns: a row if the receiver is
-- known. The others that have expired are deleted.
WITH receiver AS (
    SELECT consumer FROM billing_receivers WHERE consumer = $1 FOR UPDATE
), expired AS (
    DELETE FROM billing_receiver_secrets s USING receiver r
    WHERE s.consumer = r.consumer AND s.secret <> $2 AND s.expires_at <= $3
), replaced AS (
    UPDATE billing_receiver_secrets s SET expires_at = least(s.expires_at, $4) FROM receiver r
    WHERE s.consumer = r.consumer AND s.secret <> $2 AND (s.expires_at IS NULL OR s.expires_at > $3)
)
INSERT INTO billing_receiver_secrets (consumer, secret, created_at) SELECT consumer, $2, $3 FROM receiver
ON CONFLICT (consumer, secret) DO UPDATE SET created_at = excluded.created_at, expires_at = NULL
RETURNING consumer;

-- name: remove_receiver
-- Args: $1 consumer. Returns: a row if it was known.
DELETE FROM billing_receivers WHERE consumer = $1 RETURNING consumer;

-- name: note_failure
-- Args: $1 consumer, $2 when, $3 text, $4 time without a failure after which earlier ones no longer count.
-- Returns: since when there was no success; no row for an unknown receiver.
UPDATE billing_receivers SET
    failing_since = CASE WHEN failing_since IS NULL OR failed_at < $2::timestamptz - $4::interval
        THEN $2::timestamptz ELSE failing_since END,
    failed_at = greatest(failed_at, $2::timestamptz),
    failure = $3
WHERE consumer = $1 RETURNING failing_since;

-- name: note_recovery
-- Args: $1 consumer.
UPDATE billing_receivers SET failing_since = NULL, failed_at = NULL, failure = NULL
WHERE consumer = $1 AND failing_since IS NOT NULL;
