-- What the last message told each tenant, also of messages that the release before wrote, and the failed payments that it
-- told of. Tenants are locked in the order in which every transaction locks them, so that none overwrites this.
SELECT FROM billing_tenants ORDER BY tenant_id FOR NO KEY UPDATE;

UPDATE billing_tenants AS t
SET access_state = m.payload #>> '{access,state}',
    access_reason = m.payload #>> '{access,reason}',
    access_until = (m.payload #>> '{access,until}')::timestamptz,
    access_due_at = (m.payload #>> '{access,until}')::timestamptz,
    access_policy = NULL
FROM billing_events AS m
WHERE m.tenant_id = t.tenant_id AND m.sequence = t.sequence;

UPDATE subscription_invoices AS i
SET failed_at = (
    SELECT jsonb_agg(failed.at ORDER BY failed.at)
    FROM (
        SELECT jsonb_array_elements_text(i.failed_at) AS at
        UNION
        SELECT to_char(m.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"')
        FROM billing_events AS m
        WHERE m.tenant_id = i.tenant_id
          AND m.event_type = 'invoice.payment_failed'
          AND m.payload #>> '{invoice,invoice_id}' = i.invoice_id
    ) AS failed
)
WHERE i.amount_remaining > 0
  AND i.status NOT IN ('draft', 'paid', 'void', 'deleted')
  AND EXISTS (
      SELECT FROM billing_events AS m
      WHERE m.tenant_id = i.tenant_id
        AND m.event_type = 'invoice.payment_failed'
        AND m.payload #>> '{invoice,invoice_id}' = i.invoice_id
  );
