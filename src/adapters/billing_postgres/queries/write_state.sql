-- One unit of work over the state of tenants. Every transaction locks in one order: dispatch rows, customers, tenants, each
-- by ascending id. All values written are absolute, so that writing them twice changes nothing. Where rows are joined with
-- arguments, their keys are repeated as `= ANY`: no plan then reads a whole table, whatever it held when the plan was made.

-- name: hold_events
-- Two lists side by side, for one round trip: the locks do not depend on the customers, nor these on the locks.
-- The statements that follow keep their plans: for less than some hundred events, planning them takes longer than running
-- them. Such a plan serves batches of any size and outlives the size that the tables had. So it may only look rows up by
-- index, and joins by hash: the values of a batch are not searched again for each row. ORDER BY a key chooses the index that
-- begins with it: while a table is small, reading the whole of another that also holds the key costs as little.
-- Args: $1 customer ids; then one array per column of a claim.
-- Returns: the events still claimed by the caller, locked until the end; and the known customers, each with the number of
-- departures from its tenant until now.
WITH held AS (
    SELECT d.event
    FROM stripe_event_dispatch AS d
    JOIN unnest(:claims.arrays) AS c (:claims.names) ON d.event = c.event
    WHERE d.event = ANY (:claims.keys) AND d.attempt = c.attempt
      AND coalesce(d.status = 'leased', false)  -- for the reason at `save_batch`
    ORDER BY d.event
    FOR NO KEY UPDATE OF d
), known AS (
    SELECT :customers.names, (
        SELECT t.departures FROM billing_tenants AS t WHERE t.tenant_id = billing_customers.tenant_id
    ) AS departures
    FROM billing_customers
    WHERE customer_id = ANY ($1::text[])
), planned AS MATERIALIZED (
    SELECT set_config(name, setting, true) AS setting
    FROM (VALUES ('plan_cache_mode', 'force_generic_plan'), ('enable_seqscan', 'off'), ('enable_nestloop', 'off'),
                 ('enable_mergejoin', 'off')) AS kept (name, setting)
)
SELECT held.event, known.*, (SELECT count(setting) FROM planned) AS settings FROM held FULL JOIN known ON false;

-- name: take_events
-- For a unit of work that is rolled back. Args: one array per column of a claim, with the attempts that the events had
-- when they were read. Returns: the events that are not being processed elsewhere, leased and locked until the end.
WITH free AS (
    SELECT d.event
    FROM stripe_event_dispatch AS d
    JOIN unnest(:claims.arrays) AS c (:claims.names) ON d.event = c.event
    WHERE d.attempt = c.attempt AND NOT (d.status = 'leased' AND d.due_at > now())
    ORDER BY d.event
    FOR NO KEY UPDATE OF d SKIP LOCKED
)
UPDATE stripe_event_dispatch AS d
SET status = 'leased', attempt = d.attempt + 1, forgiven = d.attempt
FROM free
WHERE d.event = free.event
RETURNING d.event;

-- name: create_customers
-- Args: $1 customer ids, ascending. Known ones are left as they are. Not in one statement with the lock, which would
-- not see what a concurrent transaction created meanwhile.
INSERT INTO billing_customers (customer_id)
SELECT * FROM unnest($1::text[])
ON CONFLICT (customer_id) DO NOTHING;

-- name: lock_customers
-- Args: $1 customer ids.
SELECT :customers.names
FROM billing_customers
WHERE customer_id = ANY ($1::text[])
ORDER BY customer_id
FOR NO KEY UPDATE;

-- name: create_tenants
-- Args: $1 tenant ids, ascending.
INSERT INTO billing_tenants (tenant_id, rules_generation)
SELECT tenant_id, coalesce((SELECT max(generation) FROM billing_rules), 0) FROM unnest($1::text[]) AS t (tenant_id)
ON CONFLICT (tenant_id) DO NOTHING;

-- name: lock_tenants
-- Every transaction that numbers a message locks its tenant, so this makes the commit before publishing durable.
-- Args: $1 tenant ids.
-- Returns: the locked tenants with the time at which each lock was held; one row without a tenant if there are none.
WITH locked AS (
    SELECT tenant_id, sequence, departures, rules_generation, access_state, access_reason, access_until, access_due_at, access_policy, granted, provisional,
        (SELECT billing_commit_durably()) AS durability
    FROM billing_tenants
    WHERE tenant_id = ANY ($1::text[])
    ORDER BY tenant_id
    FOR NO KEY UPDATE
)
SELECT locked.*, billing_now() AS now, coalesce((SELECT max(generation) FROM billing_rules), 0) AS generation
FROM (SELECT) AS always LEFT JOIN locked ON true;

-- name: lock_due_tenants
-- Each part of `due` reads an index that starts with what is due. Checked again under the lock: another process may have
-- decided meanwhile.
-- Args: $1 fingerprint of the policy, $2 limit of each part. Returns: as `lock_tenants`.
WITH asked AS MATERIALIZED (
    SELECT billing_now() AS now
), due AS MATERIALIZED (
    (SELECT tenant_id FROM billing_tenants
     WHERE access_due_at <= (SELECT now FROM asked)
     ORDER BY access_due_at
     LIMIT $2)
    UNION ALL
    (SELECT tenant_id FROM billing_tenants WHERE access_policy IS NULL LIMIT $2)
    UNION ALL
    (SELECT tenant_id FROM billing_tenants WHERE access_policy < $1 ORDER BY access_policy LIMIT $2)
    UNION ALL
    (SELECT tenant_id FROM billing_tenants WHERE access_policy > $1 ORDER BY access_policy LIMIT $2)
), locked AS (
    SELECT tenant_id, sequence, departures, rules_generation, access_state, access_reason, access_until, access_due_at, access_policy, granted, provisional,
        (SELECT billing_commit_durably()) AS durability
    FROM billing_tenants
    WHERE tenant_id = ANY (ARRAY (SELECT tenant_id FROM due))
      AND (access_due_at <= (SELECT now FROM asked) OR access_policy IS DISTINCT FROM $1)
    ORDER BY tenant_id
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT locked.*, billing_now() AS now, coalesce((SELECT max(generation) FROM billing_rules), 0) AS generation
FROM (SELECT) AS always LEFT JOIN locked ON true;

-- name: lock_catalog
-- Prices, products and test clocks have no tenant whose row could be locked. Held until the end of the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('billing_catalogue', 0));

-- name: save_customers
-- A link is made here and moved elsewhere (`transfer`). Events that waited for it become due, also those that stopped waiting.
-- Args: one array per column. Returns: the customers saved; one that is missing is linked to another tenant.
WITH seen AS (
    SELECT :customers.values FROM unnest(:customers.arrays) AS t (:customers.names)
), written AS (
    INSERT INTO billing_customers AS known (:customers.names, linked_at)
    SELECT :customers.names, CASE WHEN tenant_id IS NOT NULL THEN now() END FROM seen
    ON CONFLICT (customer_id) DO UPDATE SET
        :customers.updates,
        tenant_id = coalesce(known.tenant_id, excluded.tenant_id),
        linked_at = coalesce(known.linked_at, excluded.linked_at),
        updated_at = now()
    WHERE known.tenant_id IS NULL OR excluded.tenant_id IS NULL OR known.tenant_id = excluded.tenant_id
    RETURNING customer_id
)
SELECT customer_id AS saved, (
    SELECT billing_unpark(array_agg(waiting.event))
    FROM (
        SELECT d.event
        FROM stripe_event_dispatch AS d JOIN seen ON d.parked_on = seen.customer_id
        WHERE d.status = 'parked' AND d.parked_on = ANY (:customers.keys) AND seen.tenant_id IS NOT NULL
        UNION ALL
        SELECT d.event
        FROM stripe_event_dispatch AS d JOIN seen ON d.parked_on = seen.customer_id
        WHERE d.status = 'ignored' AND d.reason IN ('no_tenant', 'shared_customer', 'out_of_scope')
          AND d.parked_on = ANY (:customers.keys) AND seen.tenant_id IS NOT NULL
    ) AS waiting
) AS unparked
FROM written;

-- name: save_batch
-- What nearly every batch writes, in one statement: subscriptions with their items, messages and the outcomes of events.
-- Items that stay the same are not touched. Events that waited for one of the subscriptions become due. Messages are
-- appended to the history and the outbox, await their consumers, and the counters, which the caller has locked, move.
-- An event is not parked on a customer that has a tenant by now: nothing would make it due. One that is applied again
-- without a new effect keeps its first effect, and the reason why it was not confirmed is noted as an attempt. A dead one
-- gets the tenant of its customer.
-- Args: one entry per tenant with messages: $1 tenant ids, $2 first numbers, $3 last numbers; $4 the subscriptions; then one
-- array per column of a subscription, an item, a message and an outcome, whose attempt is the fence.
-- Returns: one row. `saved` are the subscriptions; one that is missing belongs to another tenant. `moved` are the tenants
-- whose counters moved; one that is missing does not stand where the messages start. `settled` are the events.
WITH written AS (
    INSERT INTO tenant_subscriptions AS known (:subscriptions.names)
    SELECT :subscriptions.values FROM unnest(:subscriptions.arrays) AS seen (:subscriptions.names)
    ON CONFLICT (subscription_id) DO UPDATE SET :subscriptions.updates, updated_at = now()
    WHERE known.tenant_id = excluded.tenant_id
    RETURNING subscription_id
), item AS (
    SELECT :items.values FROM unnest(:items.arrays) AS t (:items.names)
), gone AS (
    DELETE FROM subscription_items AS known
    WHERE known.subscription_id = ANY ($4::text[])
      AND NOT EXISTS (
          SELECT FROM item WHERE item.subscription_id = known.subscription_id AND item.item_id = known.item_id
      )
), itemized AS (
    INSERT INTO subscription_items AS known (:items.names)
    SELECT :items.names FROM item
    ON CONFLICT (subscription_id, item_id) DO UPDATE SET :items.updates
    WHERE known IS DISTINCT FROM excluded
), message AS (
    SELECT :messages.values FROM unnest(:messages.arrays) AS t (:messages.names)
), numbered AS (
    INSERT INTO billing_events (:messages.names) SELECT :messages.names FROM message
), outgoing AS (
    INSERT INTO billing_outbox (tenant_id, sequence, committed_at)
    SELECT tenant_id, sequence, statement_timestamp() FROM message
), moved AS (
    UPDATE billing_tenants AS known
    SET sequence = run.last
    FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS run (tenant_id, first, last)
    WHERE known.tenant_id = run.tenant_id AND known.tenant_id = ANY ($1::text[]) AND known.sequence = run.first - 1
    RETURNING known.tenant_id
), settled AS (
    UPDATE stripe_event_dispatch AS d
    SET status = CASE WHEN c.linked THEN 'due' ELSE c.status END,
        due_at = now(),
        effect = CASE
            WHEN c.status = 'applied' AND c.effect <> 'changed' THEN coalesce(d.effect, c.effect)
            ELSE c.effect
        END,
        reason = CASE WHEN c.status <> 'applied' THEN c.reason END,
        error = CASE WHEN c.status <> 'applied' THEN c.error END,
        first_error = coalesce(d.first_error, c.error),
        parked_on = c.parked_on,
        tenant_id = coalesce(
            c.tenant_id,
            CASE WHEN c.status = 'dead' THEN (
                SELECT b.tenant_id FROM billing_customers AS b WHERE b.customer_id = c.customer_id
            ) END,
            d.tenant_id
        ),
        customer_id = coalesce(c.customer_id, d.customer_id),
        sequence = coalesce(c.sequence, d.sequence),
        finished_at = CASE WHEN c.status <> 'parked' THEN now() END
    FROM (
        SELECT t.*, t.status = 'parked' AND EXISTS (
            SELECT FROM billing_customers AS b WHERE b.customer_id = t.parked_on AND b.tenant_id IS NOT NULL
        ) AS linked
        FROM unnest(:outcomes.arrays) AS t (:outcomes.names)
    ) AS c
    WHERE d.event = c.event AND d.event = ANY (:outcomes.keys) AND d.attempt = c.attempt
      -- Written so that neither the index of unfinished events, which may be many, nor an estimate by `status` counts: if one
      -- event is expected, whatever the batch, each of its events is compared with all outcomes.
      AND coalesce(d.status = 'leased', false)
    RETURNING d.event, d.attempt, c.status, c.reason, c.error
), noted AS (
    INSERT INTO stripe_event_attempts (event, attempt, reason, error)
    SELECT event, attempt, reason, error
    FROM settled
    WHERE status = 'dead' OR status = 'applied' AND reason IS NOT NULL
)
SELECT ARRAY (SELECT subscription_id FROM written) AS saved,
       ARRAY (SELECT tenant_id FROM moved) AS moved,
       ARRAY (SELECT event FROM settled) AS settled,
       (SELECT billing_unpark(array_agg(w.event))
        FROM stripe_event_waits AS w JOIN written ON w.object_id = written.subscription_id
        WHERE w.object_id = ANY ($4::text[])) AS unparked,
       CASE WHEN cardinality($1::text[]) > 0
           THEN billing_await_consumers(:messages.array_of_tenant_id, :messages.array_of_sequence, :messages.array_of_event_type)
       END AS awaited;

-- name: save_invoices
-- Events that waited for one of them become due.
-- Args: one array per column. Returns: the invoices saved; one that is missing belongs to another tenant.
WITH written AS (
    INSERT INTO subscription_invoices AS known (:invoices.names)
    SELECT :invoices.values FROM unnest(:invoices.arrays) AS seen (:invoices.names)
    ON CONFLICT (invoice_id) DO UPDATE SET :invoices.updates, updated_at = now()
    WHERE known.tenant_id = excluded.tenant_id
    RETURNING invoice_id
)
SELECT invoice_id AS saved, (
    SELECT billing_unpark(array_agg(w.event))
    FROM stripe_event_waits AS w JOIN written ON w.object_id = written.invoice_id
    WHERE w.object_id = ANY (:invoices.keys)
) AS unparked
FROM written;

-- name: save_usage
-- Replaces the billed usage of invoices.
-- Args: $1 the invoices; then one array per column.
-- Returns: the invoice of each record saved; one that is missing belongs to another tenant.
WITH seen AS (
    SELECT :usage.values FROM unnest(:usage.arrays) AS t (:usage.names)
), gone AS (
    DELETE FROM subscription_usage AS known
    WHERE known.invoice_id = ANY ($1::text[])
      AND NOT EXISTS (SELECT FROM seen WHERE seen.invoice_id = known.invoice_id AND seen.line_id = known.line_id)
)
INSERT INTO subscription_usage AS known (:usage.names)
SELECT :usage.names FROM seen
ON CONFLICT (invoice_id, line_id) DO UPDATE SET :usage.updates
WHERE known.tenant_id = excluded.tenant_id
RETURNING invoice_id AS saved;

-- name: save_records
-- Events that waited for one of them become due.
-- Args: $1 ids that events name the objects by; then one array per column.
-- Returns: the records saved; one that is missing belongs to another tenant.
WITH written AS (
    INSERT INTO billing_records AS known (:records.names)
    SELECT :records.values FROM unnest(:records.arrays) AS seen (:records.names)
    ON CONFLICT (object_id) DO UPDATE SET :records.updates, updated_at = now()
    WHERE known.tenant_id IS NOT DISTINCT FROM excluded.tenant_id AND known.kind = excluded.kind
    RETURNING object_id
)
SELECT object_id AS saved, (
    SELECT billing_unpark(array_agg(event)) FROM stripe_event_waits WHERE object_id = ANY ($1::text[])
) AS unparked
FROM written;

-- name: note_rules
-- Args: $1 tenants, $2 the rules by which the state of each was read. The caller has locked the tenants.
UPDATE billing_tenants AS known
SET rules_generation = read.generation
FROM unnest($1::text[], $2::bigint[]) AS read (tenant_id, generation)
WHERE known.tenant_id = read.tenant_id AND known.tenant_id = ANY ($1::text[]);

-- name: save_occasions
-- Args: one array per column.
INSERT INTO billing_occasions (:occasions.names)
SELECT :occasions.values FROM unnest(:occasions.arrays) AS t (:occasions.names)
ON CONFLICT DO NOTHING;

-- name: save_views
-- Args: $1 tenants, which the caller has locked; then one array per column of all views that they have from now on.
-- Returns: the views saved; one that is missing is of an object that another tenant has a view of.
WITH seen AS (
    SELECT :views.values FROM unnest(:views.arrays) AS t (:views.names)
), gone AS (
    DELETE FROM provisional_views AS known
    WHERE known.object_id = ANY (ARRAY (
              SELECT object_id FROM provisional_views WHERE tenant_id = ANY ($1::text[]) ORDER BY tenant_id
          ))
      AND NOT EXISTS (SELECT FROM seen WHERE seen.object_id = known.object_id)
), noted AS (
    UPDATE billing_tenants AS t
    SET provisional = EXISTS (SELECT FROM seen WHERE seen.tenant_id = t.tenant_id)
    WHERE t.tenant_id = ANY ($1::text[])
)
INSERT INTO provisional_views AS known (:views.names)
SELECT :views.names FROM seen
ON CONFLICT (object_id) DO UPDATE SET :views.updates
WHERE known.tenant_id = excluded.tenant_id
RETURNING object_id AS saved;

-- name: save_echoes
-- Args: parallel arrays: $1 operation key, $2 event that it caused.
INSERT INTO operation_echoes (operation_key, event)
SELECT * FROM unnest($1::text[], $2::bigint[])
ON CONFLICT DO NOTHING;

-- name: save_grants
-- Args: one array per column. The caller has locked the tenants.
WITH written AS (
    INSERT INTO billing_grants AS known (:grants.names)
    SELECT :grants.values FROM unnest(:grants.arrays) AS seen (:grants.names)
    ON CONFLICT (grant_id) DO UPDATE SET :grants.updates
    RETURNING tenant_id
)
UPDATE billing_tenants AS t SET granted = true FROM written WHERE t.tenant_id = written.tenant_id AND NOT t.granted;

-- name: save_access
-- Args: one array per column. The caller has locked the tenants.
UPDATE billing_tenants AS known
SET access_state = told.access_state,
    access_reason = told.access_reason,
    access_until = told.access_until,
    access_due_at = told.access_due_at,
    access_policy = told.access_policy
FROM unnest(:access.arrays) AS told (:access.names)
WHERE known.tenant_id = told.tenant_id AND known.tenant_id = ANY (:access.keys);

-- name: wait_for_objects
-- Notes the objects that events that were just parked wait for. If one of them is known by now, the event becomes due:
-- nothing else would make it so. The parts of `known` are those of the view billing_objects, which would hide their ORDER BY.
-- Args: parallel arrays: $1 event, $2 id of an object it names. Returns: the events that are due.
WITH seen AS (
    SELECT * FROM unnest($1::bigint[], $2::text[]) AS t (event, object_id)
), known (object_id) AS (
    (SELECT subscription_id FROM tenant_subscriptions WHERE subscription_id = ANY ($2::text[]) ORDER BY subscription_id)
    UNION ALL
    (SELECT invoice_id FROM subscription_invoices WHERE invoice_id = ANY ($2::text[]) ORDER BY invoice_id)
    UNION ALL
    (SELECT object_id
     FROM billing_records
     WHERE object_id = ANY ($2::text[]) AND kind NOT IN ('payment', 'price', 'product', 'test_clock')
     ORDER BY object_id)
    UNION ALL
    SELECT payment_id FROM billing_records WHERE payment_id = ANY ($2::text[]) AND kind = 'payment'
), ready AS (
    SELECT DISTINCT event FROM seen WHERE object_id IN (SELECT object_id FROM known)
), noted AS (
    INSERT INTO stripe_event_waits (event, object_id)
    SELECT event, object_id FROM seen WHERE event NOT IN (SELECT event FROM ready)
    ON CONFLICT (event, object_id) DO UPDATE SET lapsed = false
)
SELECT unnest(billing_unpark(array_agg(event))) AS event FROM ready;

-- name: save_decision
-- Adds an operator's decision about a link to the log. Events that are dead because of a conflict become due.
-- Args: $1 customers whose conflicts it may settle; then one value per column. Returns: the decision's number.
WITH decided AS (
    INSERT INTO billing_link_decisions (:decisions.names) VALUES (:decisions.parameters) RETURNING decision_id
), revived AS (
    UPDATE stripe_event_dispatch AS d
    SET status = 'due', due_at = now(), finished_at = NULL, forgiven = d.attempt
    WHERE d.status = 'dead' AND d.reason = 'tenant_conflict'
      AND (d.customer_id IS NULL OR d.customer_id = ANY ($1::text[]))
      AND EXISTS (SELECT FROM stripe_event_bodies AS b WHERE b.event = d.event)
    RETURNING d.event
), notified AS (
    SELECT pg_notify('billing_due', '') FROM revived LIMIT 1
)
SELECT decision_id, (SELECT count(*) FROM notified) AS wakeups FROM decided;

-- name: lock_events_of
-- Args: $1 tenant ids. An operator's decision may change all of their events, and locks them before everything else.
SELECT event FROM stripe_event_dispatch WHERE tenant_id = ANY ($1::text[]) ORDER BY event FOR NO KEY UPDATE;

-- name: move_objects
-- Args: $1 former tenant, $2 new tenant, both locked; ids of $3 customers, $4 subscriptions, $5 invoices, $6 records;
-- $7 events, $8 objects of provisional views.
WITH customers AS (
    UPDATE billing_customers SET tenant_id = $2, linked_at = now(), updated_at = now()
    WHERE customer_id = ANY ($3::text[]) AND tenant_id = $1
), subscriptions AS (
    UPDATE tenant_subscriptions SET tenant_id = $2, updated_at = now()
    WHERE subscription_id = ANY ($4::text[]) AND tenant_id = $1
), invoices AS (
    UPDATE subscription_invoices SET tenant_id = $2, updated_at = now()
    WHERE invoice_id = ANY ($5::text[]) AND tenant_id = $1
), usage AS (
    UPDATE subscription_usage SET tenant_id = $2 WHERE invoice_id = ANY ($5::text[]) AND tenant_id = $1
), records AS (
    UPDATE billing_records SET tenant_id = $2, updated_at = now()
    WHERE object_id = ANY ($6::text[]) AND tenant_id = $1
), events AS (
    UPDATE stripe_event_dispatch SET tenant_id = $2, sequence = NULL WHERE event = ANY ($7::bigint[]) AND tenant_id = $1
), views AS (
    UPDATE provisional_views SET tenant_id = $2
    WHERE object_id = ANY ($8::text[]) AND tenant_id = $1
    RETURNING object_id
), noted AS (
    UPDATE billing_tenants SET provisional = true WHERE tenant_id = $2 AND EXISTS (SELECT FROM views)
)
UPDATE billing_tenants SET departures = departures + 1, provisional = provisional AND EXISTS (
    SELECT FROM provisional_views AS v WHERE v.tenant_id = $1 AND v.object_id <> ALL ($8::text[])
)
WHERE tenant_id = $1;

-- name: copy_occasions
-- What the former tenant was told of the objects is not told to the new one again.
-- Args: $1 former tenant, $2 new tenant, $3 ids of objects and events: the second part of a key.
INSERT INTO billing_occasions (tenant_id, key)
SELECT $2, key FROM billing_occasions WHERE tenant_id = $1 AND split_part(key, ':', 2) = ANY ($3::text[])
ON CONFLICT DO NOTHING;

-- name: remove_objects
-- Removes what a tenant had of a customer or a subscription. Events that were applied become due as if they had never been
-- processed; those that are being processed are parked when they end.
-- Args: $1 tenant, locked; ids of $2 customers, $3 subscriptions, $4 invoices, $5 records; $6 events, $7 objects of
-- provisional views.
WITH customers AS (
    UPDATE billing_customers
    SET tenant_id = NULL, email = NULL, name = NULL, delinquent = false, deleted = false, observed_at = NULL,
        event_ids = '{}', ambiguous = false, linked_at = NULL, updated_at = now()
    WHERE customer_id = ANY ($2::text[]) AND tenant_id = $1
), subscriptions AS (
    DELETE FROM tenant_subscriptions WHERE subscription_id = ANY ($3::text[]) AND tenant_id = $1
), invoices AS (
    DELETE FROM subscription_invoices WHERE invoice_id = ANY ($4::text[]) AND tenant_id = $1
), usage AS (
    DELETE FROM subscription_usage WHERE invoice_id = ANY ($4::text[]) AND tenant_id = $1
), records AS (
    DELETE FROM billing_records WHERE object_id = ANY ($5::text[]) AND tenant_id = $1
), events AS (
    UPDATE stripe_event_dispatch AS d
    SET status = CASE WHEN d.status = 'applied' THEN 'due' ELSE d.status END,
        due_at = CASE WHEN d.status = 'applied' THEN now() ELSE d.due_at END,
        finished_at = CASE WHEN d.status = 'applied' THEN NULL ELSE d.finished_at END,
        forgiven = CASE WHEN d.status = 'applied' THEN d.attempt ELSE d.forgiven END,
        effect = NULL, tenant_id = NULL, sequence = NULL
    WHERE d.event = ANY ($6::bigint[]) AND d.tenant_id = $1
    RETURNING d.status
), views AS (
    DELETE FROM provisional_views WHERE object_id = ANY ($7::text[]) AND tenant_id = $1
), notified AS (
    SELECT pg_notify('billing_due', '') FROM events WHERE status = 'due' LIMIT 1
)
UPDATE billing_tenants SET departures = departures + 1, provisional = provisional AND EXISTS (
    SELECT FROM provisional_views AS v WHERE v.tenant_id = $1 AND v.object_id <> ALL ($7::text[])
)
WHERE tenant_id = $1 AND (SELECT count(*) FROM notified) >= 0;

-- name: withdraw_messages
-- Replaces messages of one tenant under their numbers, and has its log on the bus replaced.
-- Args: one array per column of a message.
WITH message AS (
    SELECT :messages.values FROM unnest(:messages.arrays) AS t (:messages.names)
), replaced AS (
    UPDATE billing_events AS known
    SET event_type = message.event_type, event_id = message.event_id, occurred_at = message.occurred_at,
        payload = message.payload
    FROM message
    WHERE known.tenant_id = message.tenant_id AND known.sequence = message.sequence
    RETURNING known.tenant_id, known.sequence
)
INSERT INTO billing_log_rewrites AS known (tenant_id, until)
SELECT tenant_id, max(sequence) FROM replaced GROUP BY tenant_id
ON CONFLICT (tenant_id) DO UPDATE SET until = greatest(known.until, excluded.until), requested_at = now();
