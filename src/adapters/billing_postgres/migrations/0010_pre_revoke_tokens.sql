-- Tokens that are not taken any more although they have not expired. Their ids alone; nothing that opens anything.
CREATE TABLE billing_token_revocations (
    subject     text NOT NULL CHECK (subject IN ('token', 'tenant')),
    name        text COLLATE "C" NOT NULL,
    revoked_at  timestamptz NOT NULL,
    kept_until  timestamptz NOT NULL,
    PRIMARY KEY (subject, name)
);
