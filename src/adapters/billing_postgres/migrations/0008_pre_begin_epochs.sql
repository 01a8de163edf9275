-- Which history the numbers of messages belong to. The latest row is the current one; see billing_core/epochs.py.
CREATE TABLE billing_epochs (
    number   int PRIMARY KEY,
    token    text NOT NULL,
    place    text NOT NULL,  -- where the history was: server, timeline and table. Another place is another history.
    reason   text NOT NULL,
    began_at timestamptz NOT NULL DEFAULT now()
);
