-- Logs on the bus that still hold messages which were withdrawn: a worker replaces each from the history, once everything up
-- to that number was published.
CREATE TABLE billing_log_rewrites (
    tenant_id    text COLLATE "C" PRIMARY KEY,
    until        bigint NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now()
);
