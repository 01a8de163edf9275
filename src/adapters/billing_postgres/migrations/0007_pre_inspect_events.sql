-- What operators ask of the inbox: whose an event was, how often it came, which attempts failed, and who stepped in.
ALTER TABLE stripe_events
    ADD COLUMN duplicates        int NOT NULL DEFAULT 0,
    ADD COLUMN last_duplicate_at timestamptz;

ALTER TABLE stripe_event_dispatch
    ADD COLUMN customer_id text COLLATE "C",
    ADD COLUMN forgiven    int NOT NULL DEFAULT 0;  -- attempts before the last replay: they do not count any more
-- The reasons that lead to dead are a closed set now; what a body that was pruned too early stands for is permanent.
UPDATE stripe_event_dispatch SET reason = 'permanent' WHERE status = 'dead' AND reason = 'body_pruned';
CREATE INDEX stripe_event_dispatch_tenant ON stripe_event_dispatch (tenant_id, event) WHERE tenant_id IS NOT NULL;

-- One row for each attempt that failed: nearly always none.
CREATE TABLE stripe_event_attempts (
    event     bigint NOT NULL,
    attempt   int NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT now(),
    reason    text NOT NULL,
    error     text,
    PRIMARY KEY (event, attempt)
);

-- What operators did to stored events. A row without an end is of a process that died, or is still at it.
CREATE TABLE billing_audits (
    audit_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    action      text NOT NULL,
    actor       text NOT NULL,
    reason      text,
    filter      jsonb NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    result      jsonb
);
