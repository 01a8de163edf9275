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
-- Args: $1 tenant, $2 provider event ids, $3 how many before.
WITH caused AS (
    SELECT min(sequence) AS first, max(sequence) AS last
    FROM billing_events
    WHERE tenant_id = $1 AND event_id = ANY ($2::text[])
)
SELECT :messages.names
FROM caused, billing_events AS m
WHERE m.tenant_id = $1
  AND (m.sequence BETWEEN greatest(caused.first - $3, caused.last - 10 * $3) AND caused.last
       OR m.event_id = ANY ($2::text[]))
ORDER BY m.sequence;
