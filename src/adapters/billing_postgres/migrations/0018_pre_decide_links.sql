-- Operators' decisions about links, in their order: the log of who moved what and why, and what outranks metadata.
CREATE TABLE billing_link_decisions (
    decision_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    action      text NOT NULL CHECK (action IN ('link', 'move', 'unlink')),
    object_id   text COLLATE "C" NOT NULL,  -- a customer, or a subscription
    from_tenant text COLLATE "C",
    to_tenant   text COLLATE "C",
    actor       text NOT NULL,
    reason      text,
    made_at     timestamptz NOT NULL DEFAULT now(),
    CHECK ((to_tenant IS NULL) = (action = 'unlink'))
);
CREATE INDEX billing_link_decisions_object ON billing_link_decisions (object_id, decision_id);

-- How often an object was taken away from the tenant: a unit of work that read its links before that starts over.
ALTER TABLE billing_tenants ADD COLUMN departures bigint NOT NULL DEFAULT 0;
