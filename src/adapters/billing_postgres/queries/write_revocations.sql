-- Revoked tokens.

-- name: revoke
-- Args: $1 subject, $2 name, $3 when it was revoked, $4 until when to keep it. Each call also deletes some revocations
-- that have become pointless.
WITH swept AS (
    DELETE FROM billing_token_revocations WHERE (subject, name) IN (
        SELECT subject, name FROM billing_token_revocations
        WHERE kept_until < now() AND (subject, name) <> ($1, $2) LIMIT 100 FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO billing_token_revocations AS known (subject, name, revoked_at, kept_until) VALUES ($1, $2, $3, $4)
ON CONFLICT (subject, name) DO UPDATE SET
    revoked_at = greatest(known.revoked_at, excluded.revoked_at),
    kept_until = greatest(known.kept_until, excluded.kept_until);

-- name: list_revocations
-- Returns: the revocations that can still matter.
SELECT subject, name, revoked_at, kept_until FROM billing_token_revocations WHERE kept_until > now()
ORDER BY subject, name;
