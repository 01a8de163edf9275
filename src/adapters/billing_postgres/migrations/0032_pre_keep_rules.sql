-- Everything folds and decides by the last of these rules, whatever the files of its process say.
CREATE TABLE billing_rules (
    generation   bigint PRIMARY KEY CHECK (generation > 0),
    fingerprint  text COLLATE "C" NOT NULL,
    document     json NOT NULL,
    actor        text NOT NULL,
    activated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX billing_rules_fingerprint ON billing_rules (fingerprint);

-- The rules by which a tenant's stored state was read; 0 before the first.
ALTER TABLE billing_tenants ADD COLUMN rules_generation bigint NOT NULL DEFAULT 0;
CREATE INDEX billing_tenants_rules_generation ON billing_tenants (rules_generation, tenant_id);
