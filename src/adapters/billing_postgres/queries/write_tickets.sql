-- Tickets that open one stream each.

-- name: put_ticket
-- Args: $1 digest, $2 how long it is valid, $3 tenant, $4 role, $5 when the principal's token expires, $6 token id,
--   $7 when the token was issued. Each call also deletes some tickets that expired unused.
WITH swept AS (
    DELETE FROM billing_stream_tickets WHERE digest IN (
        SELECT digest FROM billing_stream_tickets WHERE good_until < now() LIMIT 10 FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO billing_stream_tickets (digest, good_until, tenant_id, role, principal_expires_at, token_id, issued_at)
VALUES ($1, now() + $2, $3, $4, $5, $6, $7);

-- name: take_ticket
-- Args: $1 digest. Returns: the ticket's principal; no row if it is unknown or was used before.
DELETE FROM billing_stream_tickets WHERE digest = $1
RETURNING good_until > now() AS good, tenant_id, role, principal_expires_at, token_id, issued_at;
