-- Open disputes may limit the access of a tenant: they are read with its state.
CREATE INDEX billing_records_disputes ON billing_records (tenant_id) WHERE kind = 'dispute';
