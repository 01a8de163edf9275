-- The inbox as operators see it. A condition that is null matches every event; statements are planned each time they
-- run, so such a condition is gone before the planner chooses its indexes. An event that died before its customer got a
-- tenant is that tenant's.

-- part: matching
-- Args: $1 event ids, $2 types (LIKE patterns), $3 tenant, $4 customer, $5 statuses, $6 reasons, $7 since, $8 until.
($1::text[] IS NULL OR e.event_id = ANY ($1))
AND ($2::text[] IS NULL OR e.type LIKE ANY ($2))
AND ($3::text IS NULL OR d.tenant_id = $3
     OR d.status = 'dead' AND d.tenant_id IS NULL
        AND EXISTS (SELECT FROM billing_customers AS c WHERE c.customer_id = d.customer_id AND c.tenant_id = $3))
AND ($4::text IS NULL
     OR d.tenant_id = (SELECT c.tenant_id FROM billing_customers AS c WHERE c.customer_id = $4) AND d.customer_id = $4
     OR d.status = 'parked' AND d.parked_on = $4
     OR d.status = 'dead' AND d.customer_id = $4)
AND ($5::text[] IS NULL OR d.status = ANY ($5))
AND ($6::text[] IS NULL OR d.reason = ANY ($6))
AND ($7::timestamptz IS NULL OR e.received_at >= $7)
AND ($8::timestamptz IS NULL OR e.received_at < $8)

-- name: find_events
-- Args: as for `matching`, $9 number to stay below, $10 limit. Latest received first.
SELECT :stored_events.names, EXISTS (SELECT FROM stripe_event_bodies AS b WHERE b.event = e.id) AS body_kept
FROM stripe_events AS e JOIN stripe_event_dispatch AS d ON d.event = e.id
WHERE :matching
  AND ($9::bigint IS NULL OR e.id < $9)
ORDER BY e.id DESC
LIMIT $10;

-- name: digest_events
-- Args: $1 numbers of events. Returns: a digest of them with their ends; while one is not at its end, attempts at it change nothing.
SELECT sha256(convert_to(coalesce(string_agg(
    concat_ws(' ', d.event, CASE WHEN d.status NOT IN ('due', 'leased') THEN d.status END, extract(epoch FROM d.finished_at)),
    E'\n' ORDER BY d.event), ''), 'UTF8')) AS digest
FROM stripe_event_dispatch AS d
WHERE d.event = ANY ($1::bigint[]);

-- name: select_events
-- Args: as for `matching`, $9 limit (null: all). Returns: their numbers in the order they happened, eight bytes for each in
-- one value: millions of rows would need a cursor, which behind a pooler outlives its transaction.
SELECT string_agg(int8send(id), ''::bytea ORDER BY created_at, id) AS ids
FROM (
    SELECT e.id, e.created_at
    FROM stripe_events AS e JOIN stripe_event_dispatch AS d ON d.event = e.id
    WHERE :matching
    ORDER BY e.created_at, e.id
    LIMIT $9
) AS matching;

-- name: list_plans_of_events
-- Args: $1 events. Returns: the plans of live subscriptions of their tenants; the index of those subscriptions has it all.
SELECT plan_code, count(*) AS subscriptions, min(tenant_id) AS tenant_id
FROM tenant_subscriptions
WHERE tenant_id IN (SELECT d.tenant_id FROM stripe_event_dispatch AS d WHERE d.event = ANY ($1::bigint[]))
  AND NOT ended AND status <> 'incomplete' AND plan_code IS NOT NULL
GROUP BY plan_code
ORDER BY plan_code;

-- name: tally_events
-- Args: as for `matching`, $9 what they are grouped by (status, type or hour, in UTC).
SELECT name, status, count(*) AS count
FROM (
    SELECT d.status,
           CASE $9::text
               WHEN 'type' THEN e.type
               WHEN 'hour' THEN to_char(e.received_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24":00Z"')
               ELSE d.status || coalesce(': ' || d.reason, '')
           END AS name
    FROM stripe_events AS e JOIN stripe_event_dispatch AS d ON d.event = e.id
    WHERE :matching
) AS matching
GROUP BY name, status
ORDER BY name COLLATE "C", status;

-- name: list_attempts
-- Args: $1 event.
SELECT attempt, failed_at, reason, error FROM stripe_event_attempts WHERE event = $1 ORDER BY attempt;

-- name: get_body
-- Args: $1 event.
SELECT body FROM stripe_event_bodies WHERE event = $1;

-- name: list_caused_messages
-- Args: $1 event id.
SELECT :messages.names
FROM billing_events
WHERE event_id = $1
ORDER BY tenant_id, sequence;

-- name: list_audits
-- Args: $1 limit, $2 action, $3 actor, $4 number to stay below (each null: all). Latest first.
SELECT audit_id, action, actor, reason, filter, started_at, finished_at, result, progress, progressed_at, canceled_by
FROM billing_audits
WHERE ($2::text IS NULL OR action = $2)
  AND ($3::text IS NULL OR actor = $3)
  AND ($4::bigint IS NULL OR audit_id < $4)
ORDER BY audit_id DESC
LIMIT $1;
