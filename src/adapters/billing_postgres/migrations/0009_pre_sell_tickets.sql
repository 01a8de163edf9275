-- Tickets that open one stream each within seconds. Unlogged: a crash that loses them costs a click.
CREATE UNLOGGED TABLE billing_stream_tickets (
    digest              bytea PRIMARY KEY,
    good_until          timestamptz NOT NULL,
    tenant_id           text COLLATE "C" NOT NULL,
    role                text NOT NULL,
    principal_expires_at timestamptz NOT NULL,
    token_id            text,
    issued_at           timestamptz
);
CREATE INDEX billing_stream_tickets_good_until ON billing_stream_tickets (good_until);
