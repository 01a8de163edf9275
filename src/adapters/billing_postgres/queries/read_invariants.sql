-- Rows that violate an invariant. Each statement returns invariant, number of rows and some examples.

-- name: check_tenants
-- Counter and messages are written in one transaction, and this is one statement: it never sees one without the other.
-- Args: $1 tenant to continue after, $2 most tenants (null: all), $3 newest messages counted of each (null: all).
-- Returns: one row more, of invariant `reached`; its example is the last tenant checked.
WITH page AS MATERIALIZED (
    SELECT tenant_id, sequence, erased_until FROM billing_tenants WHERE tenant_id > $1 ORDER BY tenant_id LIMIT $2
), counted AS MATERIALIZED (
    SELECT page.tenant_id, page.sequence, message.highest, message.messages,
           least(page.sequence - page.erased_until, coalesce($3::bigint, page.sequence)) AS expected
    FROM page, LATERAL (
        SELECT coalesce(max(e.sequence), page.erased_until) AS highest, count(*) AS messages
        FROM billing_events AS e
        WHERE e.tenant_id = page.tenant_id AND e.sequence > page.sequence - coalesce($3::bigint, page.sequence)
    ) AS message
)
SELECT 'counter' AS invariant, count(*) AS violations, (array_agg(tenant_id ORDER BY tenant_id))[:5] AS examples
FROM counted WHERE highest <> sequence
UNION ALL
SELECT 'gapless', count(*), (array_agg(tenant_id ORDER BY tenant_id))[:5]
FROM counted WHERE highest = sequence AND messages <> expected
UNION ALL
SELECT 'reached', count(*), ARRAY[max(tenant_id)] FROM page;

-- name: check_outcomes
-- Args: $1 number of newest events to check (null: all).
WITH page AS MATERIALIZED (
    SELECT e.event_id, d.status, d.effect, d.reason, d.finished_at, d.tenant_id, d.sequence
    FROM stripe_event_dispatch AS d JOIN stripe_events AS e ON e.id = d.event
    WHERE d.event > coalesce((SELECT max(id) FROM stripe_events) - $1::bigint, 0)
)
SELECT 'outcome' AS invariant, count(*) AS violations, (array_agg(event_id ORDER BY event_id))[:5] AS examples
FROM page
WHERE status = 'applied' AND (effect IS NULL OR finished_at IS NULL)
   OR status IN ('ignored', 'dead') AND (reason IS NULL OR finished_at IS NULL)
   OR status = 'parked' AND reason IS NULL
UNION ALL
SELECT 'message', count(*), (array_agg(page.event_id ORDER BY page.event_id))[:5]
FROM page
WHERE page.sequence IS NOT NULL AND NOT EXISTS (
    SELECT FROM billing_events AS m
    WHERE m.tenant_id = page.tenant_id AND m.sequence = page.sequence AND m.event_id = page.event_id
);

-- name: check_waiting
-- Args: $1 how long ago a lease may have run out, $2 how long a message may wait for the bus, and an event for a known
--   customer.
SELECT 'lease' AS invariant, count(*) AS violations, (array_agg(e.event_id ORDER BY e.event_id))[:5] AS examples
FROM stripe_event_dispatch AS d JOIN stripe_events AS e ON e.id = d.event
WHERE d.status = 'leased' AND d.due_at < now() - $1::interval
UNION ALL
SELECT 'published', count(*), (array_agg(o.tenant_id || '#' || o.sequence ORDER BY o.committed_at))[:5]
FROM billing_outbox AS o
WHERE o.committed_at < now() - $2::interval
UNION ALL
SELECT 'outbox', count(*), (array_agg(o.tenant_id || '#' || o.sequence ORDER BY o.committed_at))[:5]
FROM billing_outbox AS o
WHERE NOT EXISTS (SELECT FROM billing_events AS m WHERE m.tenant_id = o.tenant_id AND m.sequence = o.sequence)
UNION ALL
SELECT 'parked', count(*), (array_agg(e.event_id ORDER BY e.event_id))[:5]
FROM stripe_event_dispatch AS d
JOIN stripe_events AS e ON e.id = d.event
JOIN billing_customers AS c ON c.customer_id = d.parked_on
WHERE d.status = 'parked' AND c.tenant_id IS NOT NULL AND greatest(d.due_at, c.linked_at) < now() - $2::interval;
