-- The history of one tenant, as `billing explain` reads it: all in one snapshot.

-- name: find_tenant
-- Args: $1 tenant. Returns: the tenant, if it is known.
SELECT tenant_id FROM billing_tenants WHERE tenant_id = $1;

-- name: list_tenant_customers
-- Args: $1 tenant.
SELECT :customers.names
FROM billing_customers
WHERE tenant_id = $1
ORDER BY customer_id;

-- name: list_tenant_events
-- Events of the tenant, events that are parked on one of its customers, and events that died before their customer was
-- linked to it.
-- Args: $1 tenant, $2 received since (null: ever), $3 received before (null: now), $4 limit. Latest received first.
WITH mine AS (
    (SELECT event FROM stripe_event_dispatch WHERE tenant_id = $1)
    UNION
    (SELECT d.event
     FROM billing_customers AS c JOIN stripe_event_dispatch AS d ON d.parked_on = c.customer_id AND d.status = 'parked'
     WHERE c.tenant_id = $1)
    UNION
    (SELECT d.event
     FROM billing_customers AS c JOIN stripe_event_dispatch AS d ON d.customer_id = c.customer_id AND d.status = 'dead'
     WHERE c.tenant_id = $1 AND d.tenant_id IS NULL)
)
SELECT :stored_events.names, EXISTS (SELECT FROM stripe_event_bodies AS b WHERE b.event = e.id) AS body_kept
FROM mine JOIN stripe_events AS e ON e.id = mine.event JOIN stripe_event_dispatch AS d ON d.event = e.id
WHERE ($2::timestamptz IS NULL OR e.received_at >= $2) AND ($3::timestamptz IS NULL OR e.received_at < $3)
ORDER BY e.id DESC
LIMIT $4;

-- name: list_failed_attempts
-- Args: $1 events.
SELECT event, attempt, failed_at, reason, error
FROM stripe_event_attempts
WHERE event = ANY ($1::bigint[])
ORDER BY event, attempt;

-- name: list_explaining_messages
-- The messages that events caused, and the messages around and before them that show what changed: as many as asked for
-- before the first one, and ten times as many in all.
-- Args: $1 tenant, $2 provider event ids, $3 how many before, $4 whether all messages after them are wanted, too.
WITH caused AS (
    SELECT min(m.sequence) AS first, CASE WHEN $4 THEN max(t.sequence) ELSE max(m.sequence) END AS last
    FROM billing_tenants AS t
    LEFT JOIN billing_events AS m ON m.tenant_id = t.tenant_id AND m.event_id = ANY ($2::text[])
    WHERE t.tenant_id = $1
)
SELECT :messages.names
FROM caused, billing_events AS m
WHERE m.tenant_id = $1
  AND (m.sequence BETWEEN greatest(caused.first - $3, caused.last - 10 * $3) AND caused.last
       OR m.event_id = ANY ($2::text[]))
ORDER BY m.sequence;

-- name: count_tenant_dead_events
-- Args: $1 tenant. Events that died before their customer was linked are counted, too.
SELECT count(*) AS dead_events
FROM stripe_event_dispatch AS d
WHERE d.status = 'dead'
  AND (d.tenant_id = $1
       OR d.tenant_id IS NULL
          AND EXISTS (SELECT FROM billing_customers AS c WHERE c.customer_id = d.customer_id AND c.tenant_id = $1));

-- name: list_tenant_uncertain
-- Args: $1 tenant, $2 limit. Its objects whose state may be wrong, by id; found by the indexes that hold only such.
SELECT kind, object_id, observed_at, event_ids, ambiguous, complete, NULL AS view
FROM (
    SELECT 'subscription' AS kind, subscription_id AS object_id, observed_at, event_ids, ambiguous,
           items_complete OR ended AS complete
    FROM tenant_subscriptions
    WHERE (ambiguous OR (NOT items_complete AND NOT ended)) AND tenant_id = $1
    UNION ALL
    SELECT 'invoice', invoice_id, observed_at, event_ids, ambiguous, lines_complete OR status = 'deleted'
    FROM subscription_invoices
    WHERE (ambiguous OR NOT lines_complete) AND (ambiguous OR status <> 'deleted') AND tenant_id = $1
    UNION ALL
    SELECT 'customer', customer_id, observed_at, event_ids, ambiguous, true
    FROM billing_customers
    WHERE ambiguous AND tenant_id = $1
    UNION ALL
    SELECT kind, object_id, observed_at, event_ids, ambiguous, data ->> 'complete' IS DISTINCT FROM 'false'
    FROM billing_records
    WHERE kind = 'entitlements' AND (ambiguous OR data ->> 'complete' = 'false') AND tenant_id = $1
) AS uncertain
ORDER BY object_id COLLATE "C"
LIMIT $2;
