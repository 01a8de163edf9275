-- What stays of erased tenants: the number up to which a tenant's messages are gone, and digests of the ids of its customers
-- and objects, by which events that come later are recognized. No id can be read from a digest.
ALTER TABLE billing_tenants ADD COLUMN erased_until bigint NOT NULL DEFAULT 0;

CREATE TABLE billing_erased_objects (
    digest    bytea PRIMARY KEY,
    erased_at timestamptz NOT NULL DEFAULT now()
);

-- Events of a customer that have no tenant: few, since an applied event has one.
CREATE INDEX stripe_event_dispatch_unowned ON stripe_event_dispatch (customer_id)
    WHERE tenant_id IS NULL AND customer_id IS NOT NULL;
