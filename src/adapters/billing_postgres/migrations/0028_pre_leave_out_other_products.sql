-- Objects of other products of the account: kept, so that state is right in any order of arrival, but not shown to tenants.
ALTER TABLE tenant_subscriptions ADD COLUMN out_of_scope boolean NOT NULL DEFAULT false;
ALTER TABLE subscription_invoices ADD COLUMN out_of_scope boolean;  -- NULL: its subscription decides

-- Returns whether an invoice is for other products: by its lines, else by its subscription.
CREATE FUNCTION billing_out_of_scope(by_lines boolean, subscription text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        by_lines,
        (SELECT s.out_of_scope FROM tenant_subscriptions AS s WHERE s.subscription_id = subscription),
        false
    )
$$;

-- An event of another product whose customer has no tenant yet is ignored (out_of_scope) until the customer is linked.
CREATE INDEX stripe_event_dispatch_unlinked ON stripe_event_dispatch (parked_on)
    WHERE status = 'ignored' AND reason IN ('no_tenant', 'shared_customer', 'out_of_scope');

CREATE OR REPLACE FUNCTION billing_unpark(events bigint[]) RETURNS bigint[] LANGUAGE sql STRICT AS $$
    WITH gone AS (
        DELETE FROM stripe_event_waits AS w WHERE w.event = ANY (events)
    ), unparked AS (
        UPDATE stripe_event_dispatch AS d
        SET status = 'due', due_at = now(), finished_at = NULL
        WHERE d.event = ANY (events) AND (
            d.status = 'parked'
            OR d.status = 'ignored' AND d.reason IN ('no_tenant', 'shared_customer', 'out_of_scope')
               AND EXISTS (SELECT FROM stripe_event_bodies AS b WHERE b.event = d.event)
        )
        RETURNING d.event
    ), notified AS (
        SELECT pg_notify('billing_due', '') FROM unparked LIMIT 1
    )
    SELECT array_agg(unparked.event) FROM unparked LEFT JOIN notified ON true
$$;
