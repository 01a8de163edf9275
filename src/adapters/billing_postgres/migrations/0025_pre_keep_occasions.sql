-- What happened once is announced at most once: the keys of failed payments, renewals, ends of trials and the like.

CREATE TABLE billing_occasions (
    tenant_id text COLLATE "C" NOT NULL,
    key       text COLLATE "C" NOT NULL,
    sequence  bigint,  -- of the message that announced it; null if it was over by then
    PRIMARY KEY (tenant_id, key)
);
