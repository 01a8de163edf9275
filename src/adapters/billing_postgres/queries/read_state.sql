-- The state of tenants. Statements that a unit of work shares with readers take arrays; the others take one tenant.

-- name: read_instant
-- The time and the rules by which access is decided. The first statement of a transaction: what it reads is then no newer.
SELECT billing_now() AS now, coalesce((SELECT max(generation) FROM billing_rules), 0) AS generation;

-- name: read_tenant
-- Args: $1 tenant id.
SELECT sequence, provisional FROM billing_tenants WHERE tenant_id = $1;

-- name: find_views
-- Args: $1 tenant ids. Those of each tenant by object id.
SELECT :views.names FROM provisional_views WHERE tenant_id = ANY ($1::text[]) ORDER BY tenant_id, object_id;

-- name: find_customers
-- Args: $1 customer ids. Returns: customers with the number of departures from their tenants until now.
SELECT :customers.names, (
    SELECT t.departures FROM billing_tenants AS t WHERE t.tenant_id = billing_customers.tenant_id
) AS departures
FROM billing_customers
WHERE customer_id = ANY ($1::text[]);

-- part: with_items
SELECT :subscriptions.names, ARRAY (
    SELECT ROW (:items.names)
    FROM subscription_items AS i
    WHERE i.subscription_id = tenant_subscriptions.subscription_id
    ORDER BY i.item_id
) AS items
FROM tenant_subscriptions

-- name: find_subscriptions
-- Args: $1 tenant ids, $2 subscription ids. Newest period first; `items` are rows of the columns of an item, by item id.
:with_items
WHERE tenant_id = ANY ($1::text[]) OR subscription_id = ANY ($2::text[])
ORDER BY current_period_end DESC NULLS LAST, subscription_id DESC;

-- name: find_deciding_subscriptions
-- Jumps from one standing of a tenant to the next, and takes the latest subscription of each. Each OFFSET 0 keeps its
-- subquery a look-up by key: of a table with one row, reading all of it would seem as cheap, and the plan is kept.
-- Args: $1 tenant ids, $2 subscription ids, $3 invoice ids, $4 statuses, $5 tenant ids, as of the method of `StateReader`.
-- Returns: rows like `find_subscriptions`, by id. ORDER BY a key chooses its index: see `hold_events`.
WITH RECURSIVE chosen (tenant_id, standing, status, ended, subscription_id) AS (
    SELECT t.tenant_id, s.*
    FROM unnest($1::text[]) AS t (tenant_id) CROSS JOIN LATERAL (
        SELECT standing, status, ended, subscription_id
        FROM billing_standings
        WHERE tenant_id = t.tenant_id AND standing IS NOT NULL AND subscription_id NOT IN (SELECT unnest($2::text[]))
        ORDER BY standing, latest DESC NULLS LAST, subscription_id
        LIMIT 1
    ) AS s
    UNION ALL
    SELECT c.tenant_id, s.*
    FROM chosen AS c CROSS JOIN LATERAL (
        SELECT standing, status, ended, subscription_id
        FROM billing_standings
        WHERE tenant_id = c.tenant_id AND standing > c.standing AND subscription_id NOT IN (SELECT unnest($2::text[]))
        ORDER BY standing, latest DESC NULLS LAST, subscription_id
        LIMIT 1
    ) AS s
), wanted (subscription_id) AS (
    SELECT unnest($2::text[])
    UNION ALL
    (SELECT subscription_id FROM subscription_invoices WHERE invoice_id = ANY ($3::text[]) ORDER BY invoice_id)
    UNION ALL
    SELECT s.subscription_id
    FROM unnest($1::text[]) AS t (tenant_id) CROSS JOIN LATERAL (
        SELECT subscription_id FROM billing_standings WHERE tenant_id = t.tenant_id AND standing IS NULL OFFSET 0
    ) AS s
    UNION ALL
    SELECT subscription_id FROM chosen
    UNION ALL
    SELECT s.subscription_id
    FROM chosen AS c CROSS JOIN LATERAL (
        SELECT subscription_id FROM billing_standings WHERE tenant_id = c.tenant_id AND standing = c.standing OFFSET 0
    ) AS s
    WHERE c.status IN (SELECT unnest($4::text[])) OR (NOT c.ended AND c.tenant_id IN (SELECT unnest($5::text[])))
)
:with_items
WHERE subscription_id = ANY (ARRAY (SELECT subscription_id FROM wanted))
ORDER BY subscription_id;

-- name: find_invoices
-- Args: $1 invoice ids, $2 subscription ids. In two parts: each uses the index of its key alone.
(SELECT :invoices.names FROM subscription_invoices WHERE invoice_id = ANY ($1::text[]) ORDER BY invoice_id)
UNION ALL
SELECT :invoices.names
FROM subscription_invoices
WHERE subscription_id = ANY ($2::text[]) AND invoice_id NOT IN (SELECT unnest($1::text[]));

-- name: find_usage
-- Args: $1 invoice ids.
SELECT :usage.names FROM subscription_usage WHERE invoice_id = ANY ($1::text[]);

-- name: find_records
-- Args: $1 object ids.
SELECT :records.names FROM billing_records WHERE object_id = ANY ($1::text[]) ORDER BY object_id;

-- name: find_disputes
-- Args: $1 tenant ids. All of their disputes, decided ones too.
SELECT :records.names
FROM billing_records
WHERE tenant_id = ANY ($1::text[]) AND kind = 'dispute'
ORDER BY tenant_id, object_id;

-- name: find_owners
-- The parts of `o` are those of the view billing_objects, which would hide their ORDER BY: see `hold_events`.
-- Args: $1 ids by which events name objects. Returns: their tenants with the number of departures until now.
SELECT o.object_id, o.tenant_id, (SELECT departures FROM billing_tenants WHERE tenant_id = o.tenant_id) AS departures
FROM (
    (SELECT subscription_id, tenant_id
     FROM tenant_subscriptions
     WHERE subscription_id = ANY ($1::text[])
     ORDER BY subscription_id)
    UNION ALL
    (SELECT invoice_id, tenant_id FROM subscription_invoices WHERE invoice_id = ANY ($1::text[]) ORDER BY invoice_id)
    UNION ALL
    (SELECT object_id, tenant_id
     FROM billing_records
     WHERE object_id = ANY ($1::text[]) AND kind NOT IN ('payment', 'price', 'product', 'test_clock')
     ORDER BY object_id)
    UNION ALL
    SELECT payment_id, tenant_id FROM billing_records WHERE payment_id = ANY ($1::text[]) AND kind = 'payment'
) AS o (object_id, tenant_id)
WHERE o.tenant_id IS NOT NULL;

-- name: find_tenants_under
-- Args: $1 customer ids. Returns: each of them that has subscriptions, with the tenants of these.
SELECT customer_id, array_agg(DISTINCT tenant_id) AS tenants
FROM tenant_subscriptions
WHERE customer_id = ANY ($1::text[])
GROUP BY customer_id;

-- name: find_tenants_on
-- Args: $1 test clocks.
SELECT DISTINCT tenant_id
FROM (SELECT tenant_id FROM tenant_subscriptions WHERE test_clock = ANY ($1::text[]) ORDER BY test_clock) AS on_clock;

-- name: find_decisions
-- Args: $1 ids of customers and subscriptions. Those about each in the order in which they were made.
SELECT :decisions.names
FROM billing_link_decisions
WHERE object_id = ANY ($1::text[])
ORDER BY object_id, decision_id;

-- name: list_customers_of
-- Args: $1 tenant id. By id.
SELECT :customers.names FROM billing_customers WHERE tenant_id = $1 ORDER BY customer_id;

-- name: list_invoices_of
-- Args: $1 tenant id. By id, deleted drafts included.
SELECT :invoices.names FROM subscription_invoices WHERE tenant_id = $1 ORDER BY invoice_id;

-- name: list_records_of
-- Args: $1 tenant id. By id.
SELECT :records.names FROM billing_records WHERE tenant_id = $1 ORDER BY object_id;

-- name: list_events_of
-- Args: $1 tenant id. Events that were applied to it or are dead, by number.
SELECT d.event, d.customer_id, d.effect IS NOT NULL AS applied, b.event IS NOT NULL AS body_kept, :keys.names
FROM stripe_event_dispatch AS d
JOIN stripe_events AS e ON e.id = d.event
LEFT JOIN stripe_event_bodies AS b ON b.event = d.event
WHERE d.tenant_id = $1
ORDER BY d.event;

-- name: find_messages_about
-- Args: $1 tenant id, $2 provider event ids, $3 ids of objects. Messages that these caused, or that show such an object.
SELECT :messages.names
FROM billing_events
WHERE tenant_id = $1 AND event_type <> 'withdrawn' AND (
    event_id = ANY ($2::text[])
    OR payload -> 'source' ->> 'id' = ANY ($3::text[])
    OR payload -> 'subscription' ->> 'subscription_id' = ANY ($3::text[])
    OR payload -> 'invoice' ->> 'invoice_id' = ANY ($3::text[])
)
ORDER BY sequence;

-- name: find_stored_events
-- Args: one array per column of an event's key. Events whose body was pruned are left out.
SELECT :events.names, body
FROM unnest(:keys.arrays) AS k (wanted_id, wanted_mode, wanted_account) CROSS JOIN LATERAL (
    SELECT :events.names, (SELECT body FROM stripe_event_bodies WHERE event = id) AS body
    FROM stripe_events
    WHERE event_id = wanted_id AND livemode = wanted_mode AND account = wanted_account
    OFFSET 0
) AS stored
WHERE body IS NOT NULL;

-- name: find_echoes
-- Args: $1 operation key. Applied events that it caused; those whose body was pruned are left out.
SELECT :events.names, body
FROM operation_echoes AS o
JOIN stripe_event_dispatch AS d ON d.event = o.event AND d.effect IS NOT NULL
JOIN stripe_events AS e ON e.id = o.event
JOIN stripe_event_bodies AS b ON b.event = o.event
WHERE o.operation_key = $1
ORDER BY o.event;

-- name: find_occasions
-- Args: $1 tenants, $2 keys. Of few tenants each is looked up with each key; of many, all that each has is read.
SELECT tenant_id, key
FROM billing_occasions
WHERE cardinality($1::text[]) <= 32 AND tenant_id = ANY ($1::text[]) AND key = ANY ($2::text[])
UNION ALL
SELECT o.tenant_id, o.key
FROM unnest($1::text[]) AS t (tenant_id) CROSS JOIN LATERAL (
    SELECT tenant_id, key FROM billing_occasions WHERE tenant_id = t.tenant_id OFFSET 0
) AS o
WHERE cardinality($1::text[]) > 32 AND (o.key IN (SELECT unnest($2::text[]))) IS TRUE;

-- name: list_owed_invoices
-- Args: $1 tenant id. Final invoices that are not paid in full, oldest first.
SELECT :invoices.names
FROM subscription_invoices
WHERE tenant_id = $1 AND amount_remaining > 0 AND status NOT IN ('draft', 'paid', 'void', 'deleted')
  AND NOT billing_out_of_scope(out_of_scope, subscription_id)
ORDER BY period_end NULLS FIRST, invoice_id;

-- name: list_paying_subscriptions
-- Args: $1 tenant id. The subscriptions for which anything was paid.
SELECT DISTINCT subscription_id
FROM subscription_invoices
WHERE tenant_id = $1 AND amount_paid > 0 AND subscription_id IS NOT NULL;

-- name: find_grant
-- Args: $1 grant id.
SELECT :grants.names FROM billing_grants WHERE grant_id = $1;

-- name: find_held_grants
-- Args: $1 tenant ids. Those that were not revoked; of each tenant, by the instant at which they were made.
SELECT :grants.names
FROM billing_grants
WHERE tenant_id = ANY ($1::text[]) AND revoked_at IS NULL
ORDER BY tenant_id, granted_at, grant_id;

-- name: list_grants_of
-- Args: $1 tenant id, $2 limit. The last made first.
SELECT :grants.names FROM billing_grants WHERE tenant_id = $1 ORDER BY granted_at DESC, grant_id DESC LIMIT $2;

-- name: list_grants
-- Args: $1 limit. The last made first.
SELECT :grants.names FROM billing_grants ORDER BY granted_at DESC, grant_id DESC LIMIT $1;

-- name: list_invoices
-- Args: $1 tenant id, $2 limit. Newest first, without deleted drafts.
SELECT :invoices.names
FROM subscription_invoices
WHERE tenant_id = $1 AND status <> 'deleted' AND NOT billing_out_of_scope(out_of_scope, subscription_id)
ORDER BY period_end DESC NULLS LAST, invoice_id DESC
LIMIT $2;

-- name: list_recent_usage
-- Args: $1 tenant id. The two newest periods that each feature of each subscription was billed for, newest first: a
-- number of periods, not a span of time, so that weekly and yearly billing are treated alike.
SELECT :usage.names
FROM (
    SELECT *, dense_rank() OVER (
        PARTITION BY subscription_id, feature_key ORDER BY period_end DESC NULLS LAST
    ) AS age
    FROM subscription_usage
    WHERE tenant_id = $1 AND NOT EXISTS (
        SELECT FROM subscription_invoices AS i
        WHERE i.invoice_id = subscription_usage.invoice_id AND billing_out_of_scope(i.out_of_scope, i.subscription_id)
    )
) AS ranked
WHERE age <= 2
ORDER BY period_end DESC NULLS LAST, invoice_id DESC, line_id DESC;

-- name: list_usage
-- Args: $1 tenant id, $2 limit. Newest period first.
SELECT :usage.names
FROM subscription_usage
WHERE tenant_id = $1 AND NOT EXISTS (
    SELECT FROM subscription_invoices AS i
    WHERE i.invoice_id = subscription_usage.invoice_id AND billing_out_of_scope(i.out_of_scope, i.subscription_id)
)
ORDER BY period_end DESC NULLS LAST, invoice_id DESC, line_id DESC
LIMIT $2;

-- name: list_records
-- Args: $1 tenant id, $2 kinds (none: all), $3 limit. Latest observed first.
SELECT :records.names
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
SELECT :records.names FROM billing_records WHERE kind IN ('price', 'product') ORDER BY object_id;

-- name: list_uncertain
-- Args: $1 id to start after, $2 limit. Objects of every kind whose state may be wrong, and those whose provisional view is
-- due to be replaced, by id. One that is both is listed for its view.
SELECT DISTINCT ON (object_id COLLATE "C") kind, object_id, observed_at, event_ids, ambiguous, complete, view
FROM (
    (SELECT 'subscription' AS kind, subscription_id AS object_id, observed_at, event_ids, ambiguous,
            items_complete OR ended AS complete, NULL::text AS view
     FROM tenant_subscriptions
     WHERE (ambiguous OR (NOT items_complete AND NOT ended)) AND subscription_id > $1
     ORDER BY subscription_id
     LIMIT $2)
    UNION ALL
    (SELECT 'invoice', invoice_id, observed_at, event_ids, ambiguous, lines_complete OR status = 'deleted', NULL
     FROM subscription_invoices
     WHERE (ambiguous OR NOT lines_complete) AND (ambiguous OR status <> 'deleted') AND invoice_id > $1
     ORDER BY invoice_id
     LIMIT $2)
    UNION ALL
    (SELECT 'customer', customer_id, observed_at, event_ids, ambiguous, true, NULL
     FROM billing_customers
     WHERE ambiguous AND customer_id > $1
     ORDER BY customer_id
     LIMIT $2)
    UNION ALL
    (SELECT kind, object_id, observed_at, event_ids, ambiguous, data ->> 'complete' IS DISTINCT FROM 'false', NULL
     FROM billing_records
     WHERE kind = 'entitlements' AND (ambiguous OR data ->> 'complete' = 'false') AND object_id > $1
     ORDER BY object_id
     LIMIT $2)
    UNION ALL
    (SELECT v.kind, v.object_id, s.observed_at, s.event_ids, s.ambiguous, s.items_complete OR s.ended, v.operation_key
     FROM provisional_views AS v
     JOIN tenant_subscriptions AS s ON s.subscription_id = v.object_id AND s.tenant_id = v.tenant_id
     WHERE v.refetch_due_at <= (SELECT billing_now()) AND NOT v.confirmed AND v.object_id > $1
     ORDER BY v.object_id
     LIMIT $2)
    UNION ALL
    (SELECT v.kind, v.object_id, i.observed_at, i.event_ids, i.ambiguous, i.lines_complete OR i.status = 'deleted',
            v.operation_key
     FROM provisional_views AS v
     JOIN subscription_invoices AS i ON i.invoice_id = v.object_id AND i.tenant_id = v.tenant_id
     WHERE v.refetch_due_at <= (SELECT billing_now()) AND NOT v.confirmed AND v.object_id > $1
     ORDER BY v.object_id
     LIMIT $2)
) AS uncertain
ORDER BY object_id COLLATE "C", view NULLS LAST
LIMIT $2;

-- name: count_uncertain
-- Counts the same objects by kind. Every part of it reads an index that holds uncertain objects only, or the few views.
WITH due AS (
    SELECT v.object_id, v.tenant_id
    FROM provisional_views AS v
    WHERE v.refetch_due_at <= (SELECT billing_now()) AND NOT v.confirmed
)
SELECT (SELECT count(*) FROM tenant_subscriptions
        WHERE ambiguous OR (NOT items_complete AND NOT ended))
       + (SELECT count(*) FROM due JOIN tenant_subscriptions AS s USING (tenant_id)
          WHERE s.subscription_id = due.object_id
            AND NOT (s.ambiguous OR (NOT s.items_complete AND NOT s.ended))) AS subscription,
       (SELECT count(*) FROM subscription_invoices
        WHERE (ambiguous OR NOT lines_complete) AND (ambiguous OR status <> 'deleted'))
       + (SELECT count(*) FROM due JOIN subscription_invoices AS i USING (tenant_id)
          WHERE i.invoice_id = due.object_id
            AND NOT ((i.ambiguous OR NOT i.lines_complete) AND (i.ambiguous OR i.status <> 'deleted'))) AS invoice,
       (SELECT count(*) FROM billing_customers WHERE ambiguous) AS customer,
       (SELECT count(*) FROM billing_records
        WHERE kind = 'entitlements' AND (ambiguous OR data ->> 'complete' = 'false')) AS entitlements;

-- name: find_payers
-- Args: $1 tenant id. Returns: the customers that are linked to a tenant or pay for one of its subscriptions.
SELECT customer_id FROM billing_customers WHERE tenant_id = $1
UNION
SELECT customer_id FROM tenant_subscriptions WHERE tenant_id = $1;

-- name: count_unresolved_operations
-- Args: $1 tenant id.
SELECT count(*) AS operations FROM gateway_operations WHERE tenant_id = $1 AND status = 'begun';

-- name: find_erased
-- Args: $1 ids of customers and objects. Returns: those that belonged to a tenant that was erased.
SELECT id
FROM unnest($1::text[]) AS id
WHERE EXISTS (SELECT FROM billing_erased_objects AS e WHERE e.digest = sha256(convert_to(id, 'UTF8')) OFFSET 0);
