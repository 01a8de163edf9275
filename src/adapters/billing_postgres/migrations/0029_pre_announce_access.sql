-- The access that a tenant was told last, when the clock may change it, and the policy that decided. All null until a
-- process of this release decides; the policy is then another one than that of the process, so that the tenant is due.
ALTER TABLE billing_tenants
    ADD COLUMN access_state text,
    ADD COLUMN access_reason text,
    ADD COLUMN access_until timestamptz,
    ADD COLUMN access_due_at timestamptz,
    ADD COLUMN access_policy text COLLATE "C";
CREATE INDEX billing_tenants_access_due ON billing_tenants (access_due_at) WHERE access_due_at IS NOT NULL;
CREATE INDEX billing_tenants_access_policy ON billing_tenants (access_policy);
