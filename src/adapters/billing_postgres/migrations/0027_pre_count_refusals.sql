-- Webhooks that were refused although their signature may be genuine: how many, and how large the largest body was.
CREATE TABLE stripe_refused_webhooks (
    day     date NOT NULL,
    reason  text COLLATE "C" NOT NULL,
    count   bigint NOT NULL,
    largest bigint NOT NULL,
    PRIMARY KEY (day, reason)
);
