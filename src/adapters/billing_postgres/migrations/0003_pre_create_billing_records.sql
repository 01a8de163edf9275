-- Facts beside subscription and invoice, one row per object of the provider. A document each: they are read whole, and
-- what is looked for stands beside it. The catalogue's rows (prices, products) have no tenant.
CREATE TABLE billing_records (
    object_id   text COLLATE "C" PRIMARY KEY,
    kind        text NOT NULL,
    tenant_id   text COLLATE "C" REFERENCES billing_tenants,
    invoice_id  text COLLATE "C",
    payment_id  text COLLATE "C",
    data        jsonb NOT NULL,
    observed_at timestamptz NOT NULL,
    event_ids   text[] NOT NULL,
    ambiguous   boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX billing_records_tenant ON billing_records (tenant_id, observed_at DESC, object_id DESC);
CREATE INDEX billing_records_payment ON billing_records (payment_id) WHERE kind = 'payment';
CREATE INDEX billing_records_catalogue ON billing_records (object_id) WHERE kind IN ('price', 'product');

-- Every object by the id that other objects' events name it by, and whose it is.
CREATE VIEW billing_objects (object_id, tenant_id) AS
SELECT subscription_id, tenant_id FROM tenant_subscriptions
UNION ALL
SELECT invoice_id, tenant_id FROM subscription_invoices
UNION ALL
SELECT object_id, tenant_id FROM billing_records WHERE kind NOT IN ('payment', 'price', 'product')
UNION ALL
SELECT payment_id, tenant_id FROM billing_records WHERE kind = 'payment';

-- What a parked event that names no customer waits for: any of these objects tells whose it is. Nearly always empty.
CREATE TABLE stripe_event_waits (
    event     bigint NOT NULL,
    object_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (event, object_id)
);
CREATE INDEX stripe_event_waits_object ON stripe_event_waits (object_id);
