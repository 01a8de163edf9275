-- Erase a tenant: a few statements inside one unit of work, in the order of the locks. The caller has locked the tenant's
-- events, customers and the tenant, and nothing else of the tenant changes meanwhile. Rows are deleted, whatever wrote them.

-- name: lock_events_to_erase
-- Args: $1 tenant id, $2 customers that are linked to it or pay for it.
SELECT event
FROM stripe_event_dispatch
WHERE event = ANY (ARRAY (
    SELECT event FROM stripe_event_dispatch WHERE tenant_id = $1
    UNION
    SELECT event FROM stripe_event_dispatch WHERE tenant_id IS NULL AND customer_id = ANY ($2::text[])
))
ORDER BY event
FOR NO KEY UPDATE;

-- name: erase_state
-- Args: $1 tenant id, $2 customers that are forgotten, $3 customers that pay for other tenants, too.
-- Returns: one row, the number of rows by kind.
WITH subscriptions AS (
    DELETE FROM tenant_subscriptions WHERE tenant_id = $1 RETURNING 1
), invoices AS (
    DELETE FROM subscription_invoices WHERE tenant_id = $1 RETURNING 1
), usage AS (
    DELETE FROM subscription_usage WHERE tenant_id = $1 RETURNING 1
), records AS (
    DELETE FROM billing_records WHERE tenant_id = $1 RETURNING 1
), views AS (
    DELETE FROM provisional_views WHERE tenant_id = $1 RETURNING 1
), grants AS (
    DELETE FROM billing_grants WHERE tenant_id = $1 RETURNING 1
), occasions AS (
    DELETE FROM billing_occasions WHERE tenant_id = $1 RETURNING 1
), shared AS (
    UPDATE billing_customers
    SET tenant_id = NULL, email = NULL, name = NULL, payment_method_id = NULL, delinquent = false, deleted = false,
        observed_at = NULL, event_ids = '{}', ambiguous = false, linked_at = NULL, updated_at = now()
    WHERE customer_id = ANY ($3::text[]) AND tenant_id = $1
), customers AS (
    DELETE FROM billing_customers
    WHERE customer_id = ANY ($2::text[]) AND (tenant_id = $1 OR tenant_id IS NULL)
    RETURNING 1
)
SELECT (SELECT count(*) FROM customers) AS customers,
       (SELECT count(*) FROM subscriptions) AS subscriptions,
       (SELECT count(*) FROM invoices) AS invoices,
       (SELECT count(*) FROM usage) AS usage,
       (SELECT count(*) FROM records) AS records,
       (SELECT count(*) FROM views) AS views,
       (SELECT count(*) FROM grants) AS grants,
       (SELECT count(*) FROM occasions) AS occasions;

-- name: erase_messages
-- Has the log on the bus replaced by nothing. Args: $1 tenant id. Returns: one row, the number of rows by kind.
WITH messages AS (
    DELETE FROM billing_events WHERE tenant_id = $1 RETURNING 1
), outgoing AS (
    DELETE FROM billing_outbox WHERE tenant_id = $1
), positions AS (
    DELETE FROM billing_consumer_tenants WHERE tenant_id = $1 RETURNING 1
), skips AS (
    DELETE FROM billing_consumer_skips WHERE tenant_id = $1 RETURNING 1
), tickets AS (
    DELETE FROM billing_stream_tickets WHERE tenant_id = $1 RETURNING 1
), log AS (
    INSERT INTO billing_log_rewrites AS known (tenant_id, until)
    SELECT tenant_id, sequence FROM billing_tenants WHERE tenant_id = $1
    ON CONFLICT (tenant_id) DO UPDATE SET until = greatest(known.until, excluded.until), requested_at = now()
)
SELECT (SELECT count(*) FROM messages) AS messages,
       (SELECT count(*) FROM positions) AS positions,
       (SELECT count(*) FROM skips) AS skips,
       (SELECT count(*) FROM tickets) AS tickets;

-- name: erase_events
-- Events keep their keys, so that no delivery brings them back. Args: $1 tenant id, $2 customers that are forgotten.
-- Returns: one row, the number of rows by kind.
WITH ended AS (
    UPDATE stripe_event_dispatch
    SET status = 'ignored', reason = 'erased', finished_at = coalesce(finished_at, now()), effect = NULL, error = NULL,
        first_error = NULL, parked_on = NULL, tenant_id = NULL, customer_id = NULL, sequence = NULL
    WHERE tenant_id = $1 OR tenant_id IS NULL AND customer_id = ANY ($2::text[])
    RETURNING event
), bodies AS (
    DELETE FROM stripe_event_bodies AS b USING ended WHERE b.event = ended.event RETURNING b.event, b.body
), hashed AS (
    UPDATE stripe_events AS e SET body_sha256 = sha256(bodies.body) FROM bodies WHERE e.id = bodies.event
), attempts AS (
    DELETE FROM stripe_event_attempts AS a USING ended WHERE a.event = ended.event
), waits AS (
    DELETE FROM stripe_event_waits AS w USING ended WHERE w.event = ended.event
), echoes AS (
    DELETE FROM operation_echoes AS o USING ended WHERE o.event = ended.event
)
SELECT (SELECT count(*) FROM ended) AS events, (SELECT count(*) FROM bodies) AS bodies;

-- name: erase_bodies
-- Args: $1 events that ended as erased.
WITH bodies AS (
    DELETE FROM stripe_event_bodies WHERE event = ANY ($1::bigint[]) RETURNING event, body
)
UPDATE stripe_events AS e SET body_sha256 = sha256(bodies.body) FROM bodies
WHERE e.id = bodies.event AND e.id = ANY ($1::bigint[]);

-- name: erase_operations
-- Args: $1 tenant id. Returns: one row, the number of rows.
WITH gone AS (
    DELETE FROM gateway_operations WHERE tenant_id = $1 AND status <> 'begun' RETURNING key
), echoes AS (
    DELETE FROM operation_echoes AS o USING gone WHERE o.operation_key = gone.key
)
SELECT count(*) AS operations FROM gone;

-- name: list_reasons
-- Returns: the reasons in the audit log, each once.
SELECT DISTINCT reason FROM billing_audits WHERE reason IS NOT NULL;

-- name: erase_notes
-- Decisions about the tenant's objects go. Entries of the audit log keep what was done, by whom and when.
-- Args: $1 ids of the tenant's customers and objects, $2 strings that must not stay as values, $3 reasons that must not.
-- Returns: one row, the number of rows by kind.
WITH decisions AS (
    DELETE FROM billing_link_decisions WHERE object_id = ANY ($1::text[]) RETURNING 1
), audits AS (
    UPDATE billing_audits
    SET filter = '{"erased": true}', reason = NULL, result = CASE WHEN result IS NOT NULL THEN '{"erased": true}'::jsonb END,
        progress = NULL
    WHERE reason = ANY ($3::text[])
       OR EXISTS (
           SELECT
           FROM jsonb_path_query(
               jsonb_build_array(filter, result, progress), 'strict $.** ? (@.type() == "string")'
           ) AS value
           WHERE value #>> '{}' = ANY ($2::text[])
       )
    RETURNING 1
)
SELECT (SELECT count(*) FROM decisions) AS decisions, (SELECT count(*) FROM audits) AS audits;

-- name: note_erasure
-- Revokes the tenant's tokens, too. Args: $1 tenant id, $2 ids of its customers and objects, $3 how long a token may live.
WITH digests AS (
    INSERT INTO billing_erased_objects (digest)
    SELECT sha256(convert_to(id, 'UTF8')) FROM unnest($2::text[]) AS id
    ON CONFLICT DO NOTHING
), revoked AS (
    INSERT INTO billing_token_revocations AS known (subject, name, revoked_at, kept_until)
    SELECT 'tenant', $1, at, at + $3::interval FROM clock_timestamp() AS at
    ON CONFLICT (subject, name) DO UPDATE SET
        revoked_at = greatest(known.revoked_at, excluded.revoked_at),
        kept_until = greatest(known.kept_until, excluded.kept_until)
)
UPDATE billing_tenants
SET sequence = sequence + 1, erased_until = sequence + 1, departures = departures + 1, access_state = NULL,
    access_reason = NULL, access_until = NULL, access_due_at = NULL, access_policy = NULL, granted = false,
    provisional = false
WHERE tenant_id = $1;

-- name: log_erasure
-- Args: $1 actor, $2 reason, $3 filter, $4 result (JSON).
INSERT INTO billing_audits (action, actor, reason, filter, finished_at, result)
VALUES ('erase', $1, $2, $3::text::jsonb, now(), $4::text::jsonb);
