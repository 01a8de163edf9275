-- The servers, workers and applications of this database. Each confirms every few seconds, by a committed write, that it is alive and that
-- writes are possible. Rows of processes that are gone are deleted by those that are not.
CREATE TABLE billing_processes (
    process_id        text COLLATE "C" PRIMARY KEY,
    kind              text COLLATE "C" NOT NULL CHECK (kind IN ('serve', 'worker', 'application')),
    processes_events  boolean NOT NULL,
    host              text NOT NULL,
    pid               int NOT NULL,
    version           text NOT NULL,
    started_at        timestamptz NOT NULL,
    beat_at           timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Refused webhooks by hour instead of by day, so that the last hour can be told from last week. Their days are kept until
-- they are old; servers of the earlier release still count there.
CREATE TABLE billing_refused_webhooks (
    hour    timestamptz NOT NULL,
    reason  text COLLATE "C" NOT NULL,
    count   bigint NOT NULL,
    largest bigint NOT NULL,
    PRIMARY KEY (hour, reason)
);
INSERT INTO billing_refused_webhooks (hour, reason, count, largest)
SELECT day::timestamp AT TIME ZONE 'UTC', reason, count, largest FROM stripe_refused_webhooks;
