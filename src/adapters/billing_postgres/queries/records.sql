-- Facts beside subscription and invoice, and the events that wait for an object to tell whose they are.

-- name: lock_catalog
-- Prices and products have no tenant whose row could be locked. Held until the end of the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('billing_catalogue', 0));

-- name: find_owners
-- Args: $1 ids by which events name objects.
SELECT object_id, tenant_id FROM billing_objects WHERE object_id = ANY ($1::text[]);

-- name: find_records
-- Args: $1 object ids.
SELECT kind, tenant_id, data, observed_at, event_ids, ambiguous
FROM billing_records
WHERE object_id = ANY ($1::text[])
ORDER BY object_id;

-- name: list_records
-- Args: $1 tenant id, $2 kinds (none: all), $3 limit. Latest observed first.
SELECT kind, tenant_id, data, observed_at, event_ids, ambiguous
FROM billing_records
WHERE tenant_id = $1 AND ($2::text[] = '{}' OR kind = ANY ($2::text[]))
ORDER BY observed_at DESC, object_id DESC
LIMIT $3;

-- name: list_features
-- Args: $1 tenant id. Every feature that any of its customers is entitled to, once, in the order of its bytes.
SELECT DISTINCT feature COLLATE "C" AS feature
FROM billing_records, jsonb_array_elements_text(data -> 'features') AS feature
WHERE tenant_id = $1 AND kind = 'entitlements'
ORDER BY 1;

-- name: list_catalog
-- Prices and products by id.
SELECT kind, tenant_id, data, observed_at, event_ids, ambiguous
FROM billing_records
WHERE kind IN ('price', 'product')
ORDER BY object_id;

-- name: save_records
-- What waited for one of them leaves the car park.
-- Args: parallel arrays: $1 object id, $2 id that events name it by, $3 kind, $4 tenant id, $5 invoice id,
--   $6 payment id, $7 data (JSON), $8 observed_at, $9 event ids (joined by U+001F), $10 ambiguous.
-- Returns: the records saved; one that is missing belongs to another tenant.
WITH seen AS (
    SELECT *
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                $8::timestamptz[], $9::text[], $10::boolean[])
        AS t (object_id, named_as, kind, tenant_id, invoice_id, payment_id, data, observed_at, event_ids, ambiguous)
), saved AS (
    INSERT INTO billing_records AS known
        (object_id, kind, tenant_id, invoice_id, payment_id, data, observed_at, event_ids, ambiguous)
    SELECT object_id, kind, tenant_id, invoice_id, payment_id, data::jsonb, observed_at,
           string_to_array(event_ids, E'\x1f'), ambiguous
    FROM seen
    ON CONFLICT (object_id) DO UPDATE SET
        invoice_id = excluded.invoice_id,
        payment_id = excluded.payment_id,
        data = excluded.data,
        observed_at = excluded.observed_at,
        event_ids = excluded.event_ids,
        ambiguous = excluded.ambiguous,
        updated_at = now()
    WHERE known.tenant_id IS NOT DISTINCT FROM excluded.tenant_id AND known.kind = excluded.kind
    RETURNING object_id
), ready AS (
    SELECT DISTINCT w.event
    FROM stripe_event_waits AS w JOIN seen ON w.object_id = seen.named_as
    WHERE seen.tenant_id IS NOT NULL
), gone AS (
    DELETE FROM stripe_event_waits AS w USING ready WHERE w.event = ready.event
), unparked AS (
    UPDATE stripe_event_dispatch AS d
    SET status = 'due', due_at = now()
    FROM ready
    WHERE d.event = ready.event AND d.status = 'parked'
    RETURNING d.event
), wake AS (
    SELECT pg_notify('billing_due', '') FROM unparked LIMIT 1
)
SELECT saved.object_id FROM saved LEFT JOIN wake ON true;

-- name: wait_for_objects
-- Notes what events that were just parked wait for. Where such an object is known by now, the event is due again:
-- nobody would come to fetch it. LATERAL: a join with the view would read all records.
-- Args: parallel arrays: $1 event, $2 id of an object it names.
-- Returns: the events that are due.
WITH seen AS (
    SELECT * FROM unnest($1::bigint[], $2::text[]) AS t (event, object_id)
), ready AS (
    SELECT DISTINCT seen.event
    FROM seen, LATERAL (SELECT FROM billing_objects AS o WHERE o.object_id = seen.object_id LIMIT 1) AS object
), noted AS (
    INSERT INTO stripe_event_waits (event, object_id)
    SELECT event, object_id FROM seen WHERE event NOT IN (SELECT event FROM ready)
    ON CONFLICT DO NOTHING
), unparked AS (
    UPDATE stripe_event_dispatch AS d
    SET status = 'due', due_at = now()
    FROM ready
    WHERE d.event = ready.event AND d.status = 'parked'
    RETURNING d.event
), wake AS (
    SELECT pg_notify('billing_due', '') FROM unparked LIMIT 1
)
SELECT unparked.event FROM unparked LEFT JOIN wake ON true;

-- name: unpark_events
-- Finds what was parked while another transaction saved what it waits for. One look-up per parked event (LATERAL with
-- a limit keeps the planner from reading whole tables instead); what somebody else works on is passed over.
-- Returns: the events that are due.
WITH linked AS (
    SELECT d.event
    FROM stripe_event_dispatch AS d,
         LATERAL (SELECT FROM billing_customers AS c
                  WHERE c.customer_id = d.parked_on AND c.tenant_id IS NOT NULL LIMIT 1) AS customer
    WHERE d.status = 'parked'
), found AS (
    SELECT w.event
    FROM stripe_event_waits AS w,
         LATERAL (SELECT FROM billing_objects AS o WHERE o.object_id = w.object_id LIMIT 1) AS object
), ready AS (
    SELECT d.event
    FROM stripe_event_dispatch AS d
    WHERE d.status = 'parked' AND d.event IN (SELECT event FROM linked UNION SELECT event FROM found)
    FOR NO KEY UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM stripe_event_waits AS w USING ready WHERE w.event = ready.event
), unparked AS (
    UPDATE stripe_event_dispatch AS d
    SET status = 'due', due_at = now()
    FROM ready
    WHERE d.event = ready.event
    RETURNING d.event
), wake AS (
    SELECT pg_notify('billing_due', '') FROM unparked LIMIT 1
)
SELECT unparked.event FROM unparked LEFT JOIN wake ON true;
