-- Access that operators granted, with who, when and why; revoked and ended ones stay.
CREATE TABLE billing_grants (
    grant_id       text COLLATE "C" PRIMARY KEY,
    tenant_id      text COLLATE "C" NOT NULL REFERENCES billing_tenants,
    plan_code      text COLLATE "C" NOT NULL,
    until          timestamptz,
    actor          text NOT NULL,
    reason         text NOT NULL,
    granted_at     timestamptz NOT NULL,
    revoked_at     timestamptz,
    revoked_by     text,
    revoked_reason text,
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL) AND (revoked_at IS NULL) = (revoked_reason IS NULL))
);
CREATE INDEX billing_grants_tenant ON billing_grants (tenant_id, granted_at, grant_id);
CREATE INDEX billing_grants_made ON billing_grants (granted_at, grant_id);

-- Whether the tenant ever had a grant: of the others none is looked up.
ALTER TABLE billing_tenants ADD COLUMN granted boolean NOT NULL DEFAULT false;
