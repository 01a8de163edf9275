-- Questions across all tenants, asked by monitors and operators.

-- name: list_duplicate_subscriptions
-- A subscription whose first payment is open is not live yet; one that is set to end no longer counts.
SELECT tenant_id, plan_code, array_agg(subscription_id ORDER BY subscription_id) AS subscription_ids
FROM tenant_subscriptions
WHERE NOT ended AND NOT out_of_scope AND NOT cancel_at_period_end AND cancel_at IS NULL AND status <> 'incomplete' AND plan_code IS NOT NULL
GROUP BY tenant_id, plan_code
HAVING count(*) > 1
ORDER BY tenant_id, plan_code;

-- name: list_unmapped_prices
-- The index tenant_subscriptions_unmapped holds these subscriptions, and unmapped ones of other products.
SELECT s.price_id, max(item.product_id) AS product_id, max(item.lookup_key) AS lookup_key,
       count(*) AS subscriptions, array_agg(DISTINCT s.tenant_id ORDER BY s.tenant_id) AS tenants
FROM tenant_subscriptions AS s
LEFT JOIN LATERAL (
    SELECT max(i.product_id COLLATE "C") AS product_id, max(i.lookup_key COLLATE "C") AS lookup_key
    FROM subscription_items AS i
    WHERE i.subscription_id = s.subscription_id AND i.price_id = s.price_id
) AS item ON true
WHERE s.plan_code IS NULL AND s.price_id IS NOT NULL AND NOT s.ended AND NOT s.out_of_scope
GROUP BY s.price_id
ORDER BY s.price_id;

-- name: list_customers
-- Args: $1 whether those with a tenant or those without (null: both), $2 id to start after, $3 limit, $4 search (null: all).
SELECT c.customer_id, c.tenant_id, (
    SELECT count(*) FROM stripe_event_dispatch AS d WHERE d.status = 'parked' AND d.parked_on = c.customer_id
) AS waiting, coalesce(dead.events, 0) AS dead, c.email, t.access_state AS access,
       coalesce(live.plans, '{}') AS plans, coalesce(live.statuses, '{}') AS statuses
FROM billing_customers AS c
LEFT JOIN billing_tenants AS t ON t.tenant_id = c.tenant_id
LEFT JOIN LATERAL (
    SELECT array_agg(DISTINCT s.plan_code COLLATE "C") FILTER (WHERE s.plan_code IS NOT NULL) AS plans,
           array_agg(DISTINCT s.status COLLATE "C") AS statuses
    FROM tenant_subscriptions AS s
    WHERE s.customer_id = c.customer_id AND NOT s.ended AND NOT s.out_of_scope
) AS live ON true
LEFT JOIN (
    SELECT customer_id, count(*) AS events FROM stripe_event_dispatch WHERE status = 'dead' GROUP BY customer_id
) AS dead USING (customer_id)
WHERE ($1::boolean IS NULL OR (c.tenant_id IS NOT NULL) = $1) AND c.customer_id > $2
  AND ($4::text IS NULL OR starts_with(c.customer_id, $4) OR starts_with(c.tenant_id, $4) OR c.email = $4)
ORDER BY c.customer_id
LIMIT $3;

-- name: list_decisions
-- Args: $1 id of a customer, subscription or tenant (null: all), $2 number to start below (null: the last), $3 limit.
SELECT decision_id, made_at, :decisions.names
FROM billing_link_decisions
WHERE ($1::text IS NULL OR $1 IN (object_id, from_tenant, to_tenant)) AND ($2::bigint IS NULL OR decision_id < $2)
ORDER BY decision_id DESC
LIMIT $3;

-- name: find_owner
-- Args: $1 id of a tenant, a customer, a subscription, an invoice or an event. Returns: its tenant, if it has one.
SELECT tenant_id
FROM (
    SELECT 1 AS rank, tenant_id FROM billing_tenants WHERE tenant_id = $1
    UNION ALL
    SELECT 2, tenant_id FROM billing_customers WHERE customer_id = $1
    UNION ALL
    SELECT 3, tenant_id FROM tenant_subscriptions WHERE subscription_id = $1
    UNION ALL
    SELECT 4, tenant_id FROM subscription_invoices WHERE invoice_id = $1
    UNION ALL
    SELECT 5, d.tenant_id
    FROM stripe_events AS e JOIN stripe_event_dispatch AS d ON d.event = e.id
    WHERE e.event_id = $1
    UNION ALL
    SELECT 6, c.tenant_id
    FROM stripe_events AS e
    JOIN stripe_event_dispatch AS d ON d.event = e.id
    JOIN billing_customers AS c ON c.customer_id = d.customer_id
    WHERE e.event_id = $1
) AS found
WHERE tenant_id IS NOT NULL
ORDER BY rank
LIMIT 1;

-- name: find_known
-- Args: $1 id of a customer or a subscription, $2 tenant id.
SELECT EXISTS (SELECT FROM billing_customers WHERE customer_id = $1)
       OR EXISTS (SELECT FROM tenant_subscriptions WHERE subscription_id = $1) AS payer,
       EXISTS (SELECT FROM billing_tenants WHERE tenant_id = $2) AS tenant;
