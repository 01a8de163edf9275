-- One unit of work over tenants' state. The order of locks is the same for everybody: dispatch rows, customers, tenants,
-- each by ascending id. Everything written is absolute, so that writing it twice changes nothing.

-- name: hold_events
-- Args: $1 events, $2 attempts (the fence). Returns: those still ours, locked until the end.
SELECT d.event
FROM stripe_event_dispatch AS d
JOIN unnest($1::bigint[], $2::int[]) AS c (event, attempt) ON d.event = c.event
WHERE d.attempt = c.attempt AND d.status = 'leased'
ORDER BY d.event
FOR NO KEY UPDATE OF d;

-- name: take_events
-- For a unit of work that is rolled back. Args: $1 events, $2 attempts they had when they were read.
-- Returns: those that nobody works on, leased and locked until the end.
WITH free AS (
    SELECT d.event
    FROM stripe_event_dispatch AS d
    JOIN unnest($1::bigint[], $2::int[]) AS c (event, attempt) ON d.event = c.event
    WHERE d.attempt = c.attempt AND NOT (d.status = 'leased' AND d.due_at > now())
    ORDER BY d.event
    FOR NO KEY UPDATE OF d SKIP LOCKED
)
UPDATE stripe_event_dispatch AS d SET status = 'leased' FROM free WHERE d.event = free.event RETURNING d.event;

-- name: create_customers
-- Args: $1 customer ids, ascending. Known ones are left as they are; not in one statement with the lock, which would
-- not see what a concurrent transaction created meanwhile.
INSERT INTO billing_customers (customer_id)
SELECT * FROM unnest($1::text[])
ON CONFLICT (customer_id) DO NOTHING;

-- name: lock_customers
-- Args: $1 customer ids.
SELECT customer_id, tenant_id, email, name, delinquent, deleted, observed_at, event_ids, ambiguous
FROM billing_customers
WHERE customer_id = ANY ($1::text[])
ORDER BY customer_id
FOR NO KEY UPDATE;

-- name: create_tenants
-- Args: $1 tenant ids, ascending.
INSERT INTO billing_tenants (tenant_id)
SELECT * FROM unnest($1::text[])
ON CONFLICT (tenant_id) DO NOTHING;

-- name: lock_tenants
-- Args: $1 tenant ids. Returns: their counters.
SELECT tenant_id, sequence
FROM billing_tenants
WHERE tenant_id = ANY ($1::text[])
ORDER BY tenant_id
FOR NO KEY UPDATE;

-- name: save_customers
-- A link is made once and never moved. The first one lets the customer's events leave the car park.
-- Args: parallel arrays: $1 customer id, $2 tenant id, $3 email, $4 name, $5 delinquent, $6 deleted, $7 observed_at,
--   $8 event ids (joined by U+001F), $9 ambiguous.
-- Returns: the customers saved; one that is missing is linked to another tenant.
WITH seen AS (
    SELECT *
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::boolean[], $7::timestamptz[],
                $8::text[], $9::boolean[])
        AS t (customer_id, tenant_id, email, name, delinquent, deleted, observed_at, event_ids, ambiguous)
), saved AS (
    INSERT INTO billing_customers AS known
        (customer_id, tenant_id, email, name, delinquent, deleted, observed_at, event_ids, ambiguous, linked_at)
    SELECT customer_id, tenant_id, email, name, delinquent, deleted, observed_at,
           string_to_array(event_ids, E'\x1f'), ambiguous, CASE WHEN tenant_id IS NOT NULL THEN now() END
    FROM seen
    ON CONFLICT (customer_id) DO UPDATE SET
        tenant_id = coalesce(known.tenant_id, excluded.tenant_id),
        email = excluded.email,
        name = excluded.name,
        delinquent = excluded.delinquent,
        deleted = excluded.deleted,
        observed_at = excluded.observed_at,
        event_ids = excluded.event_ids,
        ambiguous = excluded.ambiguous,
        linked_at = coalesce(known.linked_at, excluded.linked_at),
        updated_at = now()
    WHERE known.tenant_id IS NULL OR excluded.tenant_id IS NULL OR known.tenant_id = excluded.tenant_id
    RETURNING customer_id
), unparked AS (
    UPDATE stripe_event_dispatch AS d
    SET status = 'due', due_at = now()
    FROM seen
    WHERE d.status = 'parked' AND d.parked_on = seen.customer_id AND seen.tenant_id IS NOT NULL
    RETURNING d.event
), wake AS (
    SELECT pg_notify('billing_due', '') FROM unparked LIMIT 1
)
SELECT saved.customer_id FROM saved LEFT JOIN wake ON true;

-- name: save_subscriptions
-- What waited for one of them leaves the car park.
-- Args: parallel arrays, one entry per subscription: $1 subscription id, $2 tenant id, $3 customer id, $4 status,
--   $5 ended, $6 plan code, $7 price id, $8 seat count, $9 currency, $10 cancel_at_period_end, $11 cancel_at,
--   $12 canceled_at, $13 ended_at, $14 trial_ends_at, $15 collection_paused, $16 collection_method, $17 period start,
--   $18 period end, $19 metered prices, $20 observed_at, $21 event ids (joined by U+001F), $22 ambiguous.
-- Returns: the subscriptions saved; one that is missing belongs to another tenant.
WITH saved AS (
    INSERT INTO tenant_subscriptions AS known
        (subscription_id, tenant_id, customer_id, status, ended, plan_code, price_id, seat_count, currency,
         cancel_at_period_end, cancel_at, canceled_at, ended_at, trial_ends_at, collection_paused, collection_method,
         current_period_start, current_period_end, metered_prices, observed_at, event_ids, ambiguous)
    SELECT subscription_id, tenant_id, customer_id, status, ended, plan_code, price_id, seat_count, currency,
           cancel_at_period_end, cancel_at, canceled_at, ended_at, trial_ends_at, collection_paused, collection_method,
           period_start, period_end, metered_prices::jsonb, observed_at, string_to_array(event_ids, E'\x1f'), ambiguous
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::text[], $7::text[], $8::bigint[],
                $9::text[], $10::boolean[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[],
                $14::timestamptz[], $15::boolean[], $16::text[], $17::timestamptz[], $18::timestamptz[], $19::text[],
                $20::timestamptz[], $21::text[], $22::boolean[])
        AS t (subscription_id, tenant_id, customer_id, status, ended, plan_code, price_id, seat_count, currency,
              cancel_at_period_end, cancel_at, canceled_at, ended_at, trial_ends_at, collection_paused,
              collection_method, period_start, period_end, metered_prices, observed_at, event_ids, ambiguous)
    ON CONFLICT (subscription_id) DO UPDATE SET
        customer_id = excluded.customer_id,
        status = excluded.status,
        ended = excluded.ended,
        plan_code = excluded.plan_code,
        price_id = excluded.price_id,
        seat_count = excluded.seat_count,
        currency = excluded.currency,
        cancel_at_period_end = excluded.cancel_at_period_end,
        cancel_at = excluded.cancel_at,
        canceled_at = excluded.canceled_at,
        ended_at = excluded.ended_at,
        trial_ends_at = excluded.trial_ends_at,
        collection_paused = excluded.collection_paused,
        collection_method = excluded.collection_method,
        current_period_start = excluded.current_period_start,
        current_period_end = excluded.current_period_end,
        metered_prices = excluded.metered_prices,
        observed_at = excluded.observed_at,
        event_ids = excluded.event_ids,
        ambiguous = excluded.ambiguous,
        updated_at = now()
    WHERE known.tenant_id = excluded.tenant_id
    RETURNING subscription_id
), ready AS (
    SELECT DISTINCT w.event FROM stripe_event_waits AS w JOIN saved ON w.object_id = saved.subscription_id
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
SELECT saved.subscription_id FROM saved LEFT JOIN wake ON true;

-- name: save_items
-- Replaces the items of subscriptions that were just saved; rows that stay the same are not touched.
-- Args: $1 the subscriptions; parallel arrays, one entry per item: $2 subscription id, $3 item id, $4 price id,
--   $5 product id, $6 lookup key, $7 usage type, $8 quantity, $9 feature key, $10 period start, $11 period end.
WITH seen AS (
    SELECT *
    FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::text[],
                $10::timestamptz[], $11::timestamptz[])
        AS t (subscription_id, item_id, price_id, product_id, lookup_key, usage_type, quantity, feature_key,
              period_start, period_end)
), gone AS (
    DELETE FROM subscription_items AS known
    WHERE known.subscription_id = ANY ($1::text[])
      AND NOT EXISTS (
          SELECT FROM seen WHERE seen.subscription_id = known.subscription_id AND seen.item_id = known.item_id
      )
)
INSERT INTO subscription_items AS known
    (subscription_id, item_id, price_id, product_id, lookup_key, usage_type, quantity, feature_key,
     current_period_start, current_period_end)
SELECT * FROM seen
ON CONFLICT (subscription_id, item_id) DO UPDATE SET
    price_id = excluded.price_id,
    product_id = excluded.product_id,
    lookup_key = excluded.lookup_key,
    usage_type = excluded.usage_type,
    quantity = excluded.quantity,
    feature_key = excluded.feature_key,
    current_period_start = excluded.current_period_start,
    current_period_end = excluded.current_period_end
WHERE known IS DISTINCT FROM excluded;

-- name: save_invoices
-- What waited for one of them leaves the car park.
-- Args: parallel arrays: $1 invoice id, $2 tenant id, $3 subscription id, $4 customer id, $5 number, $6 status,
--   $7 currency, $8 amount_due, $9 amount_paid, $10 amount_remaining, $11 total, $12 tax, $13 billing_reason,
--   $14 collection_method, $15 hosted_invoice_url, $16 period start, $17 period end, $18 due_at, $19 paid_at,
--   $20 attempt_count, $21 next_payment_attempt_at, $22 lines (JSON), $23 lines_complete, $24 observed_at,
--   $25 event ids (joined by U+001F), $26 ambiguous.
-- Returns: the invoices saved; one that is missing belongs to another tenant.
WITH saved AS (
    INSERT INTO subscription_invoices AS known
        (invoice_id, tenant_id, subscription_id, customer_id, number, status, currency, amount_due, amount_paid,
         amount_remaining, total, tax, billing_reason, collection_method, hosted_invoice_url, period_start, period_end,
         due_at, paid_at, attempt_count, next_payment_attempt_at, lines, lines_complete, observed_at, event_ids, ambiguous)
    SELECT invoice_id, tenant_id, subscription_id, customer_id, number, status, currency, amount_due, amount_paid,
           amount_remaining, total, tax, billing_reason, collection_method, hosted_invoice_url, period_start, period_end,
           due_at, paid_at, attempt_count, next_payment_attempt_at, lines::jsonb, lines_complete, observed_at,
           string_to_array(event_ids, E'\x1f'), ambiguous
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
                $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::text[], $14::text[], $15::text[],
                $16::timestamptz[], $17::timestamptz[], $18::timestamptz[], $19::timestamptz[], $20::bigint[],
                $21::timestamptz[], $22::text[], $23::boolean[], $24::timestamptz[], $25::text[], $26::boolean[])
        AS t (invoice_id, tenant_id, subscription_id, customer_id, number, status, currency, amount_due, amount_paid,
              amount_remaining, total, tax, billing_reason, collection_method, hosted_invoice_url, period_start,
              period_end, due_at, paid_at, attempt_count, next_payment_attempt_at, lines, lines_complete, observed_at,
              event_ids, ambiguous)
    ON CONFLICT (invoice_id) DO UPDATE SET
        subscription_id = excluded.subscription_id,
        customer_id = excluded.customer_id,
        number = excluded.number,
        status = excluded.status,
        currency = excluded.currency,
        amount_due = excluded.amount_due,
        amount_paid = excluded.amount_paid,
        amount_remaining = excluded.amount_remaining,
        total = excluded.total,
        tax = excluded.tax,
        billing_reason = excluded.billing_reason,
        collection_method = excluded.collection_method,
        hosted_invoice_url = excluded.hosted_invoice_url,
        period_start = excluded.period_start,
        period_end = excluded.period_end,
        due_at = excluded.due_at,
        paid_at = excluded.paid_at,
        attempt_count = excluded.attempt_count,
        next_payment_attempt_at = excluded.next_payment_attempt_at,
        lines = excluded.lines,
        lines_complete = excluded.lines_complete,
        observed_at = excluded.observed_at,
        event_ids = excluded.event_ids,
        ambiguous = excluded.ambiguous,
        updated_at = now()
    WHERE known.tenant_id = excluded.tenant_id
    RETURNING invoice_id
), ready AS (
    SELECT DISTINCT w.event FROM stripe_event_waits AS w JOIN saved ON w.object_id = saved.invoice_id
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
SELECT saved.invoice_id FROM saved LEFT JOIN wake ON true;

-- name: save_usage
-- Replaces the billed usage of invoices.
-- Args: $1 the invoices; parallel arrays, one entry per record: $2 invoice id, $3 line id, $4 tenant id,
--   $5 subscription id, $6 feature key, $7 quantity, $8 amount, $9 currency, $10 period start, $11 period end.
-- Returns: the invoice of each record saved; one that is missing belongs to another tenant.
WITH seen AS (
    SELECT *
    FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::text[],
                $10::timestamptz[], $11::timestamptz[])
        AS t (invoice_id, line_id, tenant_id, subscription_id, feature_key, quantity, amount, currency,
              period_start, period_end)
), gone AS (
    DELETE FROM subscription_usage AS known
    WHERE known.invoice_id = ANY ($1::text[])
      AND NOT EXISTS (SELECT FROM seen WHERE seen.invoice_id = known.invoice_id AND seen.line_id = known.line_id)
)
INSERT INTO subscription_usage AS known
    (invoice_id, line_id, tenant_id, subscription_id, feature_key, quantity, amount, currency, period_start,
     period_end)
SELECT * FROM seen
ON CONFLICT (invoice_id, line_id) DO UPDATE SET
    subscription_id = excluded.subscription_id,
    feature_key = excluded.feature_key,
    quantity = excluded.quantity,
    amount = excluded.amount,
    currency = excluded.currency,
    period_start = excluded.period_start,
    period_end = excluded.period_end
WHERE known.tenant_id = excluded.tenant_id
RETURNING invoice_id;

-- name: save_messages
-- Appends messages to the history and the outbox and moves the counters, which the caller has locked.
-- Args: parallel arrays, one entry per tenant: $1 tenant id, $2 first number, $3 last number; one entry per message:
--   $4 tenant id, $5 number, $6 event type, $7 event id, $8 occurred_at, $9 payload (JSON).
-- Returns: the tenants whose counters moved; one that is missing does not stand where the messages start.
WITH run AS (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS t (tenant_id, first, last)
), message AS (
    SELECT *
    FROM unnest($4::text[], $5::bigint[], $6::text[], $7::text[], $8::timestamptz[], $9::text[])
        AS t (tenant_id, sequence, event_type, event_id, occurred_at, payload)
), told AS (
    INSERT INTO billing_events (tenant_id, sequence, event_type, event_id, occurred_at, payload)
    SELECT tenant_id, sequence, event_type, event_id, occurred_at, payload::json FROM message
), outgoing AS (
    INSERT INTO billing_outbox (tenant_id, sequence, committed_at)
    SELECT tenant_id, sequence, statement_timestamp() FROM message
)
UPDATE billing_tenants AS known
SET sequence = run.last
FROM run
WHERE known.tenant_id = run.tenant_id AND known.sequence = run.first - 1
RETURNING known.tenant_id;

-- name: settle_events
-- An event is not parked on a customer that has a tenant by now: nobody would come to fetch it. One that is applied
-- again and does nothing new keeps what it did the first time.
-- Args: parallel arrays: $1 event, $2 attempt (the fence), $3 status, $4 effect, $5 reason, $6 error, $7 parked_on,
--   $8 tenant id, $9 customer id, $10 message number.
-- Returns: the events settled.
WITH settled AS (
    UPDATE stripe_event_dispatch AS d
    SET status = CASE WHEN c.linked THEN 'due' ELSE c.status END,
        due_at = now(),
        effect = CASE WHEN c.status = 'applied' AND c.effect <> 'changed' THEN coalesce(d.effect, c.effect) ELSE c.effect END,
        reason = c.reason,
        error = c.error,
        first_error = coalesce(d.first_error, c.error),
        parked_on = c.parked_on,
        tenant_id = coalesce(c.tenant_id, d.tenant_id),
        customer_id = coalesce(c.customer_id, d.customer_id),
        sequence = coalesce(c.sequence, d.sequence),
        finished_at = CASE WHEN c.status <> 'parked' THEN now() END
    FROM (
        SELECT t.*, t.status = 'parked' AND EXISTS (
            SELECT FROM billing_customers AS b WHERE b.customer_id = t.parked_on AND b.tenant_id IS NOT NULL
        ) AS linked
        FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                    $9::text[], $10::bigint[])
            AS t (event, attempt, status, effect, reason, error, parked_on, tenant_id, customer_id, sequence)
    ) AS c
    WHERE d.event = c.event AND d.attempt = c.attempt AND d.status = 'leased'
    RETURNING d.event, d.attempt, d.status, d.reason, d.error
), noted AS (
    INSERT INTO stripe_event_attempts (event, attempt, reason, error)
    SELECT event, attempt, reason, error FROM settled WHERE status = 'dead'
)
SELECT event FROM settled;
