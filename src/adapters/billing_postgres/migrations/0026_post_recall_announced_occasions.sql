-- The occasions of messages and paid invoices from before their keys were kept: none of them is announced again.

INSERT INTO billing_occasions (tenant_id, key, sequence)
SELECT tenant_id, key, min(sequence)
FROM (
    SELECT
        tenant_id,
        sequence,
        CASE event_type
            WHEN 'subscription.trial_ending' THEN concat_ws(
                ':', event_type, subscription ->> 'subscription_id',
                coalesce(extract(epoch FROM (subscription ->> 'trial_ends_at')::timestamptz)::bigint, 0)
            )
            WHEN 'invoice.overdue' THEN concat_ws(
                ':', event_type, invoice ->> 'invoice_id',
                coalesce(extract(epoch FROM (invoice ->> 'due_at')::timestamptz)::bigint, 0)
            )
            ELSE concat_ws(
                ':', event_type, invoice ->> 'invoice_id', coalesce(invoice ->> 'attempt_count', '0'),
                extract(epoch FROM occurred_at)::bigint
            )
        END AS key
    FROM (
        SELECT *, payload -> 'subscription' AS subscription, payload -> 'invoice' AS invoice
        FROM billing_events
        WHERE event_type IN (
            'subscription.trial_ending', 'invoice.overdue', 'invoice.payment_failed', 'invoice.payment_action_required'
        )
    ) AS message
) AS announced
GROUP BY tenant_id, key
ON CONFLICT DO NOTHING;

-- A regular line bills the period that begins with it, and usage the one that ends with it: where the two cannot be told
-- apart, the subscription's items say which prices bill usage.
INSERT INTO billing_occasions (tenant_id, key)
SELECT DISTINCT
    i.tenant_id,
    concat_ws(':', 'subscription.renewed', i.subscription_id, extract(epoch FROM coalesce(
        CASE WHEN usage.metered THEN (line ->> 'period_end')::timestamptz END,
        (line ->> 'period_start')::timestamptz
    ))::bigint)
FROM subscription_invoices AS i
CROSS JOIN LATERAL jsonb_array_elements(i.lines) AS line
CROSS JOIN LATERAL (
    SELECT line ->> 'usage_type' = 'metered' OR EXISTS (
        SELECT FROM subscription_items AS s
        WHERE s.subscription_id = i.subscription_id AND s.price_id = line ->> 'price_id' AND s.usage_type = 'metered'
    ) AS metered
) AS usage
WHERE i.status = 'paid' AND i.subscription_id IS NOT NULL AND line ->> 'period_start' IS NOT NULL
ON CONFLICT DO NOTHING;
