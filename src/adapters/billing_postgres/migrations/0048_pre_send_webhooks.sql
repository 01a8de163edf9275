-- Receivers of outgoing webhooks, each of a consumer, and the secrets that sign for them. The secrets are readable, because
-- workers sign with them; a role that only reports needs no right to their table.
CREATE TABLE billing_receivers (
    consumer      text COLLATE "C" PRIMARY KEY,
    url           text NOT NULL,
    failing_since timestamptz,  -- the first failure since a success; null while the receiver takes messages
    failed_at     timestamptz,
    failure       text
);

CREATE TABLE billing_receiver_secrets (
    consumer   text COLLATE "C" NOT NULL REFERENCES billing_receivers ON DELETE CASCADE,
    secret     text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,  -- null for the current one
    PRIMARY KEY (consumer, secret)
);
