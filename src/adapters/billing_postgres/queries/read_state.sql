-- What tenants have. Statements that a unit of work shares with readers take arrays; the others one tenant.

-- name: find_customers
-- Args: $1 customer ids.
SELECT customer_id, tenant_id, email, name, delinquent, deleted, observed_at, event_ids, ambiguous
FROM billing_customers
WHERE customer_id = ANY ($1::text[]);

-- name: find_subscriptions
-- Args: $1 tenant ids, $2 subscription ids. Newest period first.
SELECT subscription_id, tenant_id, customer_id, status, plan_code, price_id, seat_count, currency,
       cancel_at_period_end, cancel_at, canceled_at, ended_at, trial_ends_at, collection_paused, collection_method,
       metered_prices, observed_at, event_ids, ambiguous
FROM tenant_subscriptions
WHERE tenant_id = ANY ($1::text[]) OR subscription_id = ANY ($2::text[])
ORDER BY current_period_end DESC NULLS LAST, subscription_id DESC;

-- name: find_items
-- Args: $1 subscription ids. By item id within each subscription.
SELECT subscription_id, item_id, price_id, product_id, lookup_key, usage_type, quantity, feature_key,
       current_period_start, current_period_end
FROM subscription_items
WHERE subscription_id = ANY ($1::text[])
ORDER BY subscription_id, item_id;

-- name: find_invoices
-- Args: $1 invoice ids, $2 subscription ids.
SELECT invoice_id, tenant_id, subscription_id, customer_id, number, status, currency, amount_due, amount_paid,
       amount_remaining, total, tax, billing_reason, collection_method, hosted_invoice_url, period_start, period_end,
       due_at, paid_at, attempt_count, next_payment_attempt_at, lines, lines_complete, observed_at, event_ids, ambiguous
FROM subscription_invoices
WHERE invoice_id = ANY ($1::text[]) OR subscription_id = ANY ($2::text[]);

-- name: find_usage
-- Args: $1 invoice ids.
SELECT invoice_id, line_id, tenant_id, subscription_id, feature_key, quantity, amount, currency, period_start,
       period_end
FROM subscription_usage
WHERE invoice_id = ANY ($1::text[]);

-- name: find_stored_events
-- Args: parallel arrays: $1 event id, $2 livemode, $3 account. Events whose body was pruned are left out.
SELECT e.event_id, e.livemode, e.account, e.type, e.api_version, e.created_at, e.received_at, e.secret_slot, b.body
FROM unnest($1::text[], $2::boolean[], $3::text[]) AS k (event_id, livemode, account)
JOIN stripe_events AS e USING (event_id, livemode, account)
JOIN stripe_event_bodies AS b ON b.event = e.id;

-- name: find_notified_events
-- Args: $1 provider event ids. Returns: those that messages follow from, and whose messages these are.
SELECT tenant_id, event_id FROM billing_events WHERE event_id = ANY ($1::text[]);

-- name: get_sequence
-- Args: $1 tenant id.
SELECT sequence FROM billing_tenants WHERE tenant_id = $1;

-- name: get_sequences
-- Args: $1 tenant ids.
SELECT tenant_id, sequence FROM billing_tenants WHERE tenant_id = ANY ($1::text[]);

-- name: list_owed_invoices
-- Args: $1 tenant id. What is final and not paid in full, oldest first.
SELECT invoice_id, tenant_id, subscription_id, customer_id, number, status, currency, amount_due, amount_paid,
       amount_remaining, total, tax, billing_reason, collection_method, hosted_invoice_url, period_start, period_end,
       due_at, paid_at, attempt_count, next_payment_attempt_at, lines, lines_complete, observed_at, event_ids, ambiguous
FROM subscription_invoices
WHERE tenant_id = $1 AND amount_remaining > 0 AND status NOT IN ('draft', 'paid', 'void', 'deleted')
ORDER BY period_end NULLS FIRST, invoice_id;

-- name: list_invoices
-- Args: $1 tenant id, $2 limit. Newest first, without deleted drafts.
SELECT invoice_id, tenant_id, subscription_id, customer_id, number, status, currency, amount_due, amount_paid,
       amount_remaining, total, tax, billing_reason, collection_method, hosted_invoice_url, period_start, period_end,
       due_at, paid_at, attempt_count, next_payment_attempt_at, lines, lines_complete, observed_at, event_ids, ambiguous
FROM subscription_invoices
WHERE tenant_id = $1 AND status <> 'deleted'
ORDER BY period_end DESC NULLS LAST, invoice_id DESC
LIMIT $2;

-- name: list_recent_usage
-- Args: $1 tenant id. The two newest periods that each feature of each subscription was billed for, newest first: a
-- number of periods, not a span of time, so that weekly and yearly billing are treated alike.
SELECT invoice_id, line_id, tenant_id, subscription_id, feature_key, quantity, amount, currency, period_start,
       period_end
FROM (
    SELECT *, dense_rank() OVER (
        PARTITION BY subscription_id, feature_key ORDER BY period_end DESC NULLS LAST
    ) AS age
    FROM subscription_usage
    WHERE tenant_id = $1
) AS ranked
WHERE age <= 2
ORDER BY period_end DESC NULLS LAST, invoice_id DESC, line_id DESC;

-- name: list_usage
-- Args: $1 tenant id, $2 limit. Newest period first.
SELECT invoice_id, line_id, tenant_id, subscription_id, feature_key, quantity, amount, currency, period_start,
       period_end
FROM subscription_usage
WHERE tenant_id = $1
ORDER BY period_end DESC NULLS LAST, invoice_id DESC, line_id DESC
LIMIT $2;

-- name: list_messages
-- Args: $1 tenant id, $2 number to start after, $3 limit.
SELECT tenant_id, sequence, event_type, event_id, occurred_at, payload
FROM billing_events
WHERE tenant_id = $1 AND sequence > $2
ORDER BY sequence
LIMIT $3;
