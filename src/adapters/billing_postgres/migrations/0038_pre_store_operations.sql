-- What was asked of the provider, stored before it was sent; see docs/adr. One row per try, each with its own key.
CREATE TABLE gateway_operations (
    operation_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id           text COLLATE "C" NOT NULL,  -- no reference: a tenant's first operation may come before the tenant
    operation           text COLLATE "C" NOT NULL,
    request_id          text COLLATE "C" NOT NULL,
    number              integer NOT NULL,
    key                 text COLLATE "C" NOT NULL UNIQUE,
    subject             text COLLATE "C" NOT NULL,
    arguments_hash      text COLLATE "C" NOT NULL,
    actor               text NOT NULL,
    status              text COLLATE "C" NOT NULL CHECK (status IN ('begun', 'done', 'refused', 'not_done')),
    command             json,
    attempts            integer NOT NULL,
    result              json,
    failure             json,
    provider_request_id text,
    begun_at            timestamptz NOT NULL,
    planned_at          timestamptz,
    resolved_at         timestamptz,
    leased_until        timestamptz NOT NULL,
    due_at              timestamptz NOT NULL,
    UNIQUE (tenant_id, operation, request_id, number),
    CHECK ((status = 'begun') = (resolved_at IS NULL)),
    CHECK ((command IS NULL) = (planned_at IS NULL))
);
-- Operations about one subject come one after another. Also finds those that are unresolved.
CREATE UNIQUE INDEX gateway_operations_unresolved ON gateway_operations (subject) WHERE status = 'begun';
CREATE INDEX gateway_operations_due ON gateway_operations (due_at) WHERE status = 'begun';
