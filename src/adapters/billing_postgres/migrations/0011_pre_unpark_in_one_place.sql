-- Makes parked events due, and wakes the workers if there were any. Statements that save what events wait for call it
-- with those events; null, which array_agg makes of none, costs nothing because the function is strict.
CREATE FUNCTION billing_unpark(events bigint[]) RETURNS bigint[] LANGUAGE sql STRICT AS $$
    WITH gone AS (
        DELETE FROM stripe_event_waits AS w WHERE w.event = ANY (events)
    ), unparked AS (
        UPDATE stripe_event_dispatch AS d
        SET status = 'due', due_at = now()
        WHERE d.event = ANY (events) AND d.status = 'parked'
        RETURNING d.event
    ), notified AS (
        SELECT pg_notify('billing_due', '') FROM unparked LIMIT 1
    )
    SELECT array_agg(unparked.event) FROM unparked LEFT JOIN notified ON true
$$;
