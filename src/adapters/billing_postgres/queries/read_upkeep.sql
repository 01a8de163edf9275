-- What is looked for across all tenants: by sweeps, audits and operators.

-- name: list_uncertain
-- Args: $1 id to start after, $2 limit. By id, of whatever kind.
SELECT kind, object_id, observed_at, event_ids, ambiguous
FROM (
    (SELECT 'subscription' AS kind, subscription_id AS object_id, observed_at, event_ids, ambiguous
     FROM tenant_subscriptions
     WHERE ambiguous AND subscription_id > $1
     ORDER BY subscription_id
     LIMIT $2)
    UNION ALL
    (SELECT 'invoice', invoice_id, observed_at, event_ids, ambiguous
     FROM subscription_invoices
     WHERE (ambiguous OR NOT lines_complete) AND (ambiguous OR status <> 'deleted') AND invoice_id > $1
     ORDER BY invoice_id
     LIMIT $2)
    UNION ALL
    (SELECT 'customer', customer_id, observed_at, event_ids, ambiguous
     FROM billing_customers
     WHERE ambiguous AND customer_id > $1
     ORDER BY customer_id
     LIMIT $2)
    UNION ALL
    (SELECT kind, object_id, observed_at, event_ids, ambiguous
     FROM billing_records
     WHERE kind = 'entitlements' AND (ambiguous OR data ->> 'complete' = 'false') AND object_id > $1
     ORDER BY object_id
     LIMIT $2)
) AS doubtful
ORDER BY object_id COLLATE "C"
LIMIT $2;

-- name: list_duplicate_subscriptions
-- A subscription whose first payment is open is not live yet.
SELECT tenant_id, plan_code, array_agg(subscription_id ORDER BY subscription_id) AS subscription_ids
FROM tenant_subscriptions
WHERE NOT ended AND status <> 'incomplete' AND plan_code IS NOT NULL
GROUP BY tenant_id, plan_code
HAVING count(*) > 1
ORDER BY tenant_id, plan_code;

-- name: list_customers
-- Args: $1 whether those with a tenant or those without, $2 id to start after, $3 limit.
SELECT c.customer_id, c.tenant_id, (
    SELECT count(*) FROM stripe_event_dispatch AS d WHERE d.status = 'parked' AND d.parked_on = c.customer_id
) AS waiting
FROM billing_customers AS c
WHERE (c.tenant_id IS NOT NULL) = $1 AND c.customer_id > $2
ORDER BY c.customer_id
LIMIT $3;
