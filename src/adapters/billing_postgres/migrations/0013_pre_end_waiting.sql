-- Parked events that wait for too long end as ignored (no_tenant), as do those of a shared customer without a tenant of its own
-- (shared_customer), and a link or object that comes later still makes them due:
-- what they wait for stays noted, and is found without reading what other events wait for.
ALTER TABLE stripe_event_waits ADD COLUMN lapsed boolean NOT NULL DEFAULT false;
CREATE INDEX stripe_event_waits_current ON stripe_event_waits (event, object_id) WHERE NOT lapsed;
CREATE INDEX stripe_event_dispatch_parked_since ON stripe_event_dispatch (due_at)
    WHERE status = 'parked' AND parked_on IS NOT NULL;
CREATE INDEX stripe_event_dispatch_lapsed ON stripe_event_dispatch (parked_on)
    WHERE status = 'ignored' AND reason IN ('no_tenant', 'shared_customer');

-- Makes waiting events due, as before, and those that stopped waiting as well, unless their bodies are gone.
CREATE OR REPLACE FUNCTION billing_unpark(events bigint[]) RETURNS bigint[] LANGUAGE sql STRICT AS $$
    WITH gone AS (
        DELETE FROM stripe_event_waits AS w WHERE w.event = ANY (events)
    ), unparked AS (
        UPDATE stripe_event_dispatch AS d
        SET status = 'due', due_at = now(), finished_at = NULL
        WHERE d.event = ANY (events) AND (
            d.status = 'parked'
            OR d.status = 'ignored' AND d.reason IN ('no_tenant', 'shared_customer')
               AND EXISTS (SELECT FROM stripe_event_bodies AS b WHERE b.event = d.event)
        )
        RETURNING d.event
    ), notified AS (
        SELECT pg_notify('billing_due', '') FROM unparked LIMIT 1
    )
    SELECT array_agg(unparked.event) FROM unparked LEFT JOIN notified ON true
$$;
