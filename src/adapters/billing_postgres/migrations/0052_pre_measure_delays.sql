-- The delays that processes measured and no other row shows, by minute: how many fell into each bucket of a stage. A day of them.
CREATE TABLE billing_delays (
    minute timestamptz NOT NULL,
    stage  text COLLATE "C" NOT NULL,
    bound  double precision NOT NULL,
    count  bigint NOT NULL,
    PRIMARY KEY (minute, stage, bound)
) WITH (fillfactor = 50);
