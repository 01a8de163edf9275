-- Every reading of a tenant's state looks for its features, among records of which it has many more of other kinds.
CREATE INDEX billing_records_entitlements ON billing_records (tenant_id) WHERE kind = 'entitlements';
