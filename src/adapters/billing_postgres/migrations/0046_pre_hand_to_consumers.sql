-- Consumers: code, and receivers elsewhere, that get the messages of all tenants, each from positions of its own.
CREATE TABLE billing_consumers (
    consumer        text COLLATE "C" PRIMARY KEY,
    event_types     text[] NOT NULL,  -- as declared, with *
    patterns        text[] NOT NULL,  -- the same for LIKE
    start           text NOT NULL CHECK (start IN ('now', 'beginning', 'instant')),
    start_at        timestamptz,
    on_dead         text NOT NULL CHECK (on_dead IN ('hold', 'skip')),
    attempts        int NOT NULL,
    backoff_base    interval NOT NULL,
    backoff_cap     interval NOT NULL,
    timeout         interval NOT NULL,
    registered_at   timestamptz NOT NULL DEFAULT now(),
    disabled_at     timestamptz,
    disabled_reason text,
    -- The search for tenants with messages since walk_from, or any message if that is null: the last tenant that was
    -- looked at, null if no search is under way. Positions from before the current search are set by it.
    walk            int NOT NULL DEFAULT 0,
    walk_cursor     text COLLATE "C",
    walk_from       timestamptz
);

-- One row per consumer and tenant with messages that wait. No row: everything was handled.
CREATE TABLE billing_consumer_tenants (
    consumer      text COLLATE "C" NOT NULL,
    tenant_id     text COLLATE "C" NOT NULL,
    position      bigint NOT NULL,  -- the last message that was handled or passed over
    last          bigint NOT NULL,  -- the last message that the consumer wants
    walk          int NOT NULL,
    fence         bigint NOT NULL DEFAULT 0,  -- unique per claim; 0 while nothing is claimed
    attempts      int NOT NULL DEFAULT 0,  -- at the message after the position, the running one included
    due_at        timestamptz NOT NULL,  -- while claimed: when the lease runs out; infinity: nothing waits
    waiting_since timestamptz NOT NULL,
    dead_at       timestamptz,
    error         text,
    PRIMARY KEY (consumer, tenant_id)
) WITH (fillfactor = 70);
CREATE INDEX billing_consumer_tenants_due ON billing_consumer_tenants (consumer, due_at) WHERE dead_at IS NULL;
CREATE INDEX billing_consumer_tenants_oldest ON billing_consumer_tenants (consumer, waiting_since);
CREATE INDEX billing_consumer_tenants_dead ON billing_consumer_tenants (consumer) WHERE dead_at IS NOT NULL;
CREATE SEQUENCE billing_consumer_fences;

-- Messages that were passed over, by the policy of the consumer or by an operator.
CREATE TABLE billing_consumer_skips (
    skip_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer   text COLLATE "C" NOT NULL,
    tenant_id  text COLLATE "C" NOT NULL,
    sequence   bigint NOT NULL,
    skipped_at timestamptz NOT NULL DEFAULT now(),
    attempts   int NOT NULL,
    error      text,
    actor      text,
    reason     text
);
CREATE INDEX billing_consumer_skips_consumer ON billing_consumer_skips (consumer, skip_id);

-- The number of a tenant's last message before an instant; 0 without an instant.
CREATE FUNCTION billing_position_before(tenant text, instant timestamptz) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN instant IS NULL THEN 0 ELSE coalesce((
        SELECT e.sequence FROM billing_events AS e
        WHERE e.tenant_id = tenant AND e.created_at < instant
        ORDER BY e.sequence DESC
        LIMIT 1
    ), 0) END
$$;

-- Has numbered messages wait for the consumers that want them. Part of the statement that numbers them, so that it costs no
-- round trip; a function, so that without consumers nothing of this is planned.
-- The lock is the one that the registration of a consumer excludes: each message is either numbered before, or awaited. A
-- statement of this function sees what was committed before it began, whatever the statement that calls it sees.
-- A tenant that a search has not reached yet waits from its start. A position that is not below the number, as after a
-- restore of some tables only, is set back. Rows are locked in the order of tenants, then consumers.
CREATE FUNCTION billing_await_consumers(tenants text[], numbers bigint[], types text[]) RETURNS int
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    changed int;
BEGIN
    LOCK TABLE billing_consumers IN ROW SHARE MODE;
    IF NOT EXISTS (SELECT FROM billing_consumers) THEN
        RETURN 0;
    END IF;
    INSERT INTO billing_consumer_tenants AS known (consumer, tenant_id, position, last, walk, due_at, waiting_since)
    SELECT c.consumer, m.tenant_id,
        CASE WHEN m.tenant_id COLLATE "C" > c.walk_cursor THEN billing_position_before(m.tenant_id, c.walk_from)
             ELSE min(m.number) - 1 END,
        max(m.number), c.walk, now(), now()
    FROM unnest(tenants, numbers, types) AS m (tenant_id, number, type)
    JOIN billing_consumers AS c ON m.type LIKE ANY (c.patterns)
    GROUP BY c.consumer, m.tenant_id
    ORDER BY m.tenant_id COLLATE "C", c.consumer
    ON CONFLICT (consumer, tenant_id) DO UPDATE SET
        (last, walk, position, fence, attempts, due_at, waiting_since, dead_at, error) = (
            SELECT excluded.last, greatest(known.walk, excluded.walk),
                CASE WHEN reset THEN excluded.position ELSE known.position END,
                CASE WHEN reset THEN 0 ELSE known.fence END,
                CASE WHEN reset THEN 0 ELSE known.attempts END,
                CASE WHEN reset OR done THEN excluded.due_at ELSE known.due_at END,
                CASE WHEN reset OR done THEN excluded.waiting_since ELSE known.waiting_since END,
                CASE WHEN reset THEN NULL ELSE known.dead_at END,
                CASE WHEN reset THEN NULL ELSE known.error END
            FROM (SELECT known.position >= excluded.last OR known.walk < excluded.walk,
                         known.position >= known.last AND known.fence = 0) AS found (reset, done)
        );
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;
