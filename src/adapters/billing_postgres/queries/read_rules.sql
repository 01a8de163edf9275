-- The rules in force, and the state that was read by earlier ones.

-- name: find_active_rules
SELECT generation, document FROM billing_rules ORDER BY generation DESC LIMIT 1;

-- name: find_rules
-- Args: $1 fingerprint.
SELECT generation FROM billing_rules WHERE fingerprint = $1 LIMIT 1;

-- name: list_live_subscriptions
-- Args: $1 id above which they are, $2 limit. `items` are rows of the columns of an item, by item id.
SELECT :subscriptions.names, ARRAY (
    SELECT ROW (:items.names)
    FROM subscription_items AS i
    WHERE i.subscription_id = tenant_subscriptions.subscription_id
    ORDER BY i.item_id
) AS items
FROM tenant_subscriptions
WHERE subscription_id > $1 AND status NOT IN ('canceled', 'incomplete_expired')
ORDER BY subscription_id
LIMIT $2;

-- name: list_tenants_behind
-- Args: $1 limit. Found by the index on the generation.
SELECT tenant_id
FROM billing_tenants
WHERE rules_generation < (SELECT coalesce(max(generation), 0) FROM billing_rules)
ORDER BY rules_generation, tenant_id
LIMIT $1;

-- name: count_tenants_behind
SELECT count(*) AS behind
FROM billing_tenants
WHERE rules_generation < (SELECT coalesce(max(generation), 0) FROM billing_rules);
