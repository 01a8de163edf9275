-- The provider's answers to operations: each is shown in place of the row of its object until its events arrive. Only
-- transactions that lock the tenant write or remove one, as those do that number messages.
CREATE TABLE provisional_views (
    object_id      text COLLATE "C" PRIMARY KEY,
    tenant_id      text COLLATE "C" NOT NULL REFERENCES billing_tenants,
    kind           text NOT NULL,
    operation_key  text COLLATE "C" NOT NULL,
    snapshot       jsonb,
    answered_at    timestamptz,
    refetch_due_at timestamptz NOT NULL,
    CHECK (snapshot IS NULL OR answered_at IS NOT NULL)
);
CREATE INDEX provisional_views_tenant ON provisional_views (tenant_id);

-- Whether the tenant has a provisional view: of the others none is looked up.
ALTER TABLE billing_tenants ADD COLUMN provisional boolean NOT NULL DEFAULT false;

-- Applied events that an operation caused: an answer that comes after them is no news.
CREATE TABLE operation_echoes (
    operation_key text COLLATE "C" NOT NULL,
    event         bigint NOT NULL,
    PRIMARY KEY (operation_key, event)
);
