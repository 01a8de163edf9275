-- Tickets for one stream each.

-- name: put_ticket
-- Args: $1 digest, $2 how long it is good, $3 tenant, $4 role, $5 when the principal's proof expires, $6 token, $7 when
-- that was issued. Whoever puts one sweeps away some that nobody brought.
WITH swept AS (
    DELETE FROM billing_stream_tickets WHERE digest IN (
        SELECT digest FROM billing_stream_tickets WHERE good_until < now() LIMIT 10 FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO billing_stream_tickets (digest, good_until, tenant_id, role, principal_expires_at, token_id, issued_at)
VALUES ($1, now() + $2, $3, $4, $5, $6, $7);

-- name: take_ticket
-- Args: $1 digest. Returns: whom it lets in; no row for a ticket that is unknown, too old or taken.
DELETE FROM billing_stream_tickets WHERE digest = $1
RETURNING good_until > now() AS good, tenant_id, role, principal_expires_at, token_id, issued_at;
